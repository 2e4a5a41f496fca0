"""What working attempts ask for: locks and progress.

Owns the answers, each of which is given at once and once: the attempt holds the lock or is told who does, and nobody
ever waits while it holds a slot, so no deadlock can come of it. What counts is the word of the attempt that holds the
slot now, until it is asked to stop. A request number that was answered leads to no further event.

Fairness: a working attempt has its slot already and will sooner be done, so a free lock is its own, also if queued
tasks wait for slots that want it too. But what is shared is not shared with one more while a queued task waits to have
it alone: otherwise readers that come and go would keep that one waiting for ever.
"""

from __future__ import annotations

from watchbill_coordination.core import locks, scheduling
from watchbill_coordination.core.commands import Rejected, ReportProgress, RequestLock, ReturnLock, SubmitChild
from watchbill_coordination.core.events import Event
from watchbill_coordination.core.evolve_requests import find_working
from watchbill_coordination.core.requests import (
    MAX_ANSWER_TEXT,
    MAX_ASKED_LOCKS,
    MAX_LOCK_NAME,
    MAX_PROGRESS,
    MAX_PROGRESS_TEXT,
    MAX_REQUESTS,
    PROGRESS_SECONDS,
    clean_line,
    is_plain,
)
from watchbill_coordination.core.specs import TaskUid
from watchbill_coordination.core.state import Attempt, State, TaskState
from watchbill_coordination.core.working_events import (
    LockDenied,
    LockGranted,
    LockReturned,
    LockReturnRefused,
    ProgressReported,
)

SHOWN = 3  #: names that one answer lists
ADVICE = "Do other work first and ask again later, or finish without it and say so."


def find_asking(
    state: State, said: RequestLock | ReturnLock | SubmitChild | ReportProgress
) -> tuple[Attempt, TaskState] | Rejected:
    """The attempt that says this and its task, if it has a slot now and is not asked to stop."""
    replica = state.replicas.get(said.agent)
    if replica is None or not replica.phase.is_live or replica.incarnation != said.incarnation:
        return Rejected("NotCurrent")
    attempt = find_working(state, said.agent, said.task, said.attempt)
    task = state.tasks.get(said.task)
    if attempt is None:
        return Rejected("NotCurrent")
    if task is None or attempt.stopping:
        return Rejected("Stopping")
    return attempt, task


def is_number(request: int) -> bool:
    """Whether a request can have this number; a sender that has used them all up must know that itself."""
    return 1 <= request <= MAX_REQUESTS


def find_new_request(
    state: State, command: RequestLock | ReturnLock | SubmitChild
) -> tuple[Attempt, TaskState] | Rejected | None:
    """The attempt that asks and its task; None where that number was answered before."""
    found = find_asking(state, command)
    if isinstance(found, Rejected):
        return found
    if not is_number(command.request):
        return Rejected("TooManyRequests")
    return None if found[0].requests.is_known(command.request) else found


def decide_lock(command: RequestLock, attempt: Attempt, task: TaskState, state: State) -> list[Event]:
    """Grant the lock or say who holds it."""
    obstacle = explain_bad_name(command.name) or explain_obstacle(command, attempt, state)
    if obstacle:
        return [
            LockDenied(
                task=task.uid,
                agent=command.agent,
                attempt=command.attempt,
                request=command.request,
                name=clean_line(command.name, MAX_LOCK_NAME),
                message=obstacle[:MAX_ANSWER_TEXT],
            )
        ]
    shared, token = plan_grant(command, attempt, state)
    return [
        LockGranted(
            task=task.uid,
            agent=command.agent,
            attempt=command.attempt,
            request=command.request,
            name=command.name,
            shared=shared,
            token=token,
        )
    ]


def plan_grant(command: RequestLock, attempt: Attempt, state: State) -> tuple[bool, int]:
    """How the attempt will hold it: (shared, fencing token). What it has already keeps its token.

    Held alone it stays so; one that is shared and now wanted alone gets a new token, since others have held it.
    """
    if command.name not in attempt.locks:
        return command.shared, state.tokens + 1
    lock = state.locks[command.name]
    if lock.shared and not command.shared:
        return False, state.tokens + 1
    return lock.shared, lock.holders[attempt.task]


