"""The fold's steps for tasks and their attempts.

Owns the phase of each task and who holds which slot and lock. A slot is free only when its attempt is known to be
over: accepted, failed, confirmed as stopped, or lost with its agent; deleting the task alone does not free it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from watchbill_coordination.core import locks
from watchbill_coordination.core.copying import change
from watchbill_coordination.core.events import (
    AttemptAbandoned,
    AttemptFailed,
    AttemptLost,
    DependencyBound,
    Event,
    Recorded,
    ResultRefused,
    TaskAmended,
    TaskCancelled,
    TaskCancelRequested,
    TaskDeleted,
    TaskDispatched,
    TaskFailed,
    TaskHeld,
    TaskQueued,
    TaskRetryScheduled,
    TaskStarted,
    TaskSubmitted,
    TaskSucceeded,
)
from watchbill_coordination.core.history import add_ended
from watchbill_coordination.core.index import add_link, drop_link
from watchbill_coordination.core.preference import plan_preference
from watchbill_coordination.core.specs import ReplicaName, TaskUid, parse_task_spec
from watchbill_coordination.core.state import Attempt, Phase, State, TaskState
from watchbill_coordination.core.timers import STOP_WITHIN
from watchbill_coordination.core.upkeep import drop_task, free_slot, put_replica, put_task, refresh_task, remember
from watchbill_coordination.core.working_events import AttemptGivenBack

INTERRUPTED = "Interrupted"  #: reason of an attempt that its agent gave up itself: answered for good, and run again


def name_attempt(agent: ReplicaName, task: TaskUid, attempt: int) -> str:
    """What `State.settled` remembers a finished attempt by."""
    return f"{agent} {task} {attempt}"


def change_task(state: State, uid: TaskUid, recorded: Recorded, **changes: Any) -> None:
    """Replace fields of a task, if it is still there."""
    task = state.tasks.get(uid)
    if task is not None:
        put_task(state, task, recorded, **changes)


def on_submitted(state: State, event: TaskSubmitted, recorded: Recorded) -> None:
    """A new task; those that wait for its name can be bound."""
    spec = parse_task_spec(event.spec)
    task = TaskState(
        uid=event.task,
        name=event.name,
        spec=spec,
        phase=Phase.PENDING,
        generation=event.generation,
        submitted_at=recorded.at,
        priority=spec.priority,
        suspended=spec.suspend,
        parent=event.parent,
        depth=event.depth,
        last_seq=recorded.seq,
        epoch=recorded.ep,
    )
    put_task(state, task, recorded)
    for uid in state.index.awaited.get(event.name, ()):
        refresh_task(state, uid, recorded.at)


def on_amended(state: State, event: TaskAmended, recorded: Recorded) -> None:
    """Another priority gives it another place, with its age kept."""
    changes = {"priority": event.priority, "suspended": event.suspend, "generation": event.generation}
    change_task(state, event.task, recorded, **changes)


def on_bound(state: State, event: DependencyBound, recorded: Recorded) -> None:
    """The name means that uid from now on."""
    task = state.tasks.get(event.task)
    if task is not None:
        drop_link(state.index.awaited, event.name, event.task)
        add_link(state.index.dependents, event.uid, event.task)
        put_task(state, task, recorded, bound={**task.bound, event.name: event.uid})


def on_queued(state: State, event: TaskQueued, recorded: Recorded) -> None:
    """Ready; the first time counts for its age. After an attempt it may be for the same replica, for a while."""
    task = state.tasks.get(event.task)
    if task is not None:
        first = recorded.at if task.first_queued is None else task.first_queued
        preferred, until = plan_preference(state, task, recorded.at)
        put_task(
            state,
            task,
            recorded,
            phase=Phase.QUEUED,
            first_queued=first,
            queued_seq=recorded.seq,
            preferred=preferred,
            preferred_until=until,
            not_before=0.0,
            reason="",
            message="",
        )


def on_held(state: State, event: TaskHeld, recorded: Recorded) -> None:
    """No longer ready."""
    change_task(state, event.task, recorded, phase=Phase.PENDING, reason=event.reason)


def on_dispatched(state: State, event: TaskDispatched, recorded: Recorded) -> None:
    """A slot and all locks are taken; from here on the attempt is what may win."""
    task, replica = state.tasks.get(event.task), state.replicas.get(event.agent)
    if task is None or replica is None:
        return
    attempt = Attempt(
        task=event.task,
        attempt=event.attempt,
        dispatched_seq=recorded.seq,
        deadline=recorded.at + task.spec.timeout_seconds,
        locks=tuple(event.locks),
    )
    locks.grant(state, event.task, locks.wanted_locks(task.spec), event.locks)
    put_replica(state, replica, recorded, attempts={**replica.attempts, event.task: attempt})
    put_task(
        state,
        task,
        recorded,
        phase=Phase.RUNNING,
        attempt=event.attempt,
        agent=event.agent,
        incarnation=event.incarnation,
        started_at=recorded.at,
        accepted=False,
        locks=dict(event.locks),
        preferred_until=0.0,
        progress=None,
        reason="",
        message="",
    )


def on_started(state: State, event: TaskStarted, recorded: Recorded) -> None:
    """The attempt's time runs from here, unless it is being stopped."""
    task, replica = state.tasks.get(event.task), state.replicas.get(event.agent)
    attempt = replica.attempts.get(event.task) if replica is not None else None
    if task is None or replica is None or attempt is None:
        return
    if not attempt.stopping:
        timed = change(attempt, deadline=recorded.at + task.spec.timeout_seconds)
        put_replica(state, replica, recorded, attempts={**replica.attempts, event.task: timed})
    put_task(state, task, recorded, accepted=True, started_at=recorded.at)


