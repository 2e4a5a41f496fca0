"""A task from its creation to its result."""

from __future__ import annotations

from support.deciding import accept, finish, names, start_pool, submit
from watchbill_coordination.core.state import Phase


def test_a_task_is_queued_and_dispatched_at_once_where_a_slot_is_free() -> None:
    """Submitting is all that a user does."""
    ledger = start_pool("blue-0")

    assert names(ledger.do(submit("t"))) == ["TaskSubmitted", "TaskQueued", "TaskDispatched"]


def test_an_accepted_result_ends_the_task_and_frees_the_slot() -> None:
    """The next task goes to the slot that became free."""
    ledger = start_pool("blue-0")
    ledger.do(submit("t"))
    ledger.do(submit("u"))
    ledger.do(accept("t"))

    assert names(ledger.do(finish("t", result="done"))) == ["TaskSucceeded", "TaskDispatched"]
    assert (ledger.task("t").phase, ledger.task("t").result) == (Phase.SUCCEEDED, "done")
    assert ledger.task("u").phase is Phase.RUNNING
