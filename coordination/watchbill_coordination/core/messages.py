"""What operator and agents tell each other, as values.

Owns the vocabulary of the mailboxes; `codec.messages` turns it into bytes, `storage.mailbox` into files. Delivery is
at least once, so each message can be handled twice: its identity is the file's name, its effect is keyed by task uid,
attempt and incarnation. What an agent says is hostile input; the directory that it lies in says who sent it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from watchbill_coordination.core.specs import TaskUid


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """Anything in a mailbox. The class name, with dashes and in lower case, is its `kind` on disk."""


# Operator → agent.


@dataclass(frozen=True, slots=True, kw_only=True)
class Assign(Message):
    """Run this attempt. A second `assign` of the same task and attempt is ignored."""

    task: TaskUid
    attempt: int
    name: str  #: of the Task, for people
    incarnation: str  #: whom it is meant for; another one ignores it
    timeout_seconds: float
    prompt: str = ""
    command: Mapping[str, Any] = field(default_factory=dict)  #: args | shell, stdin, env, as in Task.spec.command
    context: tuple[str, ...] = ()  #: paths below shared-context
    dependencies: Mapping[str, str] = field(default_factory=dict)  #: name → uid; results lie in results/<uid>/
    locks: Mapping[str, int] = field(default_factory=dict)  #: name → fencing token
    work: str = ""  #: working directory below work/: `<uid>/attempt-<k>`


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancel(Message):
    """Stop this attempt (SIGTERM, grace, SIGKILL) and answer with `finished`, outcome Cancelled."""

    task: TaskUid
    attempt: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ack(Message):
    """These outbox files are committed; the agent deletes them."""

    names: tuple[str, ...]
    seq: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Cleanup(Message):
    """What lies below work/ for these tasks is no longer needed."""

    tasks: tuple[TaskUid, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Drain(Message):
    """Take nothing new; when all has ended, say `released` and exit."""

    deadline_seconds: float


# Agent → operator.


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered(Message):
    """This incarnation is ready for tasks."""

    incarnation: str
    slots: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted(Message):
    """The attempt runs."""

    incarnation: str
    task: TaskUid
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished(Message):
    """The attempt ended; nothing of it runs any more. The result lies in work/<uid>/attempt-<k>/result/."""

    incarnation: str
    task: TaskUid
    attempt: int
    outcome: str  #: Succeeded | Failed | Cancelled
    reason: str = ""
    message: str = ""
    retryable: bool = True
    exit_code: int | None = None
    result: str = ""  #: the first part of the output, at most 4,096 characters
    inline: bool = False  #: the result folder holds `stdout` alone, and that exactly `result`


@dataclass(frozen=True, slots=True, kw_only=True)
class Released(Message):
    """The agent process stops and holds nothing."""

    incarnation: str


MESSAGE_TYPES: Mapping[str, type[Message]] = {cls.__name__.lower(): cls for cls in Message.__subclasses__()}
