"""What must hold of every state, told slowly and plainly.

Owns the obviously right twins of the rules in `core`: each check looks at all members and uses no index, or compares
an index with what the members say.
"""

from __future__ import annotations

from support.deciding import Ledger
from watchbill_coordination.core.decide_given_back import MAX_PARKED
from watchbill_coordination.core.evolve import fold
from watchbill_coordination.core.follow_up import follow_up
from watchbill_coordination.core.history import MAX_SENTENCE, MAX_SENTENCES
from watchbill_coordination.core.scheduling import build_entry, build_place
from watchbill_coordination.core.specs import TaskSpec, TaskUid
from watchbill_coordination.core.state import Attempt, Phase, ReplicaPhase, ReplicaState, State, TaskState


def check_all(ledger: Ledger) -> None:
    """Everything, after the rules have come to rest."""
    state = ledger.state
    check_slots(state)
    check_locks(state)
    check_at_rest(state, ledger.now)
    check_queues(state)
    check_links(state)
    check_nothing_idles(state)
    check_preferences(state)
    check_parked(state, ledger.now)
    check_usage(state)
    check_winners(ledger)


def check_replay(ledger: Ledger) -> None:
    """The fold over the log is the state that was reached live, indexes included."""
    again = fold(ledger.records)
    assert again == ledger.state
    assert again.index == ledger.state.index


def slots_of(state: State) -> list[tuple[ReplicaState, Attempt]]:
    """All slots in use."""
    return [(replica, attempt) for replica in state.replicas.values() for attempt in replica.attempts.values()]


def check_slots(state: State) -> None:
    """A running task has one slot, a slot one attempt; nobody has more than it offered; the dead hold nothing."""
    taken = slots_of(state)
    for replica, attempt in taken:
        assert replica.phase.is_live, f"{replica.name} is {replica.phase} and holds {attempt.task}"
        task = state.tasks.get(attempt.task)
        if task is None:
            assert attempt.stopping
        else:
            assert (task.phase, task.attempt, task.agent) == (Phase.RUNNING, attempt.attempt, replica.name)
    holders = [attempt.task for _, attempt in taken]
    assert len(holders) == len(set(holders))
    assert set(holders) >= {task.uid for task in state.tasks.values() if task.phase is Phase.RUNNING}
    for replica in state.replicas.values():
        assert len(replica.attempts) <= replica.slots


def check_locks(state: State) -> None:
    """Held is what slots hold; an exclusive lock has one holder, and no token was given twice."""
    held = {(name, attempt.task) for _, attempt in slots_of(state) for name in attempt.locks}
    assert held == {(lock.name, holder) for lock in state.locks.values() for holder in lock.holders}
    tokens = [token for lock in state.locks.values() for token in lock.holders.values()]
    assert len(tokens) == len(set(tokens))
    assert all(token <= state.tokens for token in tokens)
    for lock in state.locks.values():
        assert len(lock.holders) == 1 or lock.shared, lock


def check_at_rest(state: State, now: float) -> None:
    """Nothing more follows about any task, and every attempt and retry has a timer."""
    for task in state.tasks.values():
        assert follow_up(state, task, now) == [], task
    assert not state.index.steps
    assert not state.index.crowded
    timers = {(timer.kind, timer.name, timer.number) for timer in state.index.timers.items}
    for replica, attempt in slots_of(state):
        assert ("overdue", f"{replica.name} {attempt.task}", attempt.attempt) in timers
    for task in state.tasks.values():
        waits = task.phase is Phase.PENDING and task.not_before > now
        assert (
            not waits
            or task.suspended
            or follow_up(state, task, task.not_before) == []
            or (("retry", task.uid, 0) in timers)
        )


def check_queues(state: State) -> None:
    """Every queued task is in exactly one queue, and nothing else is."""
    index = state.index
    places = [
        (line, entry)
        for queues in [*index.ready.values(), *index.parked.values()]
        for line, queue in queues.items()
        for entry in queue.items
    ]
    alive = {
        (line, entry)
        for line, entry in places
        if entry.uid in state.tasks
        and build_place(state.tasks[entry.uid]) == (line, entry)
        and state.tasks[entry.uid].phase is Phase.QUEUED
    }
    assert sorted(alive) == sorted(build_place(task) for task in queued(state))
    assert all(queues and all(queue.items for queue in queues.values()) for queues in index.ready.values())
    assert all(line.pool == pool for pool, queues in index.ready.items() for line in queues)


def queued(state: State) -> list[TaskState]:
    """All queued tasks."""
    return [task for task in state.tasks.values() if task.phase is Phase.QUEUED]


