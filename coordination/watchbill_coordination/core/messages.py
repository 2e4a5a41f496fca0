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
    task_type: str = ""  #: of the Task; empty when it names none
    output_schema: Mapping[str, Any] = field(default_factory=dict)  #: JSON schema of the result; empty: any text
    budget_usd: float | None = None  #: what this attempt may still spend on the model; None: no limit
    history: tuple[str, ...] = ()  #: what is known of earlier attempts, a sentence each, oldest first
    depth: int = 0  #: 0 for a user's Task, 1 for one that an agent submitted, …
    children: Mapping[str, str] = field(default_factory=dict)  #: submitted by earlier attempts: name → uid
    had_previous: bool = False  #: whom it is meant for had the attempt directly before as well


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
class Answer(Message):
    """What became of a numbered request of an attempt. The same number always gets the same answer."""

    task: TaskUid
    attempt: int
    request: int
    granted: bool
    text: str = ""  #: for the model: why, and what it can do
    name: str = ""  #: of the lock, or of the Task that was made
    uid: str = ""  #: of the Task that was made
    token: int = 0  #: fencing token of the lock


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildEnded(Message):
    """A Task that this attempt submitted has ended; one that Succeeded has its result in results/<uid>/."""

    task: TaskUid  #: the parent
    attempt: int
    name: str
    uid: str
    phase: str  #: Succeeded | Failed | Cancelled | Deleted
    text: str = ""


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
    outcome: str  #: Succeeded | Failed | Cancelled | GivenBack
    reason: str = ""
    message: str = ""
    retryable: bool = True
    exit_code: int | None = None
    result: str = ""  #: the first part of the output, at most 4,096 characters
    inline: bool = False  #: the result folder holds `stdout` alone, and that exactly `result`
    retry_after_seconds: float = 0.0  #: GivenBack: nobody with this credential need try sooner
    turns: int = 0  #: of the model
    seconds: float = 0.0  #: that the model session took
    usage: Mapping[str, float] = field(default_factory=dict)  #: by a ledger's names, where no broker keeps a ledger


@dataclass(frozen=True, slots=True, kw_only=True)
class Released(Message):
    """The agent process stops and holds nothing."""

    incarnation: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress(Message):
    """How far the attempt is, in its own words."""

    incarnation: str
    task: TaskUid
    attempt: int
    text: str  #: at most 512 characters
    percent: int | None = None  #: 0 to 100


@dataclass(frozen=True, slots=True, kw_only=True)
class LockRequested(Message):
    """The attempt asks for a lock; `Answer` says whether it has it, at once."""

    incarnation: str
    task: TaskUid
    attempt: int
    request: int  #: from 1, grows with each request of the attempt
    name: str
    shared: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LockReleased(Message):
    """The attempt gives back a lock that it asked for while it worked."""

    incarnation: str
    task: TaskUid
    attempt: int
    request: int
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildSubmitted(Message):
    """The attempt asks for a Task of its own making; `Answer` names it."""

    incarnation: str
    task: TaskUid
    attempt: int
    request: int
    name: str  #: a wish; the Task's name begins with it
    spec: Mapping[str, Any]  #: prompt, type | role | agentRef, priority, timeoutSeconds, context, dependsOn


MESSAGE_TYPES: Mapping[str, type[Message]] = {cls.__name__.lower(): cls for cls in Message.__subclasses__()}
