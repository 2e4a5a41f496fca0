"""Who goes next.

Owns the order: a free slot takes the queued task with the smallest `first queued - priority * 3.6 s` of all routes
that its pool takes. The key never changes with time (linear ageing: priority 0 overtakes fresh 1000 after an hour), so
nothing is ever sorted again and nothing starves. A task that prefers a replica for now stands in a line of its own,
which that replica alone serves, by the same order. A task that a lock holds up is parked under that lock and blocks
nobody else; among those that want one lock, the smaller key goes first.

Invariant, kept by `evolve` alone: the top of each ready queue is alive and its locks are free, so a choice only looks
at tops. Each dispatch costs O(log n) in queued tasks; pools and routes are few.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from watchbill_coordination.core.heaps import LazyHeap
from watchbill_coordination.core.index import Entry, Line, Queues
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


def build_line(task: TaskState) -> Line:
    """The line that a queued task stands in."""
    return Line(task.spec.route, task.preferred or "")


def build_place(task: TaskState) -> tuple[Line, Entry]:
    """Where a queued task stands."""
    return build_line(task), build_entry(task)


def is_current(state: State, line: Line, entry: Entry) -> bool:
    """Whether the entry still speaks for a queued task in that line."""
    task = state.tasks.get(entry.uid)
    return task is not None and task.phase is Phase.QUEUED and build_place(task) == (line, entry)


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
    for line, waiters in state.index.parked.get(name, {}).items():
        first = waiters.peek()
        if first is None or first >= own or not is_current(state, line, first):
            continue
        compatible = shared and wanted_locks(state.tasks[first.uid].spec).get(name, True)
        if not compatible and is_served(state, line):
            return True
    return False


def is_served(state: State, line: Line) -> bool:
    """Whether any Ready replica takes tasks of that line, now or when it has a free slot."""
    return any(
        replica.phase is ReplicaPhase.READY and line.replica in ("", replica.name)
        for pool in state.agents.values()
        if line.pool in ("", pool.name)
        if not (pool.removed or pool.is_parked or pool.spec.suspend) and pool.spec.takes(pool.name, line.route)
        for replica in list_members(state, pool.name)
    )


def pick_next(state: State) -> Choice | None:
    """The best task that a free slot can take now, or None."""
    best: tuple[Entry, float, AgentName, str] | None = None
    for name in state.index.idle:
        top = best_top(state, state.agents[name])
        if top is None:
            continue
        candidate = (top[0], busy_share(state, name), name, top[1])
        if best is None or candidate < best:
            best = candidate
    if best is None:
        return None
    return Choice(best[0].uid, ReplicaName(best[3]) if best[3] else pick_replica(state, best[2]))


def best_top(state: State, pool: AgentState) -> tuple[Entry, str] | None:
    """The smallest top of all lines that the pool can serve, and the replica that must do it, or empty for any."""
    tops = [
        (queue.items[0], "")
        for line, queue in state.index.ready.get("", {}).items()
        if pool.spec.takes(pool.name, line.route)
    ]
    tops += [
        (queue.items[0], line.replica)
        for line, queue in state.index.ready.get(pool.name, {}).items()
        if free_slots(pool, state.replicas[ReplicaName(line.replica)]) > 0
    ]
    return min(tops, default=None)


def busy_share(state: State, agent: AgentName) -> float:
    """Slots in use for each member: of two pools that could do a task, the quieter one does it."""
    members = state.index.members.get(agent, {})
    return sum(len(state.replicas[name].attempts) for name in members) / max(1, len(members))


def pick_replica(state: State, agent: AgentName) -> ReplicaName:
    """The least busy Ready replica with a free slot; of several one that nobody prefers, then the lowest ordinal."""
    pool, preferring = state.agents[agent], state.index.preferring
    free = [replica for replica in list_members(state, agent) if free_slots(pool, replica) > 0]
    return min(free, key=lambda one: (len(one.attempts), one.name in preferring, one.ordinal)).name


def list_members(state: State, agent: AgentName) -> list[ReplicaState]:
    """All replicas of the pool that the log knows, in no order."""
    return [state.replicas[name] for name in state.index.members.get(agent, ())]


def free_slots(pool: AgentState, replica: ReplicaState) -> int:
    """How many more tasks the replica may be given now. What it claims counts only within the Agent's spec."""
    if replica.phase is not ReplicaPhase.READY or pool.removed or pool.is_parked or pool.spec.suspend:
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
    """Add to the ready queue of the task's line."""
    line = build_line(task)
    push(state, state.index.ready.setdefault(line.pool, {}), line, task)


def park(state: State, lock: str, task: TaskState) -> None:
    """Set a task aside until that lock changes."""
    push(state, state.index.parked.setdefault(lock, {}), build_line(task), task)


def push(state: State, queues: Queues, line: Line, task: TaskState) -> None:
    """Add a task to one of several queues."""
    queues.setdefault(line, LazyHeap()).push(build_entry(task), lambda entry: is_current(state, line, entry))


def leave_queue(state: State, task: TaskState) -> None:
    """A task is no longer queued as it was (`task`): clean the tops, and let those go on that it held up."""
    wake(state, wanted_locks(task.spec))
    settle_ready(state, None if task.spec.locks else build_line(task))


def settle_ready(state: State, only: Line | None = None) -> None:
    """Make every top alive and unblocked again (of one line, when only that one can have changed)."""
    changed = True
    while changed:
        changed = False
        for line in (only,) if only is not None else [line for lines in state.index.ready.values() for line in lines]:
            changed = settle_line(state, line) or changed
        only = None


def settle_line(state: State, line: Line) -> bool:
    """Make one top alive and unblocked; say whether a task was parked, which can block other tops."""
    queues = state.index.ready.get(line.pool, {})
    queue = queues.get(line)
    parked = False
    while queue is not None and queue.settle(lambda entry: is_current(state, line, entry)) is not None:
        task = state.tasks[queue.items[0].uid]
        lock = blocking_lock(state, task) if task.spec.locks else None
        if lock is None:
            return parked
        queue.pop()
        park(state, lock, task)
        wake(state, (name for name in wanted_locks(task.spec) if name != lock))
        parked = True
    queues.pop(line, None)
    if not queues:
        state.index.ready.pop(line.pool, None)
    return parked


def wake(state: State, locks: Iterable[str]) -> None:
    """A lock was freed, or one that wanted it left: of each line the best waiter that can go on becomes ready."""
    for lock in locks:
        waiting = state.index.parked.get(lock, {})
        for line, queue in waiting.items():
            settle_waiters(state, line, queue)
        for line in sorted((line for line, queue in waiting.items() if queue), key=lambda line: waiting[line].items[0]):
            wake_line(state, lock, line, waiting[line])
        for line in [line for line, queue in waiting.items() if not queue]:
            del waiting[line]
        if not waiting:
            state.index.parked.pop(lock, None)


def settle_waiters(state: State, line: Line, queue: LazyHeap[Entry]) -> Entry | None:
    """Drop those from the top that no longer wait there; return the best that does."""
    return queue.settle(lambda entry: is_current(state, line, entry))


def wake_line(state: State, lock: str, line: Line, queue: LazyHeap[Entry]) -> None:
    """Move waiters of one lock and line on until one is ready, or the lock still holds the best of them up.

    One is enough: when it leaves its ready queue, for whatever reason, its locks are woken again.
    """
    while (entry := settle_waiters(state, line, queue)) is not None:
        task = state.tasks[entry.uid]
        blocking = blocking_lock(state, task)
        if blocking == lock:
            return
        queue.pop()
        if blocking is None:
            push_ready(state, task)
            return
        park(state, blocking, task)
