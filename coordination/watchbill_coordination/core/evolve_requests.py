"""The fold's steps for what attempts ask for while they work: locks, Tasks of their own making, progress.

Owns the replies that an attempt has been given and the orders for Tasks. Invariant: a reply belongs to the attempt that
asked, and is gone with it, as are the locks that it asked for (`upkeep.free_slot`). An event about an attempt that is
over changes nothing of any other attempt.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from watchbill_coordination.core import locks, scheduling
from watchbill_coordination.core.children import put_children
from watchbill_coordination.core.copying import change
from watchbill_coordination.core.events import Event, Recorded
from watchbill_coordination.core.requests import KEPT_ANSWERS, Child, ChildOrder, Reply, Requests, TaskProgress
from watchbill_coordination.core.specs import ReplicaName, TaskUid
from watchbill_coordination.core.state import Attempt, State
from watchbill_coordination.core.upkeep import put_replica, put_task
from watchbill_coordination.core.working_events import (
    ChildCreated,
    ChildRefused,
    ChildRequested,
    LockDenied,
    LockGranted,
    LockReturned,
    LockReturnRefused,
    ProgressReported,
)


def find_working(state: State, agent: ReplicaName, task: TaskUid, number: int) -> Attempt | None:
    """The attempt of that number, if it still has its slot there."""
    replica = state.replicas.get(agent)
    attempt = replica.attempts.get(task) if replica is not None else None
    return attempt if attempt is not None and attempt.attempt == number else None


def put_attempt(state: State, agent: ReplicaName, attempt: Attempt, recorded: Recorded, **changes: Any) -> None:
    """Set an attempt, with fields changed."""
    replica = state.replicas[agent]
    put_replica(state, replica, recorded, attempts={**replica.attempts, attempt.task: change(attempt, **changes)})


def add_reply(requests: Requests, request: int, reply: Reply, **changes: Any) -> Requests:
    """A conversation with one more answer; the oldest is forgotten beyond the limit."""
    replies, forgotten = {**requests.replies, request: reply}, requests.forgotten
    while len(replies) > KEPT_ANSWERS:
        oldest = next(iter(replies))
        del replies[oldest]
        forgotten = max(forgotten, oldest)
    waiting = tuple(number for number in requests.waiting if number != request)
    return change(requests, replies=replies, waiting=waiting, forgotten=forgotten, **changes)


def on_lock_granted(state: State, event: LockGranted, recorded: Recorded) -> None:
    """The attempt holds it; queued tasks that want it wait."""
    attempt = find_working(state, event.agent, event.task, event.attempt)
    if attempt is None:
        return
    reply = Reply(seq=recorded.seq, granted=True, name=event.name, token=event.token, text=describe_grant(event))
    is_new = event.name not in attempt.locks
    asked = (*attempt.requests.asked, event.name) if is_new else attempt.requests.asked
    requests = add_reply(attempt.requests, event.request, reply, asked=asked)
    held = (*attempt.locks, event.name) if is_new else attempt.locks
    locks.grant(state, event.task, {event.name: event.shared}, {event.name: event.token})
    put_attempt(state, event.agent, attempt, recorded, requests=requests, locks=held)
    note_held(state, event.task, held, recorded)
    scheduling.settle_ready(state)


def on_lock_returned(state: State, event: LockReturned, recorded: Recorded) -> None:
    """It is free for others, or one holder fewer has it."""
    attempt = find_working(state, event.agent, event.task, event.attempt)
    if attempt is None:
        return
    text = f"the lock {event.name} is given back"
    reply = Reply(seq=recorded.seq, granted=True, name=event.name, text=text)
    asked = tuple(name for name in attempt.requests.asked if name != event.name)
    requests = add_reply(attempt.requests, event.request, reply, asked=asked)
    held = tuple(name for name in attempt.locks if name != event.name)
    locks.release(state, event.task, (event.name,))
    put_attempt(state, event.agent, attempt, recorded, requests=requests, locks=held)
    note_held(state, event.task, held, recorded)
    scheduling.wake(state, (event.name,))
    scheduling.settle_ready(state)


def note_held(state: State, uid: TaskUid, names: tuple[str, ...], recorded: Recorded) -> None:
    """Set what the task holds to what its present attempt holds."""
    task = state.tasks.get(uid)
    if task is not None:
        put_task(state, task, recorded, locks={name: state.locks[name].holders[uid] for name in names})


def describe_grant(event: LockGranted) -> str:
    """What the attempt may do now."""
    how = "together with others that share it" if event.shared else "alone"
    return f"this attempt holds the lock {event.name} {how}, until it gives it back or ends"


def on_refusal(state: State, event: LockDenied | LockReturnRefused, recorded: Recorded) -> None:
    """The attempt is told why not."""
    attempt = find_working(state, event.agent, event.task, event.attempt)
    if attempt is not None:
        reply = Reply(seq=recorded.seq, granted=False, name=event.name, text=event.message)
        put_attempt(state, event.agent, attempt, recorded, requests=add_reply(attempt.requests, event.request, reply))


def on_child_requested(state: State, event: ChildRequested, recorded: Recorded) -> None:
    """A Task is to be created; the attempt is answered when that is done."""
    task = state.tasks.get(event.task)
    if task is None:
        return
    state.children[event.name] = ChildOrder(
        parent=event.task,
        parent_name=task.name,
        agent=event.agent,
        attempt=event.attempt,
        request=event.request,
        spec=event.spec,
    )
    note = Child(attempt=event.attempt, request=event.request)
    put_children(state, event.task, {**task.children, event.name: note})
    attempt = find_working(state, event.agent, event.task, event.attempt)
    if attempt is not None:
        requests = change(attempt.requests, waiting=(*attempt.requests.waiting, event.request))
        put_attempt(state, event.agent, attempt, recorded, requests=requests)


def on_child_created(state: State, event: ChildCreated, recorded: Recorded) -> None:
    """The API server has it: the attempt that asked for it is answered, if it still works."""
    order = state.children.pop(event.name, None)
    task = state.tasks.get(event.task)
    note = task.children.get(event.name) if task is not None else None
    if order is None or task is None or note is None:
        return
    put_children(state, event.task, {**task.children, event.name: change(note, uid=event.uid)})
    attempt = find_working(state, order.agent, event.task, order.attempt)
    if attempt is not None:
        text = f"the Task {event.name} is created; another agent does it"
        reply = Reply(seq=recorded.seq, granted=True, name=event.name, uid=event.uid, text=text)
        requests = add_reply(attempt.requests, order.request, reply)
        put_attempt(state, order.agent, attempt, recorded, requests=requests)


def on_child_refused(state: State, event: ChildRefused, recorded: Recorded) -> None:
    """It is not made; the attempt is told why, if it still works."""
    state.children.pop(event.name, None)
    task = state.tasks.get(event.task)
    if task is not None and event.name in task.children:
        put_children(state, event.task, {name: note for name, note in task.children.items() if name != event.name})
    attempt = find_working(state, event.agent, event.task, event.attempt)
    if attempt is not None:
        reply = Reply(seq=recorded.seq, granted=False, name=event.name, text=event.message)
        put_attempt(state, event.agent, attempt, recorded, requests=add_reply(attempt.requests, event.request, reply))


def on_progress(state: State, event: ProgressReported, recorded: Recorded) -> None:
    """How far the attempt is."""
    attempt = find_working(state, event.agent, event.task, event.attempt)
    task = state.tasks.get(event.task)
    if attempt is None or task is None:
        return
    requests = change(
        attempt.requests,
        progress_count=attempt.requests.progress_count + 1,
        progress_at=recorded.at,
        progress_key=recorded.key or attempt.requests.progress_key,
    )
    put_attempt(state, event.agent, attempt, recorded, requests=requests)
    put_task(state, task, recorded, progress=TaskProgress(text=event.text, percent=event.percent, at=recorded.at))


HANDLERS: Mapping[type[Event], Callable[[State, Any, Recorded], None]] = {
    LockGranted: on_lock_granted,
    LockDenied: on_refusal,
    LockReturned: on_lock_returned,
    LockReturnRefused: on_refusal,
    ChildRequested: on_child_requested,
    ChildCreated: on_child_created,
    ChildRefused: on_child_refused,
    ProgressReported: on_progress,
}
