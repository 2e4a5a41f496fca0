"""What makes decisions cheap: indexes derived from the state's members.

Owns the shape of the worklists, queues and reverse look-ups that `evolve` keeps exact, so that a decision costs what
changed and not what exists. Invariant: an index says nothing that the members do not say; it is never compared,
stored or sent, and a fold of the same log builds the same one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from watchbill_coordination.core.heaps import LazyHeap
from watchbill_coordination.core.specs import AgentName, ReplicaName, TaskUid

Route = tuple[str, str, str]  #: (agentRef, role, type) of `TaskSpec.route`


class Line(NamedTuple):
    """Where queued tasks stand in line: those of one route that any replica may take, or that one alone may take."""

    route: Route
    replica: str = ""  #: the one that they prefer for now; empty: any

    @property
    def pool(self) -> str:
        """The Agent of that one replica, or empty."""
        return self.replica.rpartition("-")[0]


class Entry(NamedTuple):
    """A queued task in a ready queue; dead when the task left the queue, got another key or another line."""

    key: float  #: smaller goes first
    seq: int  #: of its TaskQueued
    uid: TaskUid


Queues = dict[Line, LazyHeap[Entry]]


class Timer(NamedTuple):
    """Something falls due. `kind` says what, `name` and `number` whose; dead when that is no longer so."""

    at: float  #: seconds since the Unix epoch
    kind: str  #: retry | overdue | drain | level | expiry | unpark | preference
    name: str
    number: int = 0


@dataclass(slots=True)
class Index:
    """All derived look-ups of one state."""

    steps: dict[TaskUid, None] = field(default_factory=dict)  #: tasks about which something follows at once
    crowded: dict[AgentName, None] = field(default_factory=dict)  #: pools with Ready replicas that shall leave
    timers: LazyHeap[Timer] = field(default_factory=LazyHeap)
    expiries: LazyHeap[Timer] = field(default_factory=LazyHeap)  #: finished tasks whose time to live ends
    dependents: dict[str, dict[TaskUid, None]] = field(default_factory=dict)  #: bound uid → unfinished dependants
    awaited: dict[str, dict[TaskUid, None]] = field(default_factory=dict)  #: name that is not bound yet → who waits
    readers: dict[str, dict[TaskUid, None]] = field(default_factory=dict)  #: context path → unfinished tasks
    ready: dict[str, Queues] = field(default_factory=dict)  #: by `Line.pool`; none empty; each top can run
    parked: dict[str, Queues] = field(default_factory=dict)  #: lock → queued tasks it holds up
    preferring: dict[str, dict[TaskUid, None]] = field(default_factory=dict)  #: replica → queued tasks for it alone
    members: dict[AgentName, dict[ReplicaName, None]] = field(default_factory=dict)
    idle: dict[AgentName, None] = field(default_factory=dict)  #: pools that would take a task now


def add_link(links: dict[str, dict[TaskUid, None]], key: str, uid: TaskUid) -> None:
    """Remember `uid` under `key`."""
    links.setdefault(key, {})[uid] = None


def drop_link(links: dict[str, dict[TaskUid, None]], key: str, uid: TaskUid) -> None:
    """Forget `uid` under `key`, and the key with its last member."""
    members = links.get(key)
    if members is not None:
        members.pop(uid, None)
        if not members:
            del links[key]
