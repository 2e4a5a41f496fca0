"""Who goes next.

Owns the order: a free slot takes the queued task with the smallest `first queued - priority * 3.6 s` of all routes
that its pool takes. The key never changes with time (linear ageing: priority 0 overtakes fresh 1000 after an hour), so
nothing is ever sorted again and nothing starves. A task that a lock holds up is parked under that lock and blocks
nobody else; among those that want one lock, the smaller key goes first.

Invariant, kept by `evolve` alone: the top of each ready queue is alive and its locks are free, so a choice only looks
at tops. Each dispatch costs O(log n) in queued tasks; pools and routes are few.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from watchbill_coordination.core.heaps import LazyHeap
from watchbill_coordination.core.index import Entry, Route
from watchbill_coordination.core.locks import is_held_against, wanted_locks
from watchbill_coordination.core.specs import AgentName, ReplicaName, TaskUid
from watchbill_coordination.core.state import AgentState, Phase, ReplicaPhase, ReplicaState, State, TaskState

AGEING_STEP = 3.6  #: seconds of waiting that one point of priority is worth


class Choice(NamedTuple):
    """A task and the replica that shall do it."""

    task: TaskUid
    replica: ReplicaName


def build_entry(task: TaskState) -> Entry:
    """The place of a queued task."""
    queued = task.first_queued if task.first_queued is not None else task.submitted_at
    return Entry(queued - task.priority * AGEING_STEP, task.queued_seq, task.uid)


def is_current(state: State, entry: Entry) -> bool:
    """Whether the entry still speaks for a queued task."""
    task = state.tasks.get(entry.uid)
    return task is not None and task.phase is Phase.QUEUED and build_entry(task) == entry


def blocking_lock(state: State, task: TaskState) -> str | None:
    """The first lock that holds the task up: held against it, or wanted by a waiter that goes first."""
    for name, shared in wanted_locks(task.spec).items():
        if is_held_against(state, name, shared=shared) or is_claimed_against(state, name, task, shared=shared):
            return name
    return None


def is_claimed_against(state: State, name: str, task: TaskState, *, shared: bool) -> bool:
    """Whether a parked waiter with a smaller key wants that lock in a way that conflicts.

    Without this rule a stream of readers would keep a writer waiting for ever. A waiter that nobody could run anyway
    keeps no one from the lock.
    """
    own = build_entry(task)
    for route, waiters in state.index.parked.get(name, {}).items():
        first = waiters.peek()
        if first is None or first >= own or not is_current(state, first):
            continue
        compatible = shared and wanted_locks(state.tasks[first.uid].spec).get(name, True)
        if not compatible and is_served(state, route):
            return True
    return False


def is_served(state: State, route: Route) -> bool:
    """Whether any pool with a Ready replica takes tasks of that route."""
    return any(
        replica.phase is ReplicaPhase.READY
        for pool in state.agents.values()
        if not pool.removed and not pool.spec.suspend and pool.spec.takes(pool.name, route)
        for replica in list_members(state, pool.name)
    )


def pick_next(state: State) -> Choice | None:
    """The best task that a free slot can take now, or None."""
    best: tuple[Entry, float, AgentName] | None = None
    for name in state.index.idle:
        pool = state.agents[name]
        entry = best_entry(state, pool)
        if entry is None:
            continue
        candidate = (entry, busy_share(state, name), name)
        if best is None or candidate < best:
            best = candidate
    if best is None:
        return None
    return Choice(best[0].uid, pick_replica(state, best[2]))


def best_entry(state: State, pool: AgentState) -> Entry | None:
    """The smallest top of all ready queues that the pool takes."""
    tops = [queue.items[0] for route, queue in state.index.ready.items() if pool.spec.takes(pool.name, route)]
    return min(tops, default=None)


def busy_share(state: State, agent: AgentName) -> float:
    """Slots in use for each member: of two pools that could do a task, the quieter one does it."""
    members = state.index.members.get(agent, {})
    return sum(len(state.replicas[name].attempts) for name in members) / max(1, len(members))


def pick_replica(state: State, agent: AgentName) -> ReplicaName:
    """The least busy Ready replica with a free slot, the lowest ordinal of several."""
    pool = state.agents[agent]
    free = [replica for replica in list_members(state, agent) if free_slots(pool, replica) > 0]
    return min(free, key=lambda replica: (len(replica.attempts), replica.ordinal)).name


def list_members(state: State, agent: AgentName) -> list[ReplicaState]:
    """All replicas of the pool that the log knows, in no order."""
    return [state.replicas[name] for name in state.index.members.get(agent, ())]


def free_slots(pool: AgentState, replica: ReplicaState) -> int:
    """How many more tasks the replica may be given now. What it claims counts only within the Agent's spec."""
    if replica.phase is not ReplicaPhase.READY or pool.removed or pool.spec.suspend:
        return 0
    if replica.ordinal >= pool.spec.wanted:
        return 0
    return min(replica.slots, pool.spec.tasks_per_replica) - len(replica.attempts)


