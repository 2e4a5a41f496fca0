"""What the API's answers mean for the caller."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchbill_operator.api import (
    MAX_DELAY_SECONDS,
    PODS,
    TASKS,
    ApiError,
    ConflictError,
    GoneError,
    NotAllowedError,
    RefusedError,
    Request,
    UnavailableError,
    UnprocessableError,
    retry_delay,
    sort_answer,
)

REQUEST = Request(method="GET", resource=TASKS, name="a")


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (302, UnavailableError),
        (404, GoneError),
        (410, GoneError),
        (409, ConflictError),
        (422, UnprocessableError),
        (400, RefusedError),
        (401, NotAllowedError),
        (403, RefusedError),
        (429, UnavailableError),
        (500, UnavailableError),
        (503, UnavailableError),
    ],
)
def test_answers_are_sorted_by_what_to_do(code: int, kind: type[ApiError]) -> None:
    """Decide anew, let go, mend, or try later."""
    assert type(sort_answer(code, REQUEST, b'{"message": "no"}')) is kind


def test_a_right_that_is_missing_may_come_later() -> None:
    """An API server that has just started forbids everything until it has read the roles."""
    said = b'{"message": "tasks \\"a\\" is forbidden: User \\"someone\\" cannot get resource \\"tasks\\""}'

    assert type(sort_answer(403, REQUEST, said)) is NotAllowedError


def test_what_admission_forbids_stays_forbidden() -> None:
    """A pod that is not restricted, or one too many for a quota: asking again at once yields the same."""
    said = b'{"message": "pods \\"a\\" is forbidden: violates PodSecurity \\"restricted:latest\\""}'

    assert type(sort_answer(403, REQUEST, said)) is RefusedError


def test_an_error_has_the_servers_words() -> None:
    """And the request that it is about."""
    error = sort_answer(403, REQUEST, b'{"kind": "Status", "message": "you may not"}')

    assert str(error) == "get tasks/a: you may not"


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"\xff\xfe"])
def test_an_answer_that_is_no_status_is_told_as_it_is(body: bytes) -> None:
    """A proxy in between speaks its own language."""
    assert sort_answer(503, REQUEST, body).code == 503


@given(st.integers(1, 50), st.floats(0, 1))
def test_the_pause_between_tries_is_bounded(attempt: int, chance: float) -> None:
    """It grows, but never beyond its limit."""
    assert 0 < retry_delay(attempt, chance) <= MAX_DELAY_SECONDS


@pytest.mark.parametrize(
    ("request_", "verb"),
    [
        (Request(method="GET", resource=PODS), "list"),
        (Request(method="GET", resource=PODS, name="a"), "get"),
        (Request(method="POST", resource=PODS), "create"),
        (Request(method="PUT", resource=PODS, name="a"), "update"),
        (Request(method="PATCH", resource=PODS, name="a"), "patch"),
        (Request(method="DELETE", resource=PODS, name="a"), "delete"),
    ],
)
def test_requests_are_called_as_access_rules_call_them(request_: Request, verb: str) -> None:
    """The metrics use the same words."""
    assert request_.verb == verb