def check_links(state: State) -> None:
    """The reverse look-ups say what the members say, and ends of deleted tasks are kept only while needed."""
    unfinished = [task for task in state.tasks.values() if not task.phase.is_terminal]
    bound = {(uid, task.uid) for task in unfinished for uid in task.bound.values()}
    assert bound == {(uid, waiter) for uid, waiters in state.index.dependents.items() for waiter in waiters}
    awaited = {(name, task.uid) for task in unfinished for name in task.spec.depends_on if name not in task.bound}
    assert awaited == {(name, waiter) for name, waiters in state.index.awaited.items() for waiter in waiters}
    readers = {(path, task.uid) for task in unfinished for path in task.spec.context}
    assert readers == {(path, reader) for path, those in state.index.readers.items() for reader in those}
    assert set(state.outcomes) <= {uid for uid, _ in bound}
    assert not set(state.outcomes) & set(state.tasks)


def check_nothing_idles(state: State) -> None:
    """No task waits that a free slot could do: its locks are free and nobody who goes first wants them."""
    waiting = queued(state)
    for task in waiting:
        if any(conflicts(state, name, shared, task, waiting) for name, shared in wishes(task.spec).items()):
            continue
        assert not has_free_slot(state, task), f"{task.uid} could run"


def wishes(spec: TaskSpec) -> dict[str, bool]:
    """Name → shared."""
    return {lock.name: all(other.shared for other in spec.locks if other.name == lock.name) for lock in spec.locks}


def conflicts(state: State, name: str, shared: bool, task: TaskState, waiting: list[TaskState]) -> bool:
    """Whether the lock is held against the task, or wanted by one that goes before it."""
    lock = state.locks.get(name)
    if lock is not None and not (shared and lock.shared):
        return True
    earlier = [other for other in waiting if build_entry(other) < build_entry(task)]
    return any(not (shared and wishes(other.spec).get(name, True)) for other in earlier)


def has_free_slot(state: State, task: TaskState) -> bool:
    """Whether any Ready replica of a pool that takes the task has room; for one that prefers a replica, whether it has.

    A pool that is parked has none.
    """
    for replica in state.replicas.values():
        pool = state.agents.get(replica.agent)
        if pool is None or pool.removed or pool.spec.suspend or not pool.spec.takes(pool.name, task.spec.route):
            continue
        if pool.is_parked or task.preferred not in (None, replica.name):
            continue
        room = min(replica.slots, pool.spec.tasks_per_replica) - len(replica.attempts)
        if replica.phase is ReplicaPhase.READY and replica.ordinal < pool.spec.wanted and room > 0:
            return True
    return False


def check_preferences(state: State) -> None:
    """Only a queued task prefers a replica, for a time that has an end, and only one that can still take it."""
    preferring = {(task.preferred, task.uid) for task in state.tasks.values() if task.preferred is not None}
    assert preferring == {(name, uid) for name, uids in state.index.preferring.items() for uid in uids}
    timers = {(timer.name, timer.at) for timer in state.index.timers.items if timer.kind == "preference"}
    for name, uid in preferring:
        task, replica = state.tasks[uid], state.replicas[name]
        pool = state.agents[replica.agent]
        assert (task.phase, task.agent) == (Phase.QUEUED, name)
        assert replica.ordinal < pool.spec.wanted
        assert not pool.removed
        assert not pool.spec.suspend
        assert pool.spec.takes(pool.name, task.spec.route)
        assert (uid, task.preferred_until) in timers


def check_parked(state: State, now: float) -> None:
    """Nobody is parked for longer than an hour, or without an end."""
    timers = {(timer.name, timer.at) for timer in state.index.timers.items if timer.kind == "unpark"}
    for pool in state.agents.values():
        assert not pool.is_parked or (pool.name, pool.parked_until) in timers
        assert pool.parked_until <= now + MAX_PARKED
        assert pool.is_parked is bool(pool.parked_reason)


def check_usage(state: State) -> None:
    """Every report is about an attempt that was begun, and what tasks keep of their past is bounded."""
    for task in state.tasks.values():
        assert all(1 <= attempt <= task.attempt for attempt in task.usage)
        assert len(task.history) <= MAX_SENTENCES
        assert all(len(sentence) <= MAX_SENTENCE and "\n" not in sentence for sentence in task.history)


def check_winners(ledger: Ledger) -> None:
    """A task succeeds at most once, with the newest attempt that it was given."""
    won: set[TaskUid] = set()
    newest: dict[TaskUid, int] = {}
    for record in ledger.records:
        event = record.event
        name = type(event).__name__
        if name == "TaskDispatched":
            newest[event.task] = event.attempt  # type: ignore[attr-defined]
        if name == "TaskSucceeded":
            assert event.task not in won  # type: ignore[attr-defined]
            assert newest[event.task] == event.attempt  # type: ignore[attr-defined]
            won.add(event.task)  # type: ignore[attr-defined]