def stop_attempt(state: State, task: TaskState, recorded: Recorded) -> None:
    """The task's attempt shall end; its slot stays taken until the agent confirms."""
    replica = state.replicas.get(task.agent) if task.agent is not None else None
    attempt = replica.attempts.get(task.uid) if replica is not None else None
    if replica is None or attempt is None or attempt.stopping:
        return
    deadline = min(attempt.deadline, recorded.at + STOP_WITHIN)
    stopping = change(attempt, stopping=True, stopping_seq=recorded.seq, deadline=deadline)
    put_replica(state, replica, recorded, attempts={**replica.attempts, task.uid: stopping})


def on_cancel_requested(state: State, event: TaskCancelRequested, recorded: Recorded) -> None:
    """The attempt is being stopped."""
    task = state.tasks.get(event.task)
    if task is not None:
        stop_attempt(state, task, recorded)
        put_task(state, task, recorded, cancel_requested=True)


def on_deleted(state: State, event: TaskDeleted, recorded: Recorded) -> None:
    """The task is gone; what still runs of it is being stopped."""
    remember(state.deleted, event.task)
    task = state.tasks.get(event.task)
    if task is not None:
        if task.phase is Phase.RUNNING:
            stop_attempt(state, task, recorded)
        drop_task(state, task, recorded)


def end_attempt(
    state: State, event: AttemptFailed | AttemptGivenBack | AttemptLost | TaskSucceeded, recorded: Recorded
) -> TaskState | None:
    """Free the attempt's slot; return its task if the attempt was its current one."""
    free_slot(state, event.agent, event.task, recorded)
    task = state.tasks.get(event.task)
    return task if task is not None and task.attempt == event.attempt else None


def on_failed_attempt(state: State, event: AttemptFailed, recorded: Recorded) -> None:
    """The attempt is over; what becomes of the task is the next event of the group."""
    remember(state.settled, name_attempt(event.agent, event.task, event.attempt))
    task = end_attempt(state, event, recorded)
    if task is not None:
        put_task(
            state,
            task,
            recorded,
            phase=Phase.PENDING,
            locks={},
            reason=event.reason,
            message=event.message,
            exit_code=event.exit_code,
            history=add_ended(task, event),
        )


