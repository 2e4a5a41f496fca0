"""How far a pool is from what was asked for."""

from __future__ import annotations

import pytest

from support.deciding import Ledger, declare, finish, names, register, start_pool, submit
from watchbill_coordination.core.commands import LoseReplica
from watchbill_coordination.core.events import LevelChanged
from watchbill_coordination.core.levels import read_signal
from watchbill_coordination.core.specs import AgentName, ReplicaName
from watchbill_coordination.core.state import Level

FOUR = ("blue-0", "blue-1", "blue-2", "blue-3")


def start_four() -> Ledger:
    """A pool of four Ready replicas, past its time of grace."""
    ledger = start_pool(*FOUR)
    ledger.wait(100)
    return ledger


def lose(ledger: Ledger, *replicas: str) -> None:
    """Their pods are gone."""
    for replica in replicas:
        ledger.do(LoseReplica(agent=ReplicaName(replica), incarnation="", reason="PodGone"))


def level(ledger: Ledger) -> Level:
    """The pool's level."""
    return ledger.state.agents[AgentName("blue")].level


@pytest.mark.parametrize(
    ("ready", "wanted", "signal"),
    [
        (0, 0, Level.NORMAL),
        (4, 5, Level.NORMAL),
        (3, 4, Level.CONSTRAINED),
        (2, 4, Level.CONSTRAINED),
        (1, 3, Level.DEGRADED),
        (1, 4, Level.DEGRADED),
        (0, 1, Level.CRITICAL),
        (5, 4, Level.NORMAL),
    ],
)
def test_the_signal_follows_the_share_that_is_ready(ready: int, wanted: int, signal: Level) -> None:
    """Exactly at a threshold is not below it."""
    assert read_signal(ready, wanted) is signal


def test_a_short_dip_raises_nothing() -> None:
    """A pod that is replaced within 15 s is no degradation."""
    ledger = start_four()
    lose(ledger, "blue-3")
    ledger.wait(14)
    ledger.do(register("blue-3", "another/1"))

    assert ledger.wait(100) == []


def test_a_dip_of_15_seconds_raises_the_level_and_says_why() -> None:
    """The message has the counts."""
    ledger = start_four()
    lose(ledger, "blue-3")

    assert ledger.wait(15) == [
        LevelChanged(
            agent=AgentName("blue"),
            level="Constrained",
            previous="Normal",
            message="3 of 4 replicas are ready",
        )
    ]


def test_each_threshold_has_its_own_15_seconds() -> None:
    """A deeper fall does not delay what was due, nor hasten what is not."""
    ledger = start_four()
    lose(ledger, "blue-3")
    ledger.wait(10)
    lose(ledger, "blue-2", "blue-1", "blue-0")

    ledger.wait(5)
    assert level(ledger) is Level.CONSTRAINED
    ledger.wait(10)
    assert level(ledger) is Level.CRITICAL


def test_the_level_falls_after_30_seconds_above() -> None:
    """Hysteresis: a pool that flaps stays where it is."""
    ledger = start_four()
    lose(ledger, "blue-3")
    ledger.wait(20)
    ledger.do(register("blue-3", "another/1"))

    ledger.wait(29)
    assert level(ledger) is Level.CONSTRAINED
    ledger.wait(1)
    assert level(ledger) is Level.NORMAL


def test_a_new_pool_has_60_seconds_of_grace() -> None:
    """Pods need time to start."""
    ledger = Ledger()
    ledger.do(declare(replicas=2))

    assert ledger.wait(59) == []
    ledger.wait(1)
    assert level(ledger) is Level.CRITICAL


def test_a_pool_that_is_asked_for_more_has_grace_again() -> None:
    """Scaling from two to five is not a degradation."""
    ledger = start_four()
    ledger.do(declare(generation=2, replicas=10))

    assert ledger.wait(59) == []
    ledger.wait(1)
    assert level(ledger) is Level.DEGRADED


def test_a_pool_scaled_to_nothing_is_normal() -> None:
    """Nothing is wanted and nothing is missing."""
    ledger = Ledger()
    ledger.do(declare(replicas=0))

    assert ledger.wait(1000) == []


def test_a_new_writer_gives_every_pool_grace() -> None:
    """While nobody wrote, nobody could be ready."""
    ledger = start_four()
    lose(ledger, *FOUR)
    ledger.now += 1000
    ledger.epoch += 1
    ledger.do(declare("green", role="green", replicas=0))

    assert level(ledger) is Level.NORMAL
    ledger.wait(59)
    assert level(ledger) is Level.NORMAL
    ledger.wait(1)
    assert level(ledger) is Level.CRITICAL


def test_a_level_holds_no_task_while_a_slot_would_stay_idle() -> None:
    """A capacity level only reports."""
    ledger = start_four()
    lose(ledger, "blue-3", "blue-2", "blue-1")
    ledger.wait(20)

    assert "TaskDispatched" in names(ledger.do(submit("t", priority=0)))


def test_a_level_that_is_about_to_change_has_one_timer() -> None:
    """However many tasks come and go meanwhile."""
    ledger = start_four()
    lose(ledger, "blue-3")
    for number in range(20):
        ledger.do(submit(f"t{number}"))
        ledger.do(finish(f"t{number}"))

    assert [timer.kind for timer in ledger.state.index.timers.items].count("level") == 1
