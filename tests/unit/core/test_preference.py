"""A retry waits for the replica that had the last attempt, for a while."""

from __future__ import annotations

from typing import Any

import pytest

from support.deciding import Ledger, declare, finish, give_back, names, register, remove, start_pool, submit
from support.invariants import check_all, check_replay
from watchbill_coordination.core.commands import LoseReplica, RemoveAgent
from watchbill_coordination.core.events import Event, TaskDispatched
from watchbill_coordination.core.specs import AgentName, ReplicaName
from watchbill_coordination.core.state import Phase
from watchbill_coordination.core.waiting import Wait, explain_wait

PREFERRING = {"retryPolicy": {"preferSameAgentSeconds": 60, "initialDelaySeconds": 1, "maxRetries": 5}}
ANOTHER: dict[str, Any] = {"role": "azure", "taskTypes": ["search"]}


def dispatched(events: list[Event]) -> list[tuple[str, str]]:
    """(task, replica) of each dispatch, in order."""
    return [(event.task, event.agent) for event in events if isinstance(event, TaskDispatched)]


def lose(replica: str = "blue-0") -> LoseReplica:
    """The pod is gone."""
    return LoseReplica(agent=ReplicaName(replica), incarnation="", reason="PodGone")


def start_with_a_spare(**spec: Any) -> Ledger:
    """Task t runs on blue-0, and blue-1 is idle."""
    ledger = start_pool("blue-0", "blue-1")
    ledger.do(submit("t", **{**PREFERRING, **spec}))
    return ledger


def lose_and_fill() -> Ledger:
    """Task t waits for blue-0, which comes back no more by itself; blue-1 is idle."""
    ledger = start_with_a_spare()
    ledger.do(lose())
    assert ledger.task("t").preferred == "blue-0"
    return ledger


def why(ledger: Ledger) -> Wait:
    """What t waits for."""
    wait = explain_wait(ledger.state, ledger.task("t"), ledger.now)
    assert wait is not None
    return wait


def test_a_lost_attempt_waits_for_its_replica() -> None:
    """Its work and its session lie there; another one that is idle does not take it."""
    ledger = lose_and_fill()
    ledger.wait(59)
    assert ledger.task("t").phase is Phase.QUEUED

    assert dispatched(ledger.do(register("blue-0", "another-pod/1"))) == [("t", "blue-0")]


def test_a_failed_attempt_is_followed_by_one_on_the_same_replica() -> None:
    """Even where another one would have been chosen."""
    ledger = start_pool("blue-0", "blue-1")
    ledger.do(submit("other"))
    ledger.do(submit("t", **PREFERRING))
    ledger.do(finish("other"))
    ledger.do(finish("t", "Failed", replica="blue-1"))

    assert dispatched(ledger.wait(2)) == [("t", "blue-1")]


def test_an_attempt_that_was_given_back_is_followed_by_one_on_the_same_replica() -> None:
    """Its session can go on when the credential can."""
    ledger = start_pool("blue-0", "blue-1")
    ledger.do(submit("other"))
    ledger.do(submit("t", **PREFERRING))
    ledger.do(finish("other"))
    ledger.do(give_back("t", replica="blue-1", after=10))

    assert dispatched(ledger.wait(10)) == [("t", "blue-1")]


def test_without_a_preference_any_replica_takes_it() -> None:
    """The default is 0 seconds."""
    ledger = start_pool("blue-0", "blue-1")
    ledger.do(submit("t"))

    assert dispatched(ledger.do(lose())) == [("t", "blue-1")]


def test_the_first_attempt_prefers_nobody() -> None:
    """There is nothing to go on with."""
    ledger = start_pool("blue-0")
    ledger.do(submit("busy"))
    ledger.do(submit("t", **PREFERRING))

    assert ledger.task("t").preferred is None


def test_when_its_time_is_over_any_replica_takes_it() -> None:
    """It starts afresh there."""
    ledger = lose_and_fill()

    events = ledger.wait(60)

    assert "PreferenceEnded" in names(events)
    assert dispatched(events) == [("t", "blue-1")]