def explain_bad_name(name: str) -> str:
    """What is wrong with the name of a lock, or nothing."""
    if 1 <= len(name) <= MAX_LOCK_NAME and is_plain(name):
        return ""
    return f"that is no name of a lock: give 1 to {MAX_LOCK_NAME} printable characters, such as repo:src/auth."


def explain_obstacle(command: RequestLock, attempt: Attempt, state: State) -> str:
    """Why the attempt cannot have that lock now, and what it can do, or nothing."""
    name, is_held = command.name, command.name in attempt.locks
    lock = state.locks.get(name)
    others = locks.list_others(state, name, attempt.task)
    if is_held and (command.shared or not others):
        return ""
    if lock is not None and others and not (lock.shared and command.shared):
        holders = describe_holders(state, others)
        if is_held:
            return f"{name} is shared with {holders}, so it cannot be had alone now. {ADVICE}"
        return f"{name} is held by {holders}{' (shared)' if lock.shared else ''}. {ADVICE}"
    if others and (waiter := find_writer(state, name)) is not None:
        return f"{name} is held by {describe_holders(state, others)}, and the Task {waiter.name} is next. {ADVICE}"
    if len(attempt.requests.asked) >= MAX_ASKED_LOCKS:
        return f"this attempt holds {MAX_ASKED_LOCKS} locks that it asked for, which is the limit: give one back first."
    return ""


def find_writer(state: State, name: str) -> TaskState | None:
    """A queued task that is next for this lock, wants it alone, and could run if it had it."""
    for line, waiters in state.index.parked.get(name, {}).items():
        first = waiters.peek()
        if first is None or not scheduling.is_current(state, line, first):
            continue
        task = state.tasks[first.uid]
        if not locks.wanted_locks(task.spec).get(name, True) and scheduling.is_served(state, line):
            return task
    return None


def describe_holders(state: State, holders: list[TaskUid]) -> str:
    """Who they are, for a sentence."""
    told = [describe_holder(state.tasks.get(uid)) for uid in holders[:SHOWN]]
    more = len(holders) - len(told)
    return ", ".join(told) + (f" and {more} more" if more else "")


def describe_holder(task: TaskState | None) -> str:
    """One of them."""
    if task is None:
        return "a Task that was deleted and is being stopped"
    return f"the Task {task.name} (attempt {task.attempt} on {task.agent})"


def decide_return(command: ReturnLock, attempt: Attempt, task: TaskState) -> list[Event]:
    """Take the lock back, or say why it stays."""
    said = {"task": task.uid, "agent": command.agent, "attempt": command.attempt, "request": command.request}
    if command.name in attempt.requests.asked:
        return [LockReturned(**said, name=command.name)]  # type: ignore[arg-type]  # each field has its own type
    shown = clean_line(command.name, MAX_LOCK_NAME)
    why = explain_kept(shown, attempt, is_own=command.name in attempt.locks)
    return [LockReturnRefused(**said, name=shown, message=why[:MAX_ANSWER_TEXT])]  # type: ignore[arg-type]  # as above


def explain_kept(name: str, attempt: Attempt, *, is_own: bool) -> str:
    """Why a lock cannot be given back."""
    if is_own:
        return f"{name} is a lock of the Task itself: it is held until this attempt ends."
    asked = attempt.requests.asked
    if not asked:
        return f"{name} is not held by this attempt: there is nothing to give back."
    listed = ", ".join(asked[:SHOWN]) + (f" and {len(asked) - SHOWN} more" if len(asked) > SHOWN else "")
    return f"{name} is not held by this attempt. It can give back: {listed}."


def decide_progress(command: ReportProgress, state: State, now: float) -> list[Event] | Rejected:
    """Note how far the attempt is, unless it says so too often or said it before."""
    found = find_asking(state, command)
    if isinstance(found, Rejected):
        return found
    attempt, task = found
    known = attempt.requests
    if command.key and command.key <= known.progress_key:
        return []
    if known.progress_count >= MAX_PROGRESS or now < known.progress_at + PROGRESS_SECONDS:
        return Rejected("TooOften")
    text = clean_line(command.text, MAX_PROGRESS_TEXT)
    if not text and command.percent is None:
        return Rejected("Empty")
    percent = None if command.percent is None else max(0, min(100, command.percent))
    return [ProgressReported(task=task.uid, agent=command.agent, attempt=command.attempt, text=text, percent=percent)]
