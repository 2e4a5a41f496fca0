"""Whatever dies, comes late or comes twice: in the end every task has ended, once."""

from __future__ import annotations

import pytest

from support.fleet import Fleet
from support.invariants import check_all, check_replay

SEEDS = range(20)


@pytest.mark.parametrize("seed", SEEDS)
def test_every_task_ends_when_the_trouble_is_over(seed: int) -> None:
    """Crashes, restarts, late and repeated messages and new operators lose no task."""
    fleet = Fleet(seed)
    for _ in range(30):
        fleet.live_through(5)
        check_all(fleet.ledger)

    fleet.come_to_rest()

    check_all(fleet.ledger)
    check_replay(fleet.ledger)
    assert fleet.winners() <= fleet.finished_well, "a result was accepted that nobody produced"
    assert fleet.winners(), "this seed shows nothing"


def test_the_fleet_meets_what_it_is_there_to_meet() -> None:
    """A few seeds together see every kind of trouble with models; otherwise the others would prove nothing."""
    awaited = {"AttemptGivenBack", "AgentParked", "AgentUnparked", "UsageReported", "PreferenceEnded"}
    for seed in SEEDS:
        fleet = Fleet(seed, trouble=0.1)
        fleet.live_through(60)
        awaited -= {type(record.event).__name__ for record in fleet.ledger.records}
        if not awaited:
            break

    assert awaited == set()


def test_a_quiet_fleet_loses_no_attempt() -> None:
    """Without mishaps and without changes nothing is ever lost or refused."""
    fleet = Fleet(1, trouble=0.0)
    for _ in range(60):
        fleet.create()
        fleet.tick()

    fleet.come_to_rest()

    kinds = {type(record.event).__name__ for record in fleet.ledger.records}
    assert not kinds & {"AttemptLost", "ReplicaLost", "ResultRefused", "AttemptAbandoned"}