def on_lost_attempt(state: State, event: AttemptLost, recorded: Recorded) -> None:
    """The task waits again, with priority and age kept; no retry is spent."""
    if event.reason == INTERRUPTED:
        remember(state.settled, name_attempt(event.agent, event.task, event.attempt))
    task = end_attempt(state, event, recorded)
    if task is not None:
        put_task(
            state,
            task,
            recorded,
            phase=Phase.PENDING,
            locks={},
            losses=task.losses + 1,
            reason=event.reason,
            message="",
            history=add_ended(task, event),
        )


def on_given_back(state: State, event: AttemptGivenBack, recorded: Recorded) -> None:
    """The task waits again, with priority and age kept; no retry and no loss is spent."""
    remember(state.settled, name_attempt(event.agent, event.task, event.attempt))
    task = end_attempt(state, event, recorded)
    if task is not None:
        put_task(
            state,
            task,
            recorded,
            phase=Phase.PENDING,
            locks={},
            give_backs=task.give_backs + 1,
            reason=event.reason,
            message=event.message,
            history=add_ended(task, event),
        )


def on_abandoned(state: State, event: AttemptAbandoned, recorded: Recorded) -> None:
    """Nothing of a deleted task runs any more."""
    remember(state.settled, name_attempt(event.agent, event.task, event.attempt))
    free_slot(state, event.agent, event.task, recorded)


def on_retry_scheduled(state: State, event: TaskRetryScheduled, recorded: Recorded) -> None:
    """Another attempt follows, not before that time."""
    task = state.tasks.get(event.task)
    if task is not None:
        put_task(state, task, recorded, not_before=event.not_before, retries=task.retries + 1)


def on_succeeded(state: State, event: TaskSucceeded, recorded: Recorded) -> None:
    """The one accepted result."""
    remember(state.settled, name_attempt(event.agent, event.task, event.attempt))
    task = end_attempt(state, event, recorded)
    if task is not None:
        put_task(
            state,
            task,
            recorded,
            phase=Phase.SUCCEEDED,
            finished_at=recorded.at,
            locks={},
            reason="",
            message="",
            result=event.result,
            exit_code=event.exit_code,
        )


def on_failed(state: State, event: TaskFailed, recorded: Recorded) -> None:
    """No further attempt follows."""
    changes = {"phase": Phase.FAILED, "finished_at": recorded.at, "reason": event.reason, "message": event.message}
    change_task(state, event.task, recorded, **changes)


def on_cancelled(state: State, event: TaskCancelled, recorded: Recorded) -> None:
    """Ended by its user's wish; a running attempt has been confirmed as stopped."""
    task = state.tasks.get(event.task)
    if task is None:
        return
    if task.phase is Phase.RUNNING and task.agent is not None:
        remember(state.settled, name_attempt(task.agent, task.uid, task.attempt))
        free_slot(state, task.agent, task.uid, recorded)
    put_task(
        state,
        task,
        recorded,
        phase=Phase.CANCELLED,
        cancel_requested=True,
        finished_at=recorded.at,
        locks={},
        reason="Cancelled",
        message=event.message,
    )


def on_refused(state: State, event: ResultRefused, recorded: Recorded) -> None:
    """That message is answered for good."""
    remember(state.settled, name_attempt(event.agent, event.task, event.attempt))
    change_task(state, event.task, recorded)


HANDLERS: Mapping[type[Event], Callable[[State, Any, Recorded], None]] = {
    TaskSubmitted: on_submitted,
    TaskAmended: on_amended,
    TaskCancelRequested: on_cancel_requested,
    DependencyBound: on_bound,
    TaskQueued: on_queued,
    TaskHeld: on_held,
    TaskDispatched: on_dispatched,
    TaskStarted: on_started,
    AttemptFailed: on_failed_attempt,
    AttemptLost: on_lost_attempt,
    AttemptGivenBack: on_given_back,
    AttemptAbandoned: on_abandoned,
    TaskRetryScheduled: on_retry_scheduled,
    TaskSucceeded: on_succeeded,
    TaskFailed: on_failed,
    TaskCancelled: on_cancelled,
    TaskDeleted: on_deleted,
    ResultRefused: on_refused,
}
