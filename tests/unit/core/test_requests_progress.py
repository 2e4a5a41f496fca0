"""What attempts say of how far they are."""

from __future__ import annotations

from dataclasses import replace

from support.asking import report
from support.deciding import Ledger, accept, finish, names, start_pool, submit
from watchbill_coordination.core.commands import Rejected
from watchbill_coordination.core.evolve import fold
from watchbill_coordination.core.requests import MAX_PROGRESS, PROGRESS_SECONDS
from watchbill_coordination.core.working_events import ProgressReported


def work(**spec: object) -> Ledger:
    """Task t runs on blue-0."""
    ledger = start_pool("blue-0")
    ledger.do(submit("t", **spec))
    ledger.do(accept("t"))
    return ledger


def test_progress_is_noted_with_its_time() -> None:
    """The newest word counts."""
    ledger = work()
    ledger.do(report("t", "reads", 10))
    ledger.wait(PROGRESS_SECONDS)

    ledger.do(report("t", "writes", 60))

    progress = ledger.task("t").progress
    assert progress is not None
    assert (progress.text, progress.percent, progress.at) == ("writes", 60, ledger.now)


def test_progress_that_comes_too_soon_is_dropped() -> None:
    """The log is no place for a spinner."""
    ledger = work()
    ledger.do(report("t", "one"))
    ledger.wait(PROGRESS_SECONDS - 0.1)

    assert ledger.decide(report("t", "two")) == Rejected("TooOften")


def test_an_attempt_says_so_a_limited_number_of_times() -> None:
    """However slowly."""
    ledger = work()
    for _ in range(MAX_PROGRESS):
        assert names(ledger.do(report("t"))) == ["ProgressReported"]
        ledger.wait(PROGRESS_SECONDS)

    assert ledger.decide(report("t")) == Rejected("TooOften")


def test_a_repeated_message_is_not_taken_for_news() -> None:
    """After a restart of the operator older mail is read again."""
    ledger = work()
    (event,) = ledger.do(report("t", "newer", key="blue-0/0002-x"))
    again = fold([*ledger.records[:-1], replace(ledger.records[-1], key="blue-0/0002-x")])
    ledger.state, ledger.now = again, ledger.now + 60
    assert isinstance(event, ProgressReported)

    assert ledger.decide(report("t", "older", key="blue-0/0001-x")) == []
    assert ledger.decide(report("t", "newer", key="blue-0/0002-x")) == []
    assert ledger.decide(report("t", "newest", key="blue-0/0003-x")) != []


def test_progress_is_one_line_within_bounds() -> None:
    """Whatever the agent writes."""
    ledger = work()

    (event,) = ledger.do(report("t", "a\x1b[31m\nb\ud800" + "c" * 1000, 400))

    assert isinstance(event, ProgressReported)
    assert event.text.startswith("a [31m b?ccc")
    assert (len(event.text), event.percent) == (512, 100)
    event.text.encode()


def test_saying_nothing_is_no_progress() -> None:
    """Neither words nor a figure."""
    ledger = work()

    assert ledger.decide(report("t", " \n ", None)) == Rejected("Empty")


def test_a_new_attempt_begins_without_progress() -> None:
    """What the former one reached may be lost."""
    ledger = work(retryPolicy={"initialDelaySeconds": 60})
    ledger.do(report("t"))
    ledger.do(finish("t", "Failed"))
    assert ledger.task("t").progress is not None

    ledger.wait(120)

    assert ledger.task("t").attempt == 2
    assert ledger.task("t").progress is None


def test_only_the_present_attempt_is_heard() -> None:
    """As with everything else."""
    ledger = work()

    assert ledger.decide(report("t", attempt=2)) == Rejected("NotCurrent")
    ledger.do(submit("t", generation=2, cancel=True))
    assert ledger.decide(report("t")) == Rejected("Stopping")
