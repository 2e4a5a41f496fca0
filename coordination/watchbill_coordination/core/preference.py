"""Which replica a task waits for after an attempt that ended there.

Owns `retryPolicy.preferSameAgentSeconds`: a task that is queued again is for the replica that had its last attempt,
whose workspace and session it can go on with, until that time is over. Counted from the first queueing after the
attempt, so suspending and resuming the task does not begin it anew. A replica that will never come back is not waited
for: one of a pool that is gone, is suspended, takes the task no more, or is smaller now. Pure.
"""

from __future__ import annotations

from watchbill_coordination.core.specs import ReplicaName
from watchbill_coordination.core.state import State, TaskState


def plan_preference(state: State, task: TaskState, at: float) -> tuple[ReplicaName | None, float]:
    """Whom a task that is queued at `at` waits for, and the end of that wait (0: there is none)."""
    seconds = task.spec.retry.prefer_same_agent_seconds
    if task.agent is None or seconds <= 0:
        return None, 0.0
    until = task.preferred_until or at + seconds
    return (task.agent if at < until and can_return(state, task, task.agent) else None), until


def can_return(state: State, task: TaskState, name: ReplicaName) -> bool:
    """Whether that replica is, or will be again, one that may take the task."""
    replica = state.replicas.get(name)
    pool = state.agents.get(replica.agent) if replica is not None else None
    if replica is None or pool is None or pool.removed or pool.spec.suspend:
        return False
    return replica.ordinal < pool.spec.wanted and pool.spec.takes(pool.name, task.spec.route)