def test_a_task_that_has_ended_its_preference_keeps_its_age() -> None:
    """It goes before those that came after it."""
    ledger = start_pool("blue-0", "blue-1")
    ledger.do(submit("t", **PREFERRING))
    ledger.do(submit("busy"))
    ledger.do(lose())
    ledger.now += 1
    ledger.do(submit("later"))
    ledger.wait(60)

    assert dispatched(ledger.do(finish("busy", replica="blue-1"))) == [("t", "blue-1")]


def test_a_task_that_prefers_a_replica_holds_up_no_other() -> None:
    """Others are dispatched past it, to whoever is free."""
    ledger = lose_and_fill()

    assert dispatched(ledger.do(submit("other"))) == [("other", "blue-1")]


def test_the_preferred_replica_takes_the_smaller_key_first() -> None:
    """One order for those that prefer it and for those that do not."""
    ledger = start_pool("blue-0")
    ledger.do(submit("t", **PREFERRING))
    ledger.do(submit("before", priority=600))
    ledger.do(submit("after", priority=400))

    assert dispatched(ledger.do(finish("t", "Cancelled"))) == [("before", "blue-0")]
    assert ledger.task("t").preferred == "blue-0"
    assert dispatched(ledger.do(finish("before"))) == [("t", "blue-0")]


def test_an_idle_replica_that_somebody_waits_for_is_spared() -> None:
    """Where another one is as idle, that one takes what prefers nobody."""
    ledger = start_pool("blue-0", "blue-1", "blue-2")
    ledger.do(submit("t", **PREFERRING, locks=[{"name": "x"}]))
    ledger.do(lose())
    ledger.do(submit("holder", locks=[{"name": "x"}]))
    ledger.do(register("blue-0", "another-pod/1"))
    assert ledger.task("t").preferred == "blue-0"

    assert dispatched(ledger.do(submit("other"))) == [("other", "blue-2")]


@pytest.mark.parametrize(
    "change",
    [
        declare(generation=2, replicas=0),
        declare(generation=2, replicas=2, suspend=True),
        declare(generation=2, replicas=2, taskTypes=["pattern"]),
        RemoveAgent(agent=AgentName("blue"), uid="uid-of-blue"),
    ],
    ids=["scaled down", "suspended", "another type", "removed"],
)
def test_nobody_waits_for_a_replica_that_will_not_take_it(change: Any) -> None:
    """Another pool takes it at once."""
    ledger = start_with_a_spare()
    ledger.do(lose())
    ledger.do(declare("azure", **ANOTHER))
    ledger.do(register("azure-0"))
    assert ledger.task("t").phase is Phase.QUEUED

    assert ("t", "azure-0") in dispatched(ledger.do(change))
    check_all(ledger)
    check_replay(ledger)


def test_a_pool_that_grows_or_stays_is_still_preferred() -> None:
    """Only what keeps the replica from the task ends the wait."""
    ledger = lose_and_fill()

    ledger.do(declare(generation=2, replicas=5))

    assert ledger.task("t").preferred == "blue-0"


def test_nobody_waits_for_a_replica_of_a_pool_that_is_gone_at_once() -> None:
    """A pool without any live replica is forgotten with its removal."""
    ledger = start_pool("blue-0")
    ledger.do(submit("t", **PREFERRING))
    ledger.do(lose())
    assert ledger.task("t").preferred == "blue-0"

    ledger.do(RemoveAgent(agent=AgentName("blue"), uid="uid-of-blue"))

    assert ledger.task("t").preferred is None
    check_all(ledger)


def test_each_attempt_begins_the_wait_anew() -> None:
    """It is about the replica that had the last one, from its end."""
    ledger = lose_and_fill()
    ledger.wait(50)
    ledger.do(register("blue-0", "another-pod/1"))

    ledger.do(lose())

    assert ledger.task("t").preferred_until == ledger.now + 60


