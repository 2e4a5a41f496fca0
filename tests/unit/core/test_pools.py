"""Agents and their replicas: declared, registered, drained, lost, removed."""

from __future__ import annotations

import pytest

from support.deciding import START, Ledger, declare, finish, names, register, start_pool, submit
from watchbill_coordination.core.commands import DrainReplica, LoseReplica, Rejected, ReleaseReplica, RemoveAgent
from watchbill_coordination.core.events import AgentDeclared, ReplicaDraining
from watchbill_coordination.core.specs import AgentName, ReplicaName
from watchbill_coordination.core.state import Phase, ReplicaPhase

BLUE_0 = ReplicaName("blue-0")
LIFE = "pod-of-blue-0/1"


def remove_pool(agent: str = "blue") -> RemoveAgent:
    """The Agent object is gone."""
    return RemoveAgent(agent=AgentName(agent), uid=f"uid-of-{agent}")


def test_an_agent_seen_twice_is_declared_once() -> None:
    """Full reconciles show it again."""
    ledger = Ledger()
    ledger.do(declare())

    assert ledger.do(declare()) == []


def test_only_the_decisive_part_of_a_spec_is_recorded() -> None:
    """What shapes pods stays out of the log, secrets above all."""
    ledger = Ledger()

    (declared,) = ledger.do(declare(env=[{"name": "KEY", "value": "secret"}]))

    assert isinstance(declared, AgentDeclared)
    decisive = {"budget", "drainSeconds", "replicas", "role", "runner", "suspend", "taskTypes", "tasksPerReplica"}
    assert declared.spec.keys() == decisive


def test_an_older_sight_of_an_agent_changes_nothing() -> None:
    """Handlers may be called in any order."""
    ledger = Ledger()
    ledger.do(declare(generation=2, replicas=3))

    assert ledger.decide(declare(generation=1, replicas=1)) == Rejected("OutdatedGeneration")


def test_a_replica_registers_once() -> None:
    """A repeated message changes nothing."""
    ledger = start_pool("blue-0")

    assert ledger.do(register("blue-0")) == []


def test_a_replica_of_an_unknown_agent_is_rejected() -> None:
    """The directory's name decides, and there is no such pool."""
    assert start_pool("blue-0").decide(register("violet-0")) == Rejected("NoSuchAgent")


def test_an_ordinal_beyond_every_bound_is_rejected() -> None:
    """A pool has at most 64 replicas."""
    assert start_pool("blue-0").decide(register("blue-64")) == Rejected("OrdinalOutOfBounds")


def test_claimed_slots_count_only_within_the_spec() -> None:
    """An agent cannot take more work than its Agent object allows."""
    ledger = start_pool()
    ledger.do(declare(generation=2, replicas=1))
    ledger.do(register("blue-0", slots=1_000_000))
    ledger.do(submit("t"))
    ledger.do(submit("u"))

    assert ledger.task("u").phase is Phase.QUEUED


def test_a_new_incarnation_ends_what_the_former_one_did() -> None:
    """A restarted container has lost its processes."""
    ledger = start_pool("blue-0")
    ledger.do(submit("t"))

    assert names(ledger.do(register("blue-0", "pod-of-blue-0/2"))) == [
        "ReplicaLost",
        "AttemptLost",
        "ReplicaRegistered",
        "TaskQueued",
        "TaskDispatched",
    ]
    assert ledger.task("t").incarnation == "pod-of-blue-0/2"


def test_a_lost_incarnation_is_never_ready_again() -> None:
    """Its attempts are given away; it must not come back as if nothing were."""
    ledger = start_pool("blue-0")
    ledger.do(LoseReplica(agent=BLUE_0, incarnation=LIFE, reason="HeartbeatStale"))

    assert ledger.decide(register("blue-0", LIFE)) == Rejected("IncarnationEnded")


def test_an_older_incarnation_does_not_displace_the_present_one() -> None:
    """A late registration of a former life is only late."""
    ledger = start_pool("blue-0")
    ledger.do(register("blue-0", "pod-of-blue-0/2"))

    assert ledger.decide(register("blue-0", LIFE)) == Rejected("IncarnationEnded")


def test_losing_an_incarnation_that_is_not_the_present_one_changes_nothing() -> None:
    """The news is old."""
    ledger = start_pool("blue-0")

    assert ledger.do(LoseReplica(agent=BLUE_0, incarnation="pod-of-blue-0/0", reason="PodGone")) == []


def test_a_released_replica_takes_nothing_more() -> None:
    """Its tasks wait for another one."""
    ledger = start_pool("blue-0")
    ledger.do(ReleaseReplica(agent=BLUE_0, incarnation=LIFE))
    ledger.do(submit("t"))

    assert ledger.replica("blue-0").phase is ReplicaPhase.RELEASED
    assert ledger.task("t").phase is Phase.QUEUED


def test_what_a_released_replica_still_held_is_queued_again() -> None:
    """It said that it holds nothing; the log knows better."""
    ledger = start_pool("blue-0")
    ledger.do(submit("t"))

    assert names(ledger.do(ReleaseReplica(agent=BLUE_0, incarnation=LIFE))) == [
        "AttemptLost",
        "ReplicaReleased",
        "TaskQueued",
    ]


def test_scaling_down_drains_the_highest_ordinals_first() -> None:
    """The lowest ones stay, as in a StatefulSet."""
    ledger = start_pool("blue-0", "blue-1", "blue-2", drainSeconds=20)

    events = ledger.do(declare(generation=2, replicas=1, drainSeconds=20))

    assert events[1:] == [
        ReplicaDraining(agent=ReplicaName("blue-2"), reason="ScaledDown", deadline=START + 20),
        ReplicaDraining(agent=ReplicaName("blue-1"), reason="ScaledDown", deadline=START + 20),
    ]


