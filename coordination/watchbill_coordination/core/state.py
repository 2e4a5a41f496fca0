"""What is so: the state that the fold over the log yields.

Owns the shape of state; `evolve` is the only code that changes it. Invariant: it is a function of the log alone,
so two folds of the same log are equal. Members are frozen values; the `State` around them is owned by one fold,
which replaces members in place. Indexes (ready queues, counters) are derived and never compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from watchbill_coordination.core.index import Index
from watchbill_coordination.core.requests import SILENT, Child, ChildOrder, Requests, TaskProgress
from watchbill_coordination.core.specs import AgentName, AgentSpec, ReplicaName, TaskSpec, TaskUid
from watchbill_coordination.core.usage import Usage


class Phase(StrEnum):
    """Where a task stands. Pending: not ready. Queued: ready, waits for a slot, a lock or a level."""

    PENDING = "Pending"
    QUEUED = "Queued"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    CANCELLED = "Cancelled"

    @property
    def is_terminal(self) -> bool:
        """Whether nothing follows."""
        return self in (Phase.SUCCEEDED, Phase.FAILED, Phase.CANCELLED)


class ReplicaPhase(StrEnum):
    """Where a replica stands. Only Ready ones are given tasks."""

    READY = "Ready"
    DRAINING = "Draining"
    RELEASED = "Released"
    LOST = "Lost"

    @property
    def is_live(self) -> bool:
        """Whether its process is there, as far as the log knows."""
        return self in (ReplicaPhase.READY, ReplicaPhase.DRAINING)


class Level(StrEnum):
    """Degradation, worst last."""

    NORMAL = "Normal"
    CONSTRAINED = "Constrained"
    DEGRADED = "Degraded"
    CRITICAL = "Critical"


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskState:
    """One Task. Times are seconds since the Unix epoch, taken from the records."""

    uid: TaskUid
    name: str
    spec: TaskSpec
    phase: Phase
    generation: int
    submitted_at: float
    priority: int
    suspended: bool
    cancel_requested: bool = False
    bound: Mapping[str, TaskUid] = field(default_factory=dict)  #: dependency's name → uid
    first_queued: float | None = None  #: kept over retries and reassignment
    queued_seq: int = 0  #: seq of the newest TaskQueued: the ready queue's generation
    not_before: float = 0.0  #: a retry waits until then
    attempt: int = 0  #: attempts begun; the fencing token of a result
    retries: int = 0  #: attempts that failed and were followed by another
    losses: int = 0  #: attempts lost with their agents
    agent: ReplicaName | None = None  #: of the current attempt, or of the last one
    ran_on: Mapping[int, ReplicaName] = field(default_factory=dict)  #: attempt → who had it, the current one as well
    incarnation: str = ""
    started_at: float | None = None  #: of the current attempt, or of the last one
    accepted: bool = False  #: the agent said that it runs
    finished_at: float | None = None
    reason: str = ""  #: CamelCase, of the last transition
    message: str = ""
    result: str = ""
    exit_code: int | None = None
    locks: Mapping[str, int] = field(default_factory=dict)  #: held now: name → fencing token
    give_backs: int = 0  #: attempts that their agents gave back for a reason that was not the task's
    preferred: ReplicaName | None = None  #: queued: nobody else may take it for now
    preferred_until: float = 0.0  #: end of that wait, be it over or not; 0: none since the last attempt
    usage: Mapping[int, Usage] = field(default_factory=dict)  #: attempt → what it used of its model
    history: tuple[str, ...] = ()  #: how the newest attempts ended, a sentence each, oldest first
    parent: str = ""  #: uid of the Task whose attempt asked for it; empty: a user's
    depth: int = 0  #: 0 for a user's Task, of the parent plus one otherwise
    progress: TaskProgress | None = None  #: what the newest attempt said of it
    children: Mapping[str, Child] = field(default_factory=dict)  #: Tasks that its attempts submitted, by name
    changed_at: float = 0.0  #: of the last change of phase
    last_seq: int = 0  #: seq of the newest record about this task
    epoch: int = 0  #: ep of that record


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """A slot in use."""

    task: TaskUid
    attempt: int
    dispatched_seq: int
    deadline: float  #: seconds since the Unix epoch
    stopping: bool = False  #: its task was cancelled or deleted; the slot is free when the agent confirms
    stopping_seq: int = 0
    locks: tuple[str, ...] = ()  #: held until the slot is free, even when the task is deleted
    requests: Requests = SILENT  #: what it asked for while it works


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaState:
    """One member of a pool, as far as the log knows it."""

    name: ReplicaName
    agent: AgentName
    phase: ReplicaPhase
    incarnation: str
    slots: int
    ordinal: int = 0  #: the `<n>` of its name
    attempts: Mapping[TaskUid, Attempt] = field(default_factory=dict)
    drain_deadline: float = 0.0
    drained_at: float = 0.0  #: when it was told to leave
    drain_seq: int = 0
    registered_at: float = 0.0
    changed_at: float = 0.0  #: of the last change of phase
    last_seq: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentState:
    """One pool."""

    name: AgentName
    uid: str
    generation: int
    spec: AgentSpec
    removed: bool = False  #: the object is gone, replicas are leaving
    level: Level = Level.NORMAL
    level_message: str = ""
    level_since: float = 0.0  #: of the last change of level
    declared_at: float = 0.0  #: when it was created or last asked for more replicas
    signal: Level = Level.NORMAL  #: what ready against wanted says at this moment, without hysteresis
    crossed: tuple[float, float, float] = (0.0, 0.0, 0.0)  #: when the signal last crossed each threshold
    parked_until: float = 0.0  #: its credential is of no use before; 0: it gets tasks
    parked_reason: str = ""
    parked_message: str = ""
    parking_changed_at: float = 0.0  #: when it was last parked or unparked
    last_seq: int = 0
    epoch: int = 0

    @property
    def is_parked(self) -> bool:
        """Whether it gets no tasks because of its credential."""
        return self.parked_until > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LockState:
    """Who holds a named resource: the attempts of tasks, each with its fencing token."""

    name: str
    shared: bool
    holders: Mapping[TaskUid, int]


@dataclass(slots=True)
class State:
    """All of it, at `seq`."""

    log_id: str = ""
    seq: int = 0
    epoch: int = 0
    ts: int = 0  #: microseconds, of the newest record
    agents: dict[AgentName, AgentState] = field(default_factory=dict)
    replicas: dict[ReplicaName, ReplicaState] = field(default_factory=dict)
    tasks: dict[TaskUid, TaskState] = field(default_factory=dict)
    names: dict[str, TaskUid] = field(default_factory=dict)  #: name → uid of the newest Task of that name
    locks: dict[str, LockState] = field(default_factory=dict)
    children: dict[str, ChildOrder] = field(default_factory=dict)  #: by name: Tasks to be created for attempts
    context: dict[str, str] = field(default_factory=dict)  #: path below shared-context → digest
    outcomes: dict[TaskUid, Phase] = field(default_factory=dict)  #: of deleted Tasks that others are bound to
    tokens: int = 0  #: fencing tokens given so far
    opened_at: float = 0.0  #: when the writer of this epoch began; what elapsed without a writer is nobody's fault
    settled: dict[str, None] = field(default_factory=dict)  #: the newest messages that are answered for good
    deleted: dict[str, None] = field(default_factory=dict)  #: the newest uids of objects that are gone
    ended: dict[str, None] = field(default_factory=dict)  #: the newest incarnations that were lost or released
    index: Index = field(default_factory=Index, compare=False, repr=False)
