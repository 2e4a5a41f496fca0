"""Named resources that attempts hold.

Owns what conflicts with what: two holders of one name conflict unless both share it. Those of `Task.spec.locks` are
granted all-or-nothing when the task is dispatched; those that an attempt asks for while it works are granted or denied
one by one, at once. All are freed with its slot. Each grant has a fencing token that only grows. Who goes first among
those that wait is `scheduling`'s rule.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from watchbill_coordination.core.specs import TaskSpec, TaskUid
from watchbill_coordination.core.state import LockState, State


def wanted_locks(spec: TaskSpec) -> dict[str, bool]:
    """Name → whether it can be shared; asked for twice, the stricter wish counts."""
    wanted: dict[str, bool] = {}
    for request in spec.locks:
        wanted[request.name] = wanted.get(request.name, True) and request.shared
    return wanted


def is_held_against(state: State, name: str, *, shared: bool) -> bool:
    """Whether the present holders of that name leave no room for such a request."""
    lock = state.locks.get(name)
    return lock is not None and not (shared and lock.shared)


def plan_tokens(state: State, spec: TaskSpec) -> dict[str, int]:
    """The fencing tokens that a dispatch of that task would be given."""
    return {name: state.tokens + place for place, name in enumerate(sorted(wanted_locks(spec)), start=1)}


def list_others(state: State, name: str, task: TaskUid) -> list[TaskUid]:
    """Who else holds that name, the first holder first."""
    lock = state.locks.get(name)
    return [] if lock is None else sorted((uid for uid in lock.holders if uid != task), key=lock.holders.__getitem__)


def grant(state: State, task: TaskUid, wanted: Mapping[str, bool], tokens: Mapping[str, int]) -> None:
    """Note the task as a holder of each name with a token; `wanted` says whether it is shared. Part of `evolve`."""
    for name, token in tokens.items():
        lock = state.locks.get(name)
        holders = {**lock.holders, task: token} if lock is not None else {task: token}
        state.locks[name] = LockState(name=name, shared=wanted.get(name, False), holders=holders)
        state.tokens = max(state.tokens, token)


def release(state: State, task: TaskUid, names: Iterable[str]) -> None:
    """Take the task off each name; a lock without holders is gone. Part of `evolve`."""
    for name in names:
        lock = state.locks.get(name)
        if lock is None or task not in lock.holders:
            continue
        holders = {holder: token for holder, token in lock.holders.items() if holder != task}
        if holders:
            state.locks[name] = replace(lock, holders=holders)
        else:
            del state.locks[name]
