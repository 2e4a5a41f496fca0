"""The fold's steps for attempts: who holds which slot and lock, and how each attempt ended.

Owns the beginning and the end of attempts. A slot is free only when its attempt is known to be over: accepted, failed,
given back, confirmed as stopped, or lost with its agent; deleting the task alone does not free it. What becomes of the
task after an attempt is the next event of the group (`evolve_tasks`).
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
    Event,
    Recorded,
    ResultRefused,
    TaskDispatched,
    TaskStarted,
    TaskSucceeded,
)
from watchbill_coordination.core.history import add_ended
from watchbill_coordination.core.specs import ReplicaName, TaskUid
from watchbill_coordination.core.state import Attempt, Phase, State, TaskState
from watchbill_coordination.core.timers import STOP_WITHIN
from watchbill_coordination.core.upkeep import free_slot, put_replica, put_task, remember
from watchbill_coordination.core.working_events import AttemptGivenBack

INTERRUPTED = "Interrupted"  #: reason of an attempt that its agent gave up itself: answered for good, and run again


def name_attempt(agent: ReplicaName, task: TaskUid, attempt: int) -> str:
    """What `State.settled` remembers a finished attempt by."""
    return f"{agent} {task} {attempt}"


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
        ran_on={**task.ran_on, event.attempt: event.agent},
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


def end_attempt(
    state: State, event: AttemptFailed | AttemptGivenBack | AttemptLost | TaskSucceeded, recorded: Recorded
) -> TaskState | None:
    """Free the attempt's slot; return its task if the attempt was its current one."""
    free_slot(state, event.agent, event.task, recorded)
    task = state.tasks.get(event.task)
    return task if task is not None and task.attempt == event.attempt else None


def wait_again(
    state: State, event: AttemptFailed | AttemptGivenBack | AttemptLost, recorded: Recorded, **changes: Any
) -> None:
    """The attempt ended without a result: its task waits, with priority and age kept, and remembers why."""
    task = end_attempt(state, event, recorded)
    if task is not None:
        told = {"reason": event.reason, "history": add_ended(task, event)}
        put_task(state, task, recorded, phase=Phase.PENDING, locks={}, **told, **changes)


def on_failed_attempt(state: State, event: AttemptFailed, recorded: Recorded) -> None:
    """The attempt is over; what becomes of the task is the next event of the group."""
    remember(state.settled, name_attempt(event.agent, event.task, event.attempt))
    wait_again(state, event, recorded, message=event.message, exit_code=event.exit_code)


def on_lost_attempt(state: State, event: AttemptLost, recorded: Recorded) -> None:
    """No retry is spent."""
    if event.reason == INTERRUPTED:
        remember(state.settled, name_attempt(event.agent, event.task, event.attempt))
    task = state.tasks.get(event.task)
    wait_again(state, event, recorded, message="", losses=task.losses + 1 if task is not None else 0)


def on_given_back(state: State, event: AttemptGivenBack, recorded: Recorded) -> None:
    """No retry and no loss is spent."""
    remember(state.settled, name_attempt(event.agent, event.task, event.attempt))
    task = state.tasks.get(event.task)
    told = {"message": event.message, "give_backs": task.give_backs + 1 if task is not None else 0}
    wait_again(state, event, recorded, **told)


def on_abandoned(state: State, event: AttemptAbandoned, recorded: Recorded) -> None:
    """Nothing of a deleted task runs any more."""
    remember(state.settled, name_attempt(event.agent, event.task, event.attempt))
    free_slot(state, event.agent, event.task, recorded)


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


def on_refused(state: State, event: ResultRefused, recorded: Recorded) -> None:
    """That message is answered for good."""
    remember(state.settled, name_attempt(event.agent, event.task, event.attempt))
    task = state.tasks.get(event.task)
    if task is not None:
        put_task(state, task, recorded)


HANDLERS: Mapping[type[Event], Callable[[State, Any, Recorded], None]] = {
    TaskDispatched: on_dispatched,
    TaskStarted: on_started,
    AttemptFailed: on_failed_attempt,
    AttemptLost: on_lost_attempt,
    AttemptGivenBack: on_given_back,
    AttemptAbandoned: on_abandoned,
    TaskSucceeded: on_succeeded,
    ResultRefused: on_refused,
}
