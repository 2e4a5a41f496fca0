"""`locks/`: one file for each lock that is held or wanted.

A file says who holds the lock, by which attempt and fencing token and until when at the latest, whether the attempt
asked for it while it works (`asked`) or its Task's spec did, and who waits for it, in queue order. Named by the hash of
the lock's name, which may hold any character. Pure.
"""

from __future__ import annotations

import hashlib

from watchbill_coordination.codec.canonical import encode_canonical
from watchbill_coordination.core.locks import wanted_locks
from watchbill_coordination.core.scheduling import build_entry
from watchbill_coordination.core.specs import TaskUid
from watchbill_coordination.core.state import Attempt, LockState, Phase, State, TaskState
from watchbill_coordination.projections.watermark import Watermark, build_file, format_time


def name_lock_file(lock: str) -> str:
    """Return the file name of a lock."""
    return f"{hashlib.sha256(lock.encode()).hexdigest()[:16]}.json"


def build_locks(state: State, watermark: Watermark) -> dict[str, bytes]:
    """Return file name → content."""
    waiters = _list_waiters(state)
    attempts = {uid: found for replica in state.replicas.values() for uid, found in replica.attempts.items()}
    held = {name for name, lock in state.locks.items() if lock.holders}
    return {
        name_lock_file(name): build_file(
            watermark,
            {"name": name, "shared": name in held and state.locks[name].shared},
            {
                "holders": _encode_holders(state, state.locks[name], attempts) if name in held else [],
                "waiters": [_encode_waiter(task, name) for task in waiters.get(name, [])],
            },
        )
        for name in sorted(held | waiters.keys())
    }


def _list_waiters(state: State) -> dict[str, list[TaskState]]:
    waiters: dict[str, list[TaskState]] = {}
    queued = [task for task in state.tasks.values() if task.spec.locks and task.phase is Phase.QUEUED]
    for task in sorted(queued, key=build_entry):
        for name in wanted_locks(task.spec):
            waiters.setdefault(name, []).append(task)
    return waiters


def _encode_holders(state: State, lock: LockState, attempts: dict[TaskUid, Attempt]) -> list[bytes]:
    holders = []
    for uid, token in sorted(lock.holders.items(), key=lambda holder: holder[1]):
        task, attempt = state.tasks.get(uid), attempts.get(uid)
        members = {"task": uid, "token": token}
        asked = attempt is not None and lock.name in attempt.requests.asked
        holders.append(encode_canonical(members | {"asked": asked} | _build_holder(task, attempt)))
    return holders


def _build_holder(task: TaskState | None, attempt: Attempt | None) -> dict[str, object]:
    return {
        "name": None if task is None else task.name,
        "agent": None if task is None else task.agent,
        "attempt": None if attempt is None else attempt.attempt,
        "expires": None if attempt is None else format_time(attempt.deadline),
    }


def _encode_waiter(task: TaskState, lock: str) -> bytes:
    return encode_canonical(
        {"task": task.uid, "name": task.name, "priority": task.priority, "shared": wanted_locks(task.spec)[lock]}
    )
