"""What is kept of requests, and whose requests are heard."""

from __future__ import annotations

from support.asking import answers, ask_lock, return_lock
from support.deciding import Ledger, accept, names, start_pool, submit
from watchbill_coordination.core.commands import Rejected
from watchbill_coordination.core.requests import KEPT_ANSWERS, MAX_ASKED_LOCKS, MAX_REQUESTS
from watchbill_coordination.core.working_events import LockDenied


def work_on(*uids: str) -> Ledger:
    """A pool in which each of these tasks runs, the first on blue-0, the second on blue-1 and so on."""
    ledger = start_pool(*[f"blue-{number}" for number in range(len(uids))])
    for number, uid in enumerate(uids):
        ledger.do(submit(uid))
        ledger.do(accept(uid, replica=f"blue-{number}"))
    return ledger


def test_an_attempt_that_is_being_stopped_gets_nothing() -> None:
    """It is about to end."""
    ledger = work_on("t")
    ledger.do(submit("t", generation=2, cancel=True))

    assert ledger.decide(ask_lock("t")) == Rejected("Stopping")


def test_nobody_asks_for_another_attempt() -> None:
    """Uid, attempt, replica and incarnation must all be current."""
    ledger = work_on("t", "u")

    for said in (
        ask_lock("t", attempt=2),
        ask_lock("t", incarnation="pod-of-blue-0/0"),
        ask_lock("t", replica="blue-1"),
        ask_lock("nobody"),
        ask_lock("t", replica="blue-9"),
    ):
        assert ledger.decide(said) == Rejected("NotCurrent")


def test_what_is_no_name_of_a_lock_is_told_so() -> None:
    """In words that a log can hold."""
    ledger = work_on("t")
    for number, name in enumerate(["", "a\nb", "x" * 254, "\ud800", "\x00"], start=1):
        (denied,) = ledger.do(ask_lock("t", name, request=number))

        assert isinstance(denied, LockDenied)
        assert len(denied.name) <= 253
        assert denied.name.isprintable()
        denied.name.encode()
        assert "give 1 to 253 printable characters" in denied.message


def test_an_attempt_holds_a_limited_number_of_locks() -> None:
    """One that is given back makes room."""
    ledger = work_on("t")
    for number in range(1, MAX_ASKED_LOCKS + 1):
        ledger.do(ask_lock("t", f"lock-{number}", request=number))

    assert names(ledger.do(ask_lock("t", "one-more", request=100))) == ["LockDenied"]
    ledger.do(return_lock("t", "lock-1", request=101))
    assert names(ledger.do(ask_lock("t", "one-more", request=102))) == ["LockGranted"]


def test_a_request_has_a_number_within_bounds() -> None:
    """Its sender counts too."""
    ledger = work_on("t")

    for number in (0, MAX_REQUESTS + 1):
        assert ledger.decide(ask_lock("t", request=number)) == Rejected("TooManyRequests")
        assert ledger.decide(return_lock("t", request=number)) == Rejected("TooManyRequests")


def test_old_answers_are_forgotten_and_not_given_anew() -> None:
    """What an operator delivers again after a restart is bounded; a repetition of what is older leads to nothing."""
    ledger = work_on("t")
    for number in range(1, KEPT_ANSWERS + 3):
        ledger.do(ask_lock("t", request=number))

    assert list(answers(ledger)) == list(range(3, KEPT_ANSWERS + 3))
    assert ledger.do(ask_lock("t", "another", request=2)) == []
