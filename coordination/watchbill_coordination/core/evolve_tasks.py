"""The fold's steps for tasks: submitted, changed, bound, queued, held, ended.

Owns the phase of each task outside of its attempts (`evolve_attempts`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from watchbill_coordination.core.events import (
    DependencyBound,
    Event,
    Recorded,
    TaskAmended,
    TaskCancelled,
    TaskCancelRequested,
    TaskDeleted,
    TaskFailed,
    TaskHeld,
    TaskQueued,
    TaskRetryScheduled,
    TaskSubmitted,
)
from watchbill_coordination.core.evolve_attempts import name_attempt, stop_attempt
from watchbill_coordination.core.index import add_link, drop_link
from watchbill_coordination.core.preference import plan_preference
from watchbill_coordination.core.specs import TaskUid, parse_task_spec
from watchbill_coordination.core.state import Phase, State, TaskState
from watchbill_coordination.core.upkeep import drop_task, free_slot, put_task, refresh_task, remember


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


def on_retry_scheduled(state: State, event: TaskRetryScheduled, recorded: Recorded) -> None:
    """Another attempt follows, not before that time."""
    task = state.tasks.get(event.task)
    if task is not None:
        put_task(state, task, recorded, not_before=event.not_before, retries=task.retries + 1)


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


HANDLERS: Mapping[type[Event], Callable[[State, Any, Recorded], None]] = {
    TaskSubmitted: on_submitted,
    TaskAmended: on_amended,
    TaskCancelRequested: on_cancel_requested,
    DependencyBound: on_bound,
    TaskQueued: on_queued,
    TaskHeld: on_held,
    TaskRetryScheduled: on_retry_scheduled,
    TaskFailed: on_failed,
    TaskCancelled: on_cancelled,
    TaskDeleted: on_deleted,
}
