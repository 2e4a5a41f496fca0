"""Task objects: created, changed, cancelled, suspended, deleted."""

from __future__ import annotations

import pytest

from support.deciding import Ledger, accept, finish, names, remove, start_pool, submit
from watchbill_coordination.core.commands import PublishContext, Rejected
from watchbill_coordination.core.state import Phase


def run_task() -> Ledger:
    """A ledger in which task t runs on the only slot."""
    ledger = start_pool("blue-0")
    ledger.do(submit("t"))
    ledger.do(accept("t"))
    return ledger


def test_a_task_seen_twice_is_submitted_once() -> None:
    """Watches and full reconciles show the same object many times."""
    ledger = Ledger()
    ledger.do(submit("t"))

    assert ledger.do(submit("t")) == []


def test_another_priority_is_an_amendment() -> None:
    """Priority may change at any time."""
    ledger = Ledger()
    ledger.do(submit("t"))

    assert names(ledger.do(submit("t", generation=2, priority=900))) == ["TaskAmended"]
    assert (ledger.task("t").priority, ledger.task("t").generation) == (900, 2)


def test_an_older_sight_of_a_task_changes_nothing() -> None:
    """Handlers may be called in any order."""
    ledger = Ledger()
    ledger.do(submit("t", generation=2, priority=900))

    assert ledger.decide(submit("t", generation=1, priority=100)) == Rejected("OutdatedGeneration")


def test_a_queued_task_that_is_suspended_is_held() -> None:
    """It goes back to Pending and takes no slot."""
    ledger = Ledger()
    ledger.do(submit("t"))

    assert names(ledger.do(submit("t", generation=2, suspend=True))) == ["TaskAmended", "TaskHeld"]
    assert (ledger.task("t").phase, ledger.task("t").reason) == (Phase.PENDING, "Suspended")


def test_a_resumed_task_keeps_its_age() -> None:
    """Its first queue time counts, not the newest."""
    ledger = Ledger()
    ledger.do(submit("t"))
    first = ledger.task("t").first_queued
    ledger.do(submit("t", generation=2, suspend=True))
    ledger.wait(100)

    ledger.do(submit("t", generation=3, suspend=False))

    assert (ledger.task("t").phase, ledger.task("t").first_queued) == (Phase.QUEUED, first)


def test_a_task_created_suspended_waits() -> None:
    """It is not queued before it is resumed."""
    ledger = start_pool("blue-0")

    assert names(ledger.do(submit("t", suspend=True))) == ["TaskSubmitted"]


def test_suspending_a_running_task_lets_the_attempt_go_on() -> None:
    """It takes effect on what waits."""
    ledger = run_task()

    assert names(ledger.do(submit("t", generation=2, suspend=True))) == ["TaskAmended"]
    assert names(ledger.do(finish("t"))) == ["TaskSucceeded"]


def test_a_suspended_task_whose_attempt_fails_waits_until_it_is_resumed() -> None:
    """The delay alone does not start it again."""
    ledger = run_task()
    ledger.do(submit("t", generation=2, suspend=True))
    ledger.do(finish("t", "Failed"))

    assert ledger.wait(1000) == []
    assert names(ledger.do(submit("t", generation=3, suspend=False))) == ["TaskAmended", "TaskQueued", "TaskDispatched"]


def test_a_task_created_with_cancel_ends_at_once() -> None:
    """It never takes a slot."""
    ledger = start_pool("blue-0")

    assert names(ledger.do(submit("t", cancel=True))) == ["TaskSubmitted", "TaskCancelled"]


@pytest.mark.parametrize(
    "spec", [{}, {"suspend": True}, {"dependsOn": ["never"]}], ids=["queued", "suspended", "pending"]
)
def test_a_waiting_task_is_cancelled_at_once(spec: dict[str, object]) -> None:
    """Nothing runs, so nothing must be stopped."""
    ledger = Ledger()
    ledger.do(submit("t", **spec))

    assert names(ledger.do(submit("t", generation=2, cancel=True, **spec))) == ["TaskAmended", "TaskCancelled"]
    assert ledger.task("t").phase is Phase.CANCELLED


