"""The one way in which members of the state are replaced, so that no index is ever forgotten.

Owns every write to tasks, replicas and agents: each `put_` compares before with after and keeps queues, worklists,
reverse look-ups and timers exact. Part of `evolve`; called by its handlers only.
"""

from __future__ import annotations

from typing import Any

from watchbill_coordination.core import children, levels, locks, scheduling
from watchbill_coordination.core.copying import change
from watchbill_coordination.core.events import Recorded
from watchbill_coordination.core.follow_up import follow_up
from watchbill_coordination.core.index import Timer, add_link, drop_link
from watchbill_coordination.core.preference import can_return
from watchbill_coordination.core.specs import AgentName, ReplicaName, TaskUid
from watchbill_coordination.core.state import AgentState, Phase, ReplicaPhase, ReplicaState, State, TaskState
from watchbill_coordination.core.timers import (
    attempt_timer,
    drain_timer,
    is_due_one,
    parked_timer,
    preference_timer,
    push_timer,
    retry_timer,
)

REMEMBERED = 4096  #: answered messages and ended incarnations that are kept in mind, newest last


def put_task(state: State, task: TaskState, recorded: Recorded, **changes: Any) -> None:
    """Set a task, with fields of a known one changed, and follow up what that means for all that wait for it."""
    before = state.tasks.get(task.uid)
    is_same = before is not None and before.phase is changes.get("phase", task.phase)
    changed_at = task.changed_at if is_same else recorded.at
    task = change(task, last_seq=recorded.seq, epoch=recorded.ep, changed_at=changed_at, **changes)
    if task.preferred is not None and task.phase is not Phase.QUEUED:
        task = change(task, preferred=None)
    state.tasks[task.uid] = task
    if before is None:
        link_task(state, task)
    update_queue(state, before, task)
    if task.phase.is_terminal and (before is None or not before.phase.is_terminal):
        unlink_task(state, task)
        refresh_dependents(state, task.uid, recorded.at)
        push_expiry(state, task)
        children.note_child_end(state, task, task.phase, recorded.seq)
    refresh_task(state, task.uid, recorded.at)


def drop_task(state: State, task: TaskState, recorded: Recorded) -> None:
    """Forget a task whose object is gone; remember its end while somebody depends on it."""
    del state.tasks[task.uid]
    if state.names.get(task.name) == task.uid:
        del state.names[task.name]
    state.index.steps.pop(task.uid, None)
    children.drop_orders(state, task.uid)
    if not task.phase.is_terminal:
        unlink_task(state, task)
        children.note_child_end(state, task, children.DELETED, recorded.seq)
    if task.phase is Phase.QUEUED:
        scheduling.leave_queue(state, task)
        note_preference(state, task, None)
    if task.uid in state.index.dependents:
        state.outcomes[task.uid] = task.phase
        refresh_dependents(state, task.uid, recorded.at)


def update_queue(state: State, before: TaskState | None, task: TaskState) -> None:
    """Move a task between the queues when its phase, its key or its line changed."""
    was = before if before is not None and before.phase is Phase.QUEUED else None
    now = task if task.phase is Phase.QUEUED else None
    if was is not None and now is not None and scheduling.build_place(was) == scheduling.build_place(now):
        return
    note_preference(state, was, now)
    if was is not None:
        scheduling.leave_queue(state, was)
    if now is not None:
        scheduling.enqueue(state, now)


def note_preference(state: State, was: TaskState | None, now: TaskState | None) -> None:
    """Keep the look-up of those that prefer a replica, and note when a new preference ends."""
    if was is not None and was.preferred is not None:
        drop_link(state.index.preferring, was.preferred, was.uid)
    if now is not None and now.preferred is not None:
        add_link(state.index.preferring, now.preferred, now.uid)
        push_timer(state, preference_timer(now))


def end_preferences(state: State, replica: ReplicaName) -> None:
    """Of those that prefer that replica, let all go elsewhere that it will never take."""
    for uid in tuple(state.index.preferring.get(replica, ())):
        task = state.tasks[uid]
        if not can_return(state, task, replica):
            freed = state.tasks[uid] = change(task, preferred=None)
            update_queue(state, task, freed)


def link_task(state: State, task: TaskState) -> None:
    """Note whom a new task waits for."""
    state.names[task.name] = task.uid
    for name in task.spec.depends_on:
        add_link(state.index.awaited, name, task.uid)
    for path in task.spec.context:
        add_link(state.index.readers, path, task.uid)


def unlink_task(state: State, task: TaskState) -> None:
    """A task waits for nobody any more; forget the end of deleted tasks that only it was bound to."""
    for name in task.spec.depends_on:
        drop_link(state.index.awaited, name, task.uid)
    for path in task.spec.context:
        drop_link(state.index.readers, path, task.uid)
    for uid in task.bound.values():
        drop_link(state.index.dependents, uid, task.uid)
        if uid not in state.index.dependents:
            state.outcomes.pop(uid, None)


def refresh_task(state: State, uid: TaskUid, at: float) -> None:
    """Keep the worklist exact: is there something that follows about this task at once, or later?"""
    task = state.tasks.get(uid)
    if task is not None and follow_up(state, task, at):
        state.index.steps[uid] = None
        return
    state.index.steps.pop(uid, None)
    if task is not None and task.phase is Phase.PENDING and task.not_before > at:
        push_timer(state, retry_timer(task))


def refresh_dependents(state: State, uid: TaskUid, at: float) -> None:
    """A task ended or is gone: look again at those that are bound to it."""
    for dependant in tuple(state.index.dependents.get(uid, ())):
        refresh_task(state, dependant, at)