# What follows changes indexes only, and is part of `evolve`.


def enqueue(state: State, task: TaskState) -> None:
    """Put a task that became queued, or got another key, into its queue or under the lock that holds it up."""
    lock = blocking_lock(state, task) if task.spec.locks else None
    if lock is None:
        push_ready(state, task)
        return
    park(state, lock, task)
    settle_ready(state)


def push_ready(state: State, task: TaskState) -> None:
    """Add to the ready queue of the task's route."""
    queue = state.index.ready.setdefault(task.spec.route, LazyHeap())
    queue.push(build_entry(task), lambda entry: is_current(state, entry))


def park(state: State, lock: str, task: TaskState) -> None:
    """Set a task aside until that lock changes."""
    queue = state.index.parked.setdefault(lock, {}).setdefault(task.spec.route, LazyHeap())
    queue.push(build_entry(task), lambda entry: is_current(state, entry))


def leave_queue(state: State, task: TaskState) -> None:
    """A task is no longer queued as it was: clean the tops, and let those go on that it held up."""
    wake(state, wanted_locks(task.spec))
    settle_ready(state, None if task.spec.locks else task.spec.route)


def settle_ready(state: State, only: Route | None = None) -> None:
    """Make every top alive and unblocked again (of one route, when only that one can have changed)."""
    changed = True
    while changed:
        changed = False
        for route in (only,) if only is not None else tuple(state.index.ready):
            changed = settle_route(state, route) or changed
        only = None


def settle_route(state: State, route: Route) -> bool:
    """Make one top alive and unblocked; say whether a task was parked, which can block other tops."""
    queue = state.index.ready.get(route)
    parked = False
    while queue is not None and queue.settle(lambda entry: is_current(state, entry)) is not None:
        task = state.tasks[queue.items[0].uid]
        lock = blocking_lock(state, task) if task.spec.locks else None
        if lock is None:
            return parked
        queue.pop()
        park(state, lock, task)
        wake(state, (name for name in wanted_locks(task.spec) if name != lock))
        parked = True
    state.index.ready.pop(route, None)
    return parked


def wake(state: State, locks: Iterable[str]) -> None:
    """A lock was freed, or one that wanted it left: of each route the best waiter that can go on becomes ready."""
    for lock in locks:
        waiting = state.index.parked.get(lock, {})
        for queue in waiting.values():
            queue.settle(lambda entry: is_current(state, entry))
        for queue in sorted((queue for queue in waiting.values() if queue), key=lambda queue: queue.items[0]):
            wake_route(state, lock, queue)
        for route in [route for route, queue in waiting.items() if not queue]:
            del waiting[route]
        if not waiting:
            state.index.parked.pop(lock, None)


def wake_route(state: State, lock: str, queue: LazyHeap[Entry]) -> None:
    """Move waiters of one lock and route on until one is ready, or the lock still holds the best of them up.

    One is enough: when it leaves its ready queue, for whatever reason, its locks are woken again.
    """
    while (entry := queue.settle(lambda entry: is_current(state, entry))) is not None:
        task = state.tasks[entry.uid]
        blocking = blocking_lock(state, task)
        if blocking == lock:
            return
        queue.pop()
        if blocking is None:
            push_ready(state, task)
            return
        park(state, blocking, task)
