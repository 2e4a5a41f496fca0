"""A mailbox file on its way from an agent to the log.

Owns the step from what an agent said to a command. Pure. The folder that the file lay in says who sent it; what the
message says of its sender is not looked at, and incarnation, uid and attempt are for `decide` to compare.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from watchbill_coordination.core.commands import (
    AcceptAttempt,
    Command,
    FinishAttempt,
    RegisterReplica,
    ReleaseReplica,
    ReportProgress,
    RequestLock,
    ReturnLock,
    SubmitChild,
)
from watchbill_coordination.core.messages import (
    Accepted,
    ChildSubmitted,
    Finished,
    LockReleased,
    LockRequested,
    Message,
    Progress,
    Registered,
    Released,
)
from watchbill_coordination.core.specs import ReplicaName
from watchbill_coordination.storage.results import ResultCopied


@dataclass(frozen=True, slots=True)
class Mail:
    """The commands of one file. It is acknowledged when they are committed; an empty file name needs none."""

    replica: ReplicaName
    file: str
    commands: tuple[Command, ...]


def parse_message(replica: ReplicaName, message: Message, *, key: str) -> Command | None:
    """The command that this message asks for; None for one that an agent has no business to send."""
    if isinstance(message, Registered):
        return RegisterReplica(key=key, agent=replica, incarnation=message.incarnation, slots=message.slots)
    if isinstance(message, Accepted):
        return AcceptAttempt(
            key=key, agent=replica, incarnation=message.incarnation, task=message.task, attempt=message.attempt
        )
    if isinstance(message, Released):
        return ReleaseReplica(key=key, agent=replica, incarnation=message.incarnation)
    if isinstance(message, Finished):
        return FinishAttempt(
            key=key,
            agent=replica,
            incarnation=message.incarnation,
            task=message.task,
            attempt=message.attempt,
            outcome=message.outcome,
            reason=message.reason,
            message=message.message,
            retryable=message.retryable,
            exit_code=message.exit_code,
            result=message.result,
            inline=message.inline,
            retry_after_seconds=message.retry_after_seconds,
        )
    return parse_working_message(replica, message, key=key)


def parse_working_message(replica: ReplicaName, message: Message, *, key: str) -> Command | None:
    """The command that an attempt asks for while it works; None for a message of another kind."""
    if not isinstance(message, Progress | LockRequested | LockReleased | ChildSubmitted):
        return None
    said: dict[str, Any] = {
        "key": key,
        "agent": replica,
        "incarnation": message.incarnation,
        "task": message.task,
        "attempt": message.attempt,
    }
    match message:
        case Progress(text=text, percent=percent):
            return ReportProgress(**said, text=text, percent=percent)
        case LockRequested(request=request, name=name, shared=shared):
            return RequestLock(**said, request=request, name=name, shared=shared)
        case LockReleased(request=request, name=name):
            return ReturnLock(**said, request=request, name=name)
        case ChildSubmitted(request=request, name=name, spec=spec):
            return SubmitChild(**said, request=request, name=name, spec=spec)


def accept_result(command: FinishAttempt, copied: object) -> FinishAttempt:
    """The finish of an attempt after the look at its result: with its size, or as a failure."""
    if isinstance(copied, ResultCopied):
        return replace(command, files=copied.files, bytes=copied.bytes)
    reason = getattr(copied, "reason", "it could not be read")
    message = f"The result was refused: {reason}"
    return replace(command, outcome="Failed", reason="ResultRefused", message=message, retryable=False)
