"""Facts that happened: events of the log, of agents and of tasks, and the envelope that the log puts around one.

Owns the vocabulary of the log but for what happens while an attempt works (`working_events`). Invariant: a class here
is a format on disk; fields are only ever added, with a default. In a record, `task` and `agent` are members of their
own and every other field lies in `data`; `agent` is an Agent's name in events about pools and a replica's name
(`<agent>-<n>`) in events about its members.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from watchbill_coordination.core.specs import AgentName, ReplicaName, TaskUid


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A fact. Subclasses name it in the past tense; the class name is the record's `type`."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """An event with its place in the log."""

    event: Event
    seq: int  #: from 1, no gaps
    ts: int  #: microseconds since the Unix epoch, never decreasing; information, not order
    ep: int  #: epoch of the writer
    key: str = ""  #: idempotency key of the message that caused it
    cause: int = 0  #: seq of the causing event; 0: caused from outside

    @property
    def at(self) -> float:
        """Seconds since the Unix epoch."""
        return self.ts / 1e6


# The log itself. The state keeps only their place.


@dataclass(frozen=True, slots=True, kw_only=True)
class LogOpened(Event):
    """The first record of a log."""

    log_id: str  #: 128 random bits, hex


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentOpened(Event):
    """The first record of every later segment: it seals its predecessor at the length that was verified."""

    previous: str  #: file name of the predecessor, as sealed
    previous_bytes: int  #: what lies beyond was never acknowledged and is not read
    previous_sha256: str  #: of those bytes
    holder: str = ""  #: who claimed the epoch, for people


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSealed(Event):
    """The last record of a segment that was closed cleanly."""

    first: int
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LogTruncated(Event):
    """A torn tail was put aside at recovery."""

    file: str
    offset: int
    length: int  #: bytes
    sha256: str


# Agents and their replicas.


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentDeclared(Event):
    """An Agent was created or the decisive part of its spec changed."""

    agent: AgentName
    uid: str
    generation: int
    spec: Mapping[str, Any]  #: role, replicas, tasksPerReplica, taskTypes, suspend, drainSeconds, runner, budget


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentRemoved(Event):
    """The Agent object is gone; its replicas are drained and removed."""

    agent: AgentName
    uid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaRegistered(Event):
    """An agent process said that it is there. A new incarnation ends all that the former one did."""

    agent: ReplicaName
    incarnation: str  #: `<pod uid>/<start>`; the start is a number that grows
    slots: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaDraining(Event):
    """The replica gets no more tasks and leaves when its running ones have ended."""

    agent: ReplicaName
    reason: str  #: ScaledDown | AgentRemoved | Outdated
    deadline: float  #: seconds since the Unix epoch


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaReleased(Event):
    """The agent process stopped cleanly and holds nothing."""

    agent: ReplicaName
    incarnation: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaLost(Event):
    """The pod is gone, its container restarted, or its heartbeat stopped. `AttemptLost` events follow."""

    agent: ReplicaName
    incarnation: str
    reason: str  #: PodGone | ContainerRestarted | HeartbeatStale | Unresponsive
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelChanged(Event):
    """The degradation level of an Agent's tasks changed."""

    agent: AgentName
    level: str  #: Normal | Constrained | Degraded | Critical
    previous: str
    message: str


# Shared context.


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextPublished(Event):
    """A file or folder can be read below shared-context/."""

    path: str
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextWithdrawn(Event):
    """The file or folder is no longer offered."""

    path: str


# Tasks.


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSubmitted(Event):
    """A Task object was seen for the first time."""

    task: TaskUid
    name: str
    spec: Mapping[str, Any]  #: the API form, defaults filled in
    generation: int = 1
    parent: str = ""  #: uid of the Task whose attempt asked for it; empty: a user's
    depth: int = 0  #: of the parent plus one; 0 for a user's


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskAmended(Event):
    """A field that may change did."""

    task: TaskUid
    priority: int
    suspend: bool
    generation: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskCancelRequested(Event):
    """The user asked for its end while an attempt runs; the attempt is being stopped."""

    task: TaskUid


@dataclass(frozen=True, slots=True, kw_only=True)
class DependencyBound(Event):
    """The name in `dependsOn` means this Task from now on, even after its deletion."""

    task: TaskUid
    name: str
    uid: TaskUid


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskQueued(Event):
    """Ready: waits for a slot, a lock or a level only."""

    task: TaskUid


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskHeld(Event):
    """No longer ready, for example suspended again."""

    task: TaskUid
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskDispatched(Event):
    """An attempt begins: agent, locks and fencing tokens are given."""

    task: TaskUid
    agent: ReplicaName
    attempt: int
    incarnation: str
    locks: Mapping[str, int] = field(default_factory=dict)  #: name → fencing token


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskStarted(Event):
    """The agent said that the attempt runs."""

    task: TaskUid
    agent: ReplicaName
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptFailed(Event):
    """The attempt ended without success."""

    task: TaskUid
    agent: ReplicaName
    attempt: int
    reason: str  #: CamelCase: NonZeroExit, Signalled, DeadlineExceeded, ProgramNotFound, ResultRefused …
    message: str
    retryable: bool
    exit_code: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptLost(Event):
    """The attempt's agent is gone. The task is queued again at once, age and priority kept."""

    task: TaskUid
    agent: ReplicaName
    attempt: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptAbandoned(Event):
    """The agent confirmed the end of an attempt whose task is deleted: its slot is free."""

    task: TaskUid
    agent: ReplicaName
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRetryScheduled(Event):
    """Another attempt follows, not before that time."""

    task: TaskUid
    not_before: float  #: seconds since the Unix epoch


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSucceeded(Event):
    """The current attempt's result was accepted; its files lie in shared-context/results/<task>/."""

    task: TaskUid
    agent: ReplicaName
    attempt: int
    result: str = ""  #: the first part of the output, at most 4,096 characters
    files: int = 0
    bytes: int = 0
    exit_code: int = 0
    inline: bool = False  #: the one file is `stdout` and holds `result`, so it can be made again from here


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFailed(Event):
    """No further attempt follows."""

    task: TaskUid
    reason: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskCancelled(Event):
    """Ended by its user's wish."""

    task: TaskUid
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskDeleted(Event):
    """The Task object is gone. A running attempt is being stopped and keeps its slot until then."""

    task: TaskUid


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultRefused(Event):
    """A late or foreign result: uid, attempt or incarnation is not the current one."""

    task: TaskUid
    agent: ReplicaName
    attempt: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageRejected(Event):
    """A malformed message was put into quarantine."""

    agent: ReplicaName
    file: str
    reason: str
