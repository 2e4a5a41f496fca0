"""A watch that begins is a reason for doubt: what vanished before is told by nobody."""

from __future__ import annotations

from itertools import islice

from watchbill_operator.handlers import EndlessBackoffs
from watchbill_operator.watching import HeardBackoffs


def test_a_request_is_heard_when_it_begins_and_with_each_failure() -> None:
    """kopf takes one pause before it sends anything, and one for each try that failed."""
    told: list[int] = []
    pauses = HeardBackoffs(EndlessBackoffs(), lambda: told.append(len(told)))

    tries = iter(pauses)
    first = next(tries)
    assert (first, told) == (0.1, [0])
    next(tries)
    assert told == [0, 1]


def test_each_request_has_all_pauses_anew() -> None:
    """One object serves all requests of all kinds."""
    pauses = HeardBackoffs(EndlessBackoffs(), lambda: None)

    assert list(islice(pauses, 3)) == list(islice(pauses, 3)) == [0.1, 0.2, 0.5]