def push_expiry(state: State, task: TaskState) -> None:
    """Note when the object of a finished task shall be deleted."""
    ttl, finished = task.spec.ttl_seconds_after_finished, task.finished_at
    if ttl is None or finished is None:
        return
    timer = Timer(finished + ttl, "expiry", task.uid)
    state.index.expiries.push(timer, lambda other: is_due_one(state, other))


def put_replica(state: State, replica: ReplicaState, recorded: Recorded, **changes: Any) -> None:
    """Set a replica, with fields changed; its pool's counts follow."""
    before = state.replicas.get(replica.name)
    was = None if before is None else (before.incarnation, before.phase)
    is_same = was == (replica.incarnation, changes.get("phase", replica.phase))
    changed_at = replica.changed_at if is_same else recorded.at
    replica = change(replica, last_seq=recorded.seq, changed_at=changed_at, **changes)
    state.replicas[replica.name] = replica
    state.index.members.setdefault(replica.agent, {})[replica.name] = None
    if before is not None and not replica.phase.is_live and before.phase.is_live:
        remember(state.ended, before.incarnation)
    push_replica_timers(state, before, replica)
    pool = state.agents.get(replica.agent)
    if pool is not None and not is_same_for_pool(before, replica):
        put_agent(state, pool, recorded)


def is_same_for_pool(before: ReplicaState | None, replica: ReplicaState) -> bool:
    """Whether nothing changed that a pool's counts, level or free slots depend on."""
    return (
        before is not None
        and before.phase is replica.phase
        and before.slots == replica.slots
        and len(before.attempts) == len(replica.attempts)
    )


def push_replica_timers(state: State, before: ReplicaState | None, replica: ReplicaState) -> None:
    """Note when a new or changed attempt is overdue, and when a drain ends."""
    for uid, attempt in replica.attempts.items():
        known = None if before is None else before.attempts.get(uid)
        if known is None or (known.attempt, known.deadline) != (attempt.attempt, attempt.deadline):
            push_timer(state, attempt_timer(state, replica, attempt))
    if replica.phase is ReplicaPhase.DRAINING and (before is None or before.phase is not ReplicaPhase.DRAINING):
        push_timer(state, drain_timer(state, replica))


def put_agent(state: State, agent: AgentState, recorded: Recorded, **changes: Any) -> None:
    """Set a pool, with fields changed: who is idle, who must leave, what its level becomes and when."""
    before = state.agents.get(agent.name)
    agent = change(agent, last_seq=recorded.seq, epoch=recorded.ep, **changes)
    members = scheduling.list_members(state, agent.name)
    if agent.removed and not any(replica.phase.is_live for replica in members):
        drop_agent(state, agent.name)
        return
    wanted = 0 if agent.removed else agent.spec.wanted
    ready = [replica for replica in members if replica.phase is ReplicaPhase.READY]
    agent = levels.note_signal(agent, levels.read_signal(len(ready), wanted), recorded.at)
    state.agents[agent.name] = agent
    mark(state.index.idle, agent.name, wanted=any(scheduling.free_slots(agent, replica) > 0 for replica in ready))
    mark(state.index.crowded, agent.name, wanted=any(replica.ordinal >= wanted for replica in ready))
    switch = levels.next_change(state, agent)
    if switch is not None and (before is None or levels.next_change(state, before) != switch):
        push_timer(state, Timer(switch, "level", agent.name))
    if before is not None:
        update_waiters(state, before, agent)


def update_waiters(state: State, before: AgentState, agent: AgentState) -> None:
    """A pool's spec changed, or its being parked: look again at those that wait for one of its own."""
    if (before.spec, before.removed) != (agent.spec, agent.removed):
        for name in state.index.members.get(agent.name, {}):
            end_preferences(state, name)
    if before.parked_until == agent.parked_until:
        return
    if agent.is_parked:
        push_timer(state, parked_timer(agent))
    if agent.is_parked is not before.is_parked:
        scheduling.wake(state, tuple(state.index.parked))  # whether it claims a lock that it waits for
        scheduling.settle_ready(state)


def drop_agent(state: State, name: AgentName) -> None:
    """Forget a removed pool with its last replica."""
    members = state.index.members.pop(name, {})
    for replica in members:
        del state.replicas[replica]
    state.agents.pop(name, None)
    state.index.idle.pop(name, None)
    state.index.crowded.pop(name, None)
    for replica in members:
        end_preferences(state, replica)


def free_slot(state: State, name: ReplicaName | None, uid: TaskUid, recorded: Recorded) -> None:
    """An attempt is over: its slot and its locks are free."""
    replica = state.replicas.get(name) if name is not None else None
    if replica is None or uid not in replica.attempts:
        return
    held = replica.attempts[uid].locks
    rest = {other: attempt for other, attempt in replica.attempts.items() if other != uid}
    put_replica(state, replica, recorded, attempts=rest)
    if held:
        locks.release(state, uid, held)
        scheduling.wake(state, held)
        scheduling.settle_ready(state)


def mark(marks: dict[AgentName, None], name: AgentName, *, wanted: bool) -> None:
    """Put a name on a list, or take it off."""
    if wanted:
        marks[name] = None
    else:
        marks.pop(name, None)


def remember(memory: dict[str, None], item: str) -> None:
    """Keep an item in mind as the newest, and forget the oldest beyond the limit."""
    memory.pop(item, None)
    memory[item] = None
    if len(memory) > REMEMBERED:
        del memory[next(iter(memory))]
