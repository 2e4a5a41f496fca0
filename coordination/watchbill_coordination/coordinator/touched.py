"""Whom events concern: what has to be looked at again once they are durable.

Owns the rule from events and state to the names of tasks, agents and replicas. Pure. Generous: naming one too many
costs a comparison, naming one too few would leave an object stale until the next full reconcile.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from watchbill_coordination.core.events import (
    AgentDeclared,
    AgentRemoved,
    DependencyBound,
    Event,
    LevelChanged,
    TaskCancelled,
    TaskDeleted,
    TaskDispatched,
    TaskFailed,
    TaskHeld,
    TaskQueued,
    TaskSucceeded,
)
from watchbill_coordination.core.specs import AgentName, ReplicaName, TaskUid
from watchbill_coordination.core.state import State
from watchbill_coordination.core.working_events import AgentParked, AgentUnparked

_ABOUT_POOLS = (AgentDeclared, AgentRemoved, LevelChanged, AgentParked, AgentUnparked)
_FOLLOW_FROM_DEPENDENCIES = (TaskQueued, TaskFailed, TaskHeld)
_ENDS = (TaskSucceeded, TaskFailed, TaskCancelled, TaskDeleted)


@dataclass(slots=True)
class Touched:
    """Names that a batch of events concerns."""

    tasks: set[TaskUid] = field(default_factory=set)
    agents: set[AgentName] = field(default_factory=set)
    replicas: set[ReplicaName] = field(default_factory=set)

    def add(self, event: Event, state: State) -> None:
        """Note whom `event` concerns in `state`; called before and after the step, since a task may change hands."""
        if isinstance(event, _ABOUT_POOLS):
            self.agents.add(event.agent)
        else:
            self._add_replica(getattr(event, "agent", None), state)
        uid = getattr(event, "task", None)
        if uid is not None:
            self.tasks.add(uid)
            task = state.tasks.get(uid)
            self._add_replica(None if task is None else task.agent, state)
            if task is not None and task.parent and isinstance(event, _ENDS):
                parent = state.tasks.get(TaskUid(task.parent))  # an attempt of it may wait to hear of this end
                self._add_replica(None if parent is None else parent.agent, state)

    def _add_replica(self, name: ReplicaName | None, state: State) -> None:
        if name is None:
            return
        self.replicas.add(name)
        replica = state.replicas.get(name)
        if replica is not None:
            self.agents.add(replica.agent)


def find_cause(event: Event, state: State) -> int:
    """Return the seq of the event that made this one due: the newest of those that it follows from, 0 if unknown.

    `state` is the one before the event. A task is queued or failed by its own past or that of a dependency, and
    dispatched by its own or by the slot that became free.
    """
    uid = getattr(event, "task", None)
    task = None if uid is None else state.tasks.get(uid)
    replica = state.replicas.get(getattr(event, "agent", ReplicaName("")))
    agent = state.agents.get(getattr(event, "agent", AgentName("")))
    causes = [known.last_seq for known in (task, replica, agent) if known is not None]
    if isinstance(event, DependencyBound):
        causes.append(_last_seq(state, event.uid))
    elif task is not None and isinstance(event, _FOLLOW_FROM_DEPENDENCIES):
        causes += [_last_seq(state, dependency) for dependency in task.bound.values()]
    elif isinstance(event, TaskDispatched) and replica is not None and replica.agent in state.agents:
        causes.append(state.agents[replica.agent].last_seq)
    return max(causes, default=0)


def _last_seq(state: State, uid: TaskUid) -> int:
    task = state.tasks.get(uid)
    return 0 if task is None else task.last_seq