def test_a_running_task_is_cancelled_when_its_agent_confirms() -> None:
    """Until then its slot is taken."""
    ledger = run_task()

    assert names(ledger.do(submit("t", generation=2, cancel=True))) == ["TaskAmended", "TaskCancelRequested"]
    assert ledger.task("t").phase is Phase.RUNNING
    assert names(ledger.do(finish("t", "Cancelled"))) == ["TaskCancelled"]
    assert ledger.replica("blue-0").attempts == {}


@pytest.mark.parametrize("outcome", ["Succeeded", "Failed"])
def test_an_end_that_crosses_the_cancel_request_still_cancels(outcome: str) -> None:
    """The user's wish came first."""
    ledger = run_task()
    ledger.do(submit("t", generation=2, cancel=True))

    assert names(ledger.do(finish("t", outcome))) == ["TaskCancelled"]


def test_a_finished_task_cannot_be_cancelled() -> None:
    """What is done is done."""
    ledger = run_task()
    ledger.do(finish("t"))

    ledger.do(submit("t", generation=2, cancel=True))

    assert ledger.task("t").phase is Phase.SUCCEEDED


def test_a_deleted_queued_task_is_gone() -> None:
    """Its name is free again."""
    ledger = Ledger()
    ledger.do(submit("t"))

    assert names(ledger.do(remove("t"))) == ["TaskDeleted"]
    assert (ledger.state.tasks, ledger.state.names) == ({}, {})


def test_a_deleted_running_task_keeps_its_slot_until_the_agent_confirms() -> None:
    """Two attempts in one slot would share what the agent has once."""
    ledger = run_task()
    ledger.do(submit("next"))
    ledger.do(remove("t"))

    assert ledger.task("next").phase is Phase.QUEUED
    assert names(ledger.do(finish("t", "Cancelled"))) == ["AttemptAbandoned", "TaskDispatched"]


def test_the_result_of_a_deleted_task_is_refused() -> None:
    """Nobody asks for it any more, and the refusal is on record."""
    ledger = run_task()
    ledger.do(remove("t"))

    assert names(ledger.do(finish("t"))) == ["ResultRefused", "AttemptAbandoned"]


def test_the_slot_of_a_deleted_task_is_free_when_its_agent_is_given_up() -> None:
    """An agent that never confirms does not keep the slot for ever."""
    ledger = run_task()
    ledger.do(remove("t"))

    assert names(ledger.wait(76)) == ["ReplicaLost", "AttemptLost"]


def test_a_new_task_of_the_same_name_is_independent_of_the_one_that_still_runs() -> None:
    """A task is its uid."""
    ledger = start_pool("blue-0", "blue-1")
    ledger.do(submit("old", name="same"))
    ledger.do(remove("old"))
    ledger.do(submit("new", name="same"))

    ledger.do(finish("old"))

    assert ledger.task("new").phase is Phase.RUNNING
    assert ledger.task("new").agent == "blue-1"


def test_a_name_seen_under_another_uid_tells_that_the_former_object_is_gone() -> None:
    """Its deletion may have been missed while nobody watched."""
    ledger = Ledger()
    ledger.do(submit("old", name="same"))

    assert names(ledger.do(submit("new", name="same"))) == ["TaskDeleted", "TaskSubmitted", "TaskQueued"]


def test_a_late_sight_of_a_deleted_task_does_not_bring_it_back() -> None:
    """A uid never comes again."""
    ledger = Ledger()
    ledger.do(submit("t"))
    ledger.do(remove("t"))

    assert ledger.decide(submit("t")) == Rejected("Deleted")


def test_a_late_sight_of_a_former_task_does_no_harm_to_its_namesake() -> None:
    """Handlers may be called in any order."""
    ledger = Ledger()
    ledger.do(submit("old", name="same"))
    ledger.do(submit("new", name="same"))

    assert ledger.decide(submit("old", name="same")) == Rejected("Deleted")


def test_a_late_sight_of_a_deleted_task_that_is_being_stopped_is_rejected() -> None:
    """It must not begin again while its former attempt holds a slot."""
    ledger = run_task()
    ledger.do(remove("t"))

    assert ledger.decide(submit("t")) == Rejected("Deleted")


def test_a_task_waits_for_its_shared_context() -> None:
    """It is queued when the file is there."""
    ledger = Ledger()
    assert names(ledger.do(submit("t", context=["notes.md"]))) == ["TaskSubmitted"]

    assert names(ledger.do(PublishContext(path="notes.md", digest="1"))) == ["ContextPublished", "TaskQueued"]
