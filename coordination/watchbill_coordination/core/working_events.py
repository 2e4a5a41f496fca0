"""Facts about attempts while they work: what they ask for, what they use, and why they are given back.

Owns the part of the log's vocabulary that agents with a model bring. Invariant: as in `events`, a class here is a
format on disk; fields are only ever added, with a default. What an agent wrote stands here only within bounds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from watchbill_coordination.core.events import Event
from watchbill_coordination.core.specs import AgentName, ReplicaName, TaskUid


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentParked(Event):
    """The credential of this Agent is of no use for a while: it gets no task before that time."""

    agent: AgentName
    reason: str  #: RateLimited | Overloaded | AuthenticationFailed | BillingProblem | …
    message: str
    until: float  #: seconds since the Unix epoch


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentUnparked(Event):
    """That time is over: the Agent gets tasks again."""

    agent: AgentName


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptGivenBack(Event):
    """The agent could not go on for a reason that is not the task's: it waits again, and no retry is spent."""

    task: TaskUid
    agent: ReplicaName
    attempt: int
    reason: str  #: RateLimited | Overloaded | AuthenticationFailed | …
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PreferenceEnded(Event):
    """The task waited long enough for the replica that had its last attempt: any other may take it now."""

    task: TaskUid


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageReported(Event):
    """What the attempt has used of its model in all; a later report of the same attempt replaces it."""

    task: TaskUid
    agent: ReplicaName
    attempt: int
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    cost_usd: float = 0.0
    requests: int = 0
    turns: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgressReported(Event):
    """The attempt said how far it is."""

    task: TaskUid
    agent: ReplicaName
    attempt: int
    text: str
    percent: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LockGranted(Event):
    """The attempt asked for a lock while it worked, and holds it until it gives it back or ends."""

    task: TaskUid
    agent: ReplicaName
    attempt: int
    request: int
    name: str
    shared: bool
    token: int  #: fencing token


@dataclass(frozen=True, slots=True, kw_only=True)
class LockDenied(Event):
    """The attempt asked for a lock that it cannot have now."""

    task: TaskUid
    agent: ReplicaName
    attempt: int
    request: int
    name: str
    message: str  #: who holds it


@dataclass(frozen=True, slots=True, kw_only=True)
class LockReturned(Event):
    """The attempt gave a lock back that it had asked for."""

    task: TaskUid
    agent: ReplicaName
    attempt: int
    request: int
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LockReturnRefused(Event):
    """The attempt wanted to give back a lock that it does not hold, or that is its Task's own."""

    task: TaskUid
    agent: ReplicaName
    attempt: int
    request: int
    name: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildRequested(Event):
    """The attempt asked for a Task of its own making, which is to be created with this name."""

    task: TaskUid  #: the parent
    agent: ReplicaName
    attempt: int
    request: int
    name: str  #: of the new Task
    spec: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildCreated(Event):
    """The API server has the Task that was asked for."""

    task: TaskUid  #: the parent
    name: str
    uid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildRefused(Event):
    """A Task that an attempt asked for is not made. `name` is empty where not even a name was chosen."""

    task: TaskUid  #: the parent
    agent: ReplicaName
    attempt: int
    request: int
    name: str
    message: str
