"""Who goes first when attempts that work and tasks that wait want the same lock."""

from __future__ import annotations

from support.asking import answers, ask_lock, return_lock
from support.deciding import Ledger, accept, declare, finish, names, register, start_pool, submit
from watchbill_coordination.core.state import Phase


def work_on(*uids: str) -> Ledger:
    """A pool in which each of these tasks runs, the first on blue-0, the second on blue-1 and so on."""
    ledger = start_pool(*[f"blue-{number}" for number in range(len(uids))])
    for number, uid in enumerate(uids):
        ledger.do(submit(uid))
        ledger.do(accept(uid, replica=f"blue-{number}"))
    return ledger


def test_a_queued_writer_is_not_kept_waiting_by_readers_that_come_and_go() -> None:
    """What is shared is not shared with one more while a queued task waits to have it alone."""
    ledger = work_on("t", "u", "v")
    ledger.do(ask_lock("t", shared=True))
    ledger.do(finish("v", replica="blue-2"))
    ledger.do(submit("writer", locks=[{"name": "x"}]))

    ledger.do(ask_lock("u", shared=True, replica="blue-1"))

    told = answers(ledger, "blue-1")[1]
    assert (told.granted, "the Task writer is next" in told.text) == (False, True)
    assert "TaskDispatched" in names(ledger.do(return_lock("t")))


def test_a_queued_writer_that_nobody_could_run_keeps_no_reader_out() -> None:
    """It has no claim."""
    ledger = work_on("t", "u")
    ledger.do(ask_lock("t", shared=True))
    ledger.do(submit("writer", type="nobody-does-this", locks=[{"name": "x"}]))

    assert names(ledger.do(ask_lock("u", shared=True, replica="blue-1"))) == ["LockGranted"]


def test_a_free_lock_goes_to_who_works_before_who_waits_for_a_slot() -> None:
    """The one that has its slot will sooner be done."""
    ledger = work_on("t")
    ledger.do(submit("waiter", locks=[{"name": "x"}]))

    assert names(ledger.do(ask_lock("t"))) == ["LockGranted"]

    ledger.do(declare(replicas=2, generation=2))
    ledger.do(register("blue-1"))
    assert ledger.task("waiter").phase is Phase.QUEUED
    ledger.do(finish("t"))
    assert ledger.task("waiter").phase is Phase.RUNNING


def test_a_ready_task_whose_lock_was_just_taken_does_not_stand_before_others() -> None:
    """It is set aside, as one that came later would be."""
    ledger = work_on("t")
    ledger.do(submit("waiter", locks=[{"name": "x"}]))
    ledger.do(submit("other"))
    ledger.do(ask_lock("t"))

    ledger.do(declare(replicas=2, generation=2))
    ledger.do(register("blue-1"))

    assert ledger.task("other").phase is Phase.RUNNING


def test_a_waiter_that_now_waits_for_another_lock_stands_before_later_ones_there() -> None:
    """It waited for the first lock when they came, and goes first at the second as well."""
    ledger = work_on("t", "u")
    ledger.do(ask_lock("t", "a"))
    ledger.do(ask_lock("u", "b", shared=True, replica="blue-1"))
    ledger.do(submit("both", locks=[{"name": "a"}, {"name": "b"}]))
    ledger.do(submit("reader", locks=[{"name": "b", "mode": "Shared"}]))

    ledger.do(return_lock("t", "a"))
    ledger.do(declare(replicas=3, generation=2))
    ledger.do(register("blue-2"))

    assert {uid: ledger.task(uid).phase for uid in ("both", "reader")} == {"both": Phase.QUEUED, "reader": Phase.QUEUED}
    ledger.do(return_lock("u", "b", replica="blue-1"))
    assert ledger.task("both").phase is Phase.RUNNING
