"""What falls due later.

Owns which timers there are and when one is still meant: a retry's delay, an attempt that its agent should have ended,
a drain that takes too long, a level that is about to change, a finished task's time to live, a parked pool, a task
that waits for the replica that had it. Invariant, kept by `evolve`: the top of the heap is alive, so the next due time
is one look. Time in which no writer ran counts for nobody: a new epoch gives agents `CATCH_UP` seconds to tell what
happened meanwhile.
"""

from __future__ import annotations

from watchbill_coordination.core import levels
from watchbill_coordination.core.follow_up import follow_up
from watchbill_coordination.core.index import Timer
from watchbill_coordination.core.specs import AgentName, ReplicaName, TaskUid
from watchbill_coordination.core.state import AgentState, Attempt, Phase, ReplicaPhase, ReplicaState, State, TaskState

OVERDUE_AFTER = 15.0  #: seconds after an attempt's deadline in which its agent may still report the end
STOP_WITHIN = 60.0  #: seconds that an agent may take to stop an attempt
CATCH_UP = 30.0  #: seconds after a new epoch in which nobody is called overdue


def retry_timer(task: TaskState) -> Timer:
    """The end of a retry's delay."""
    return Timer(task.not_before, "retry", task.uid)


def attempt_timer(state: State, replica: ReplicaState, attempt: Attempt) -> Timer:
    """The time at which a replica that still has not ended this attempt is given up."""
    at = max(attempt.deadline + OVERDUE_AFTER, state.opened_at + CATCH_UP)
    return Timer(at, "overdue", f"{replica.name} {attempt.task}", attempt.attempt)


def drain_timer(state: State, replica: ReplicaState) -> Timer:
    """The time at which a replica that still has not left is given up."""
    return Timer(max(replica.drain_deadline, state.opened_at + CATCH_UP), "drain", replica.name)


def parked_timer(agent: AgentState) -> Timer:
    """The time at which a parked pool may try its credential again."""
    return Timer(agent.parked_until, "unpark", agent.name)


def preference_timer(task: TaskState) -> Timer:
    """The time at which a task that prefers a replica goes to any."""
    return Timer(task.preferred_until, "preference", task.uid)


def push_timer(state: State, timer: Timer) -> None:
    """Add a timer. Part of `evolve`."""
    state.index.timers.push(timer, lambda other: is_due_one(state, other))


def settle_timers(state: State) -> None:
    """Drop timers that are no longer meant from the tops. Part of `evolve`."""
    state.index.timers.settle(lambda timer: is_due_one(state, timer))
    state.index.expiries.settle(lambda timer: is_due_one(state, timer))


def is_due_one(state: State, timer: Timer) -> bool:
    """Whether the timer is still meant: at its time, something follows."""
    if timer.kind in ("retry", "expiry", "preference"):
        return is_task_timer(state, timer, state.tasks.get(TaskUid(timer.name)))
    if timer.kind in ("level", "unpark"):
        agent = state.agents.get(AgentName(timer.name))
        return agent is not None and is_pool_timer(state, timer, agent)
    replica, attempt = find_attempt(state, timer)
    if replica is None or not replica.phase.is_live:
        return False
    if timer.kind == "drain":
        return replica.phase is ReplicaPhase.DRAINING and drain_timer(state, replica) == timer
    return attempt is not None and attempt_timer(state, replica, attempt) == timer


def is_pool_timer(state: State, timer: Timer, agent: AgentState) -> bool:
    """Whether a pool's change of level, or its end of being parked, is still meant."""
    if timer.kind == "unpark":
        return agent.is_parked and agent.parked_until == timer.at
    return levels.next_change(state, agent) == timer.at


def is_task_timer(state: State, timer: Timer, task: TaskState | None) -> bool:
    """Whether a task's retry, expiry or preference is still meant."""
    if task is None:
        return False
    if timer.kind == "expiry":
        return task.phase.is_terminal
    if timer.kind == "preference":
        return task.preferred is not None and task.preferred_until == timer.at
    return task.phase is Phase.PENDING and bool(follow_up(state, task, timer.at))


def find_attempt(state: State, timer: Timer) -> tuple[ReplicaState | None, Attempt | None]:
    """The replica, and for an overdue timer the attempt, that a timer is about."""
    name, _, uid = timer.name.partition(" ")
    replica = state.replicas.get(ReplicaName(name))
    return replica, replica.attempts.get(TaskUid(uid)) if replica is not None else None


def begin_epoch(state: State) -> None:
    """Give everybody time after a change of writer: what is timed by `opened_at` is timed anew. Part of `evolve`."""
    for replica in state.replicas.values():
        if replica.phase is ReplicaPhase.DRAINING:
            push_timer(state, drain_timer(state, replica))
        for attempt in replica.attempts.values():
            push_timer(state, attempt_timer(state, replica, attempt))
    for agent in state.agents.values():
        switch = levels.next_change(state, agent)
        if switch is not None:
            push_timer(state, Timer(switch, "level", agent.name))