def test_the_last_replica_of_a_removed_pool_is_waited_for_by_nobody() -> None:
    """It is lost together with its pool."""
    ledger = start_pool("blue-0")
    ledger.do(submit("t", **PREFERRING))
    ledger.do(RemoveAgent(agent=AgentName("blue"), uid="uid-of-blue"))

    ledger.do(lose())

    assert ledger.task("t").preferred is None
    check_all(ledger)


def test_a_preference_is_not_begun_anew_by_suspending_the_task() -> None:
    """Its time is counted from the first queueing after the attempt."""
    ledger = lose_and_fill()
    ledger.wait(40)
    ledger.do(submit("t", generation=2, suspend=True, **PREFERRING))
    assert ledger.task("t").preferred is None
    ledger.wait(10)
    ledger.do(submit("t", generation=3, **PREFERRING))
    assert ledger.task("t").preferred == "blue-0"

    assert dispatched(ledger.wait(10)) == [("t", "blue-1")]


def test_a_preference_that_is_over_does_not_come_back() -> None:
    """Not before the next attempt has ended."""
    ledger = start_pool("blue-0", "blue-1")
    ledger.do(submit("t", **PREFERRING))
    ledger.do(submit("busy"))
    ledger.do(lose())
    ledger.wait(61)
    ledger.do(submit("t", generation=2, suspend=True, **PREFERRING))
    events = ledger.do(submit("t", generation=3, **PREFERRING))

    assert (ledger.task("t").phase, ledger.task("t").preferred) == (Phase.QUEUED, None)
    assert "PreferenceEnded" not in names(events)


def test_a_deleted_task_prefers_nobody() -> None:
    """Nothing of it is left in the queues."""
    ledger = lose_and_fill()
    ledger.do(remove("t"))

    assert ledger.state.index.preferring == {}
    assert "PreferenceEnded" not in names(ledger.wait(100))


def test_a_task_says_whom_it_waits_for() -> None:
    """Until when, too."""
    ledger = lose_and_fill()

    assert why(ledger) == Wait(
        "PreferringAgent",
        "waits for blue-0, which had attempt 1, until 13:47:40 UTC; then any other may take it",
        "blue-0",
    )


def test_a_task_whose_replica_has_no_credential_waits_for_that() -> None:
    """An idle pool with another credential is not asked yet."""
    ledger = start_with_a_spare()
    ledger.do(declare("azure", **ANOTHER))
    ledger.do(register("azure-0"))
    ledger.do(give_back("t", after=30))

    assert why(ledger).reason == "CredentialParked"


def test_a_lock_that_a_waiting_task_wants_goes_to_others_meanwhile() -> None:
    """It holds nothing while it waits for its replica."""
    ledger = start_with_a_spare(locks=[{"name": "x"}])
    ledger.do(lose())

    assert dispatched(ledger.do(submit("other", locks=[{"name": "x"}]))) == [("other", "blue-1")]


def test_others_that_want_a_lock_do_not_wait_behind_one_that_waits_for_its_replica() -> None:
    """Each line of waiters is woken by itself: the lock is free, and the next one can use it."""
    ledger = start_pool("blue-0", "blue-1")
    ledger.do(submit("t", **PREFERRING, locks=[{"name": "x"}]))
    ledger.do(lose())
    ledger.do(submit("holder", locks=[{"name": "x"}]))
    ledger.do(submit("t", generation=2, priority=900, **PREFERRING, locks=[{"name": "x"}]))
    ledger.do(submit("next", locks=[{"name": "x"}]))

    assert dispatched(ledger.do(finish("holder", replica="blue-1"))) == [("next", "blue-1")]
    check_all(ledger)


def test_a_task_that_a_lock_holds_up_still_gives_up_its_preference() -> None:
    """The lock may be free after its time."""
    ledger = start_pool("blue-0", "blue-1", "blue-2")
    ledger.do(submit("t", **PREFERRING, locks=[{"name": "x"}]))
    ledger.do(lose())
    ledger.do(submit("holder", locks=[{"name": "x"}]))
    ledger.wait(60)
    assert ledger.task("t").preferred is None

    assert dispatched(ledger.do(finish("holder", replica="blue-1"))) == [("t", "blue-1")]
    check_replay(ledger)
