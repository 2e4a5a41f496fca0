"""What an agent's message asks for."""

from __future__ import annotations

import dataclasses

import pytest

from watchbill_coordination.core.commands import (
    Command,
    FinishAttempt,
    ReportProgress,
    RequestLock,
    ReturnLock,
    SubmitChild,
)
from watchbill_coordination.core.messages import (
    Assign,
    ChildSubmitted,
    Finished,
    LockReleased,
    LockRequested,
    Message,
    Progress,
)
from watchbill_coordination.core.specs import ReplicaName, TaskUid
from watchbill_operator.mail import parse_message

BLUE = ReplicaName("blue-0")
T1 = TaskUid("t1")

ASKED: list[tuple[Message, type[Command]]] = [
    (Progress(incarnation="pod/1", task=T1, attempt=2, text="reads", percent=40), ReportProgress),
    (LockRequested(incarnation="pod/1", task=T1, attempt=2, request=1, name="repo", shared=True), RequestLock),
    (LockReleased(incarnation="pod/1", task=T1, attempt=2, request=2, name="repo"), ReturnLock),
    (ChildSubmitted(incarnation="pod/1", task=T1, attempt=2, request=3, name="x", spec={"prompt": "y"}), SubmitChild),
]


@pytest.mark.parametrize(("message", "kind"), ASKED, ids=[kind.__name__ for _, kind in ASKED])
def test_what_a_working_attempt_asks_for_is_handed_over_whole(message: Message, kind: type[Command]) -> None:
    """Every member of the message, the folder's replica, and the key of the file."""
    command = parse_message(BLUE, message, key="blue-0/file")

    assert type(command) is kind
    assert dataclasses.asdict(command) == {**dataclasses.asdict(message), "key": "blue-0/file", "agent": "blue-0"}


def test_an_attempt_that_is_given_back_says_for_how_long() -> None:
    """The pool is parked until then."""
    said = Finished(
        incarnation="pod/1", task=T1, attempt=1, outcome="GivenBack", reason="RateLimited", retry_after_seconds=45.0
    )
    command = parse_message(BLUE, said, key="")

    assert isinstance(command, FinishAttempt)
    assert (command.outcome, command.reason, command.retry_after_seconds) == ("GivenBack", "RateLimited", 45.0)


def test_an_agent_has_no_business_to_send_what_operators_send() -> None:
    """The codec refuses it before; here it leads to nothing."""
    assert parse_message(BLUE, Assign(task=T1, attempt=1, name="a", incarnation="i", timeout_seconds=1), key="") is None