def test_a_draining_replica_takes_no_new_task() -> None:
    """What it runs goes on."""
    ledger = start_pool("blue-0", slots=2)
    ledger.do(submit("t"))
    ledger.do(DrainReplica(agent=BLUE_0, reason="Outdated"))
    ledger.do(submit("u"))

    assert (ledger.task("t").phase, ledger.task("u").phase) == (Phase.RUNNING, Phase.QUEUED)
    assert names(ledger.do(finish("t"))) == ["TaskSucceeded"]


def test_a_drain_that_takes_too_long_gives_the_tasks_to_others() -> None:
    """After the deadline the replica is given up."""
    ledger = start_pool("blue-0", "blue-1", drainSeconds=40)
    ledger.do(submit("t"))
    ledger.do(DrainReplica(agent=BLUE_0, reason="Outdated"))

    assert ledger.wait(39) == []
    assert names(ledger.wait(1.5)) == ["ReplicaLost", "AttemptLost", "TaskQueued", "TaskDispatched"]
    assert ledger.task("t").agent == "blue-1"


def test_a_replica_that_registers_above_the_wanted_number_leaves_again() -> None:
    """Its pod was made before the pool shrank."""
    ledger = start_pool("blue-0")

    assert names(ledger.do(register("blue-1"))) == ["ReplicaRegistered", "ReplicaDraining"]


def test_scaled_up_again_a_new_incarnation_takes_the_place() -> None:
    """The drained one is not called back."""
    ledger = start_pool("blue-0", "blue-1")
    ledger.do(declare(generation=2, replicas=1))
    ledger.do(declare(generation=3, replicas=2))
    assert ledger.replica("blue-1").phase is ReplicaPhase.DRAINING
    ledger.do(ReleaseReplica(agent=ReplicaName("blue-1"), incarnation="pod-of-blue-1/1"))

    assert names(ledger.do(register("blue-1", "another-pod/1"))) == ["ReplicaRegistered"]


def test_a_removed_agent_drains_all_of_its_replicas() -> None:
    """What runs may end in time."""
    ledger = start_pool("blue-0", "blue-1")

    assert names(ledger.do(remove_pool())) == ["AgentRemoved", "ReplicaDraining", "ReplicaDraining"]


def test_a_removed_agent_is_forgotten_with_its_last_replica() -> None:
    """Nothing of it stays in the state."""
    ledger = start_pool("blue-0")
    ledger.do(remove_pool())
    ledger.do(ReleaseReplica(agent=BLUE_0, incarnation=LIFE))

    assert (ledger.state.agents, ledger.state.replicas) == ({}, {})


def test_a_task_whose_agent_is_removed_ends_if_it_ends_in_time() -> None:
    """A drain is no cancellation."""
    ledger = start_pool("blue-0")
    ledger.do(submit("t"))
    ledger.do(remove_pool())

    assert names(ledger.do(finish("t"))) == ["TaskSucceeded"]


def test_a_task_whose_agent_is_removed_is_queued_again_when_time_is_up() -> None:
    """It waits for another Agent."""
    ledger = start_pool("blue-0")
    ledger.do(submit("t"))
    ledger.do(remove_pool())

    assert names(ledger.wait(31)) == ["ReplicaLost", "AttemptLost", "TaskQueued"]


def test_an_agent_made_again_under_its_name_is_another_one() -> None:
    """Replicas of the former one leave."""
    ledger = start_pool("blue-0")

    assert names(ledger.do(declare(uid="another"))) == ["AgentRemoved", "ReplicaDraining", "AgentDeclared"]


def test_a_late_sight_of_a_removed_agent_does_not_bring_it_back() -> None:
    """A uid never comes again."""
    ledger = Ledger()
    ledger.do(declare())
    ledger.do(remove_pool())

    assert ledger.decide(declare()) == Rejected("Removed")


def test_a_suspended_agent_takes_nothing_new() -> None:
    """What runs goes on."""
    ledger = start_pool("blue-0")
    ledger.do(submit("t"))
    ledger.do(declare(generation=2, suspend=True))
    ledger.do(submit("u"))

    assert names(ledger.do(finish("t"))) == ["TaskSucceeded"]
    assert names(ledger.do(declare(generation=3, suspend=False))) == ["AgentDeclared", "TaskDispatched"]


def test_more_replicas_than_the_bound_are_not_wanted() -> None:
    """A typing error must not start ten thousand pods."""
    ledger = Ledger()
    ledger.do(declare(replicas=10_000))

    assert ledger.state.agents[AgentName("blue")].spec.wanted == 64


@pytest.mark.parametrize("incarnation", ["x" * 254, "line\nbreak", "\ud800"])
def test_a_registration_without_a_sensible_incarnation_is_rejected(incarnation: str) -> None:
    """It would become part of the log."""
    assert start_pool("blue-0").decide(register("blue-0", incarnation)) == Rejected("NoIncarnation")


def test_a_former_start_of_the_same_pod_never_displaces_a_later_one() -> None:
    """Even if nobody heard of it in its time."""
    ledger = start_pool()
    ledger.do(declare(generation=2, replicas=1))
    ledger.do(register("blue-0", "pod/10"))

    assert ledger.decide(register("blue-0", "pod/9")) == Rejected("IncarnationEnded")
