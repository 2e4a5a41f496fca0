"""Who waits for whose end."""

from __future__ import annotations

from support.deciding import Ledger, finish, names, remove, start_pool, submit
from watchbill_coordination.core.events import TaskFailed
from watchbill_coordination.core.state import Phase


def succeed(ledger: Ledger, uid: str) -> list[str]:
    """The task's attempt on blue-0 succeeds; return what follows."""
    return names(ledger.do(finish(uid)))


def failure(ledger: Ledger, uid: str) -> tuple[str, str]:
    """Reason and message of a task that failed."""
    assert ledger.task(uid).phase is Phase.FAILED
    return ledger.task(uid).reason, ledger.task(uid).message


def test_a_task_waits_for_its_dependency() -> None:
    """It is queued when the other one succeeded."""
    ledger = start_pool("blue-0")
    ledger.do(submit("first"))
    assert names(ledger.do(submit("second", dependsOn=["first"]))) == ["TaskSubmitted", "DependencyBound"]

    assert succeed(ledger, "first") == ["TaskSucceeded", "TaskQueued", "TaskDispatched"]


def test_a_name_that_does_not_exist_yet_is_awaited() -> None:
    """The order of creation does not matter."""
    ledger = start_pool("blue-0")
    ledger.do(submit("second", dependsOn=["first"]))

    assert names(ledger.do(submit("first"))) == ["TaskSubmitted", "TaskQueued", "DependencyBound", "TaskDispatched"]
    assert ledger.task("second").bound == {"first": "first"}


def test_a_task_waits_for_all_of_its_dependencies() -> None:
    """One of two is not enough."""
    ledger = start_pool("blue-0")
    for uid in ("one", "two"):
        ledger.do(submit(uid))
    ledger.do(submit("both", dependsOn=["one", "two"]))

    assert "TaskQueued" not in succeed(ledger, "one")
    assert "TaskQueued" in succeed(ledger, "two")


def test_a_failed_dependency_fails_its_dependants_all_the_way() -> None:
    """Nobody waits for what will never come."""
    ledger = start_pool("blue-0")
    ledger.do(submit("first"))
    ledger.do(submit("second", dependsOn=["first"]))
    ledger.do(submit("third", dependsOn=["second"]))

    ledger.do(finish("first", "Failed", retryable=False))

    assert failure(ledger, "second") == ("DependencyFailed", "dependency first is Failed")
    assert failure(ledger, "third") == ("DependencyFailed", "dependency second is Failed")


def test_a_cancelled_dependency_fails_its_dependants() -> None:
    """Cancelled is an end without success."""
    ledger = Ledger()
    ledger.do(submit("first"))
    ledger.do(submit("second", dependsOn=["first"]))

    ledger.do(submit("first", generation=2, cancel=True))

    assert failure(ledger, "second") == ("DependencyFailed", "dependency first is Cancelled")


def test_a_task_created_after_its_dependency_failed_fails_at_once() -> None:
    """The outcome counts, whenever it is looked at."""
    ledger = Ledger()
    ledger.do(submit("first", cancel=True))

    assert names(ledger.do(submit("second", dependsOn=["first"]))) == ["TaskSubmitted", "DependencyBound", "TaskFailed"]


def test_a_dependency_deleted_before_its_end_fails_its_dependants() -> None:
    """It will never succeed."""
    ledger = Ledger()
    ledger.do(submit("first"))
    ledger.do(submit("second", dependsOn=["first"]))

    ledger.do(remove("first"))

    assert failure(ledger, "second")[0] == "DependencyDeleted"


def test_a_dependency_that_succeeded_stays_satisfied_after_its_deletion() -> None:
    """Tidying up does not break what follows."""
    ledger = start_pool("blue-0")
    ledger.do(submit("first"))
    ledger.do(submit("other"))
    ledger.do(submit("second", dependsOn=["first", "other"]))
    succeed(ledger, "first")
    ledger.do(remove("first"))

    assert "TaskQueued" in succeed(ledger, "other")


def test_the_end_of_a_deleted_task_is_forgotten_with_its_last_dependant() -> None:
    """Otherwise memory would grow with every task that ever was."""
    ledger = start_pool("blue-0")
    ledger.do(submit("first"))
    ledger.do(submit("other"))
    ledger.do(submit("second", dependsOn=["first", "other"]))
    succeed(ledger, "first")
    ledger.do(remove("first"))
    assert ledger.state.outcomes == {"first": Phase.SUCCEEDED}

    ledger.do(remove("second"))

    assert ledger.state.outcomes == {}


def test_a_bound_name_means_the_same_task_for_ever() -> None:
    """A namesake created later is somebody else."""
    ledger = start_pool("blue-0")
    ledger.do(submit("old", name="first"))
    ledger.do(submit("second", dependsOn=["first"]))
    succeed(ledger, "old")
    ledger.do(remove("old"))

    ledger.do(submit("new", name="first"))

    assert ledger.task("second").bound == {"first": "old"}


def test_a_task_that_depends_on_itself_fails() -> None:
    """The API refuses it; a log that has one anyway must not stall."""
    ledger = Ledger()

    events = ledger.do(submit("t", dependsOn=["t"]))

    assert events[-1] == TaskFailed(
        task=ledger.task("t").uid, reason="DependencyCycle", message="these wait for each other: t → t"
    )


def test_the_task_that_closes_a_cycle_fails_and_names_it() -> None:
    """The others fail with it, since they wait for it."""
    ledger = Ledger()
    ledger.do(submit("a", dependsOn=["b"]))
    ledger.do(submit("b", dependsOn=["c"]))

    ledger.do(submit("c", dependsOn=["a"]))

    closing = [uid for uid in ("a", "b", "c") if ledger.task(uid).reason == "DependencyCycle"]
    assert len(closing) == 1
    assert ledger.task(closing[0]).message.count("→") == 3
    assert all(ledger.task(uid).phase is Phase.FAILED for uid in ("a", "b", "c"))


def test_a_diamond_is_not_a_cycle() -> None:
    """Two ways to one end are only work."""
    ledger = Ledger()
    ledger.do(submit("end", dependsOn=["left", "right"]))
    ledger.do(submit("left", dependsOn=["start"]))
    ledger.do(submit("right", dependsOn=["start"]))

    ledger.do(submit("start"))

    assert ledger.task("end").phase is Phase.PENDING
    assert ledger.task("start").phase is Phase.QUEUED


def test_a_chain_of_five_thousand_created_backwards_is_bound_without_recursion() -> None:
    """The longest legal chain neither stalls nor breaks the rules."""
    ledger = Ledger()
    for number in range(5000):
        ledger.do(submit(f"t{number}", dependsOn=[f"t{number + 1}"]))

    assert ledger.task("t0").bound == {"t1": "t1"}
    assert ledger.task("t4999").bound == {}
