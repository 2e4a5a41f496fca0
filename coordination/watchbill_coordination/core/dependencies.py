"""Who waits for whose end.

Owns three rules: a name in `dependsOn` is bound to a uid as soon as both exist and then never changes; a bound edge
that closes a cycle fails the task that closed it; a dependency that ended otherwise than well fails its dependants.
Invariant: since every edge is walked before it is bound, bound edges never form a cycle.
"""

from __future__ import annotations

from dataclasses import dataclass

from watchbill_coordination.core.events import DependencyBound
from watchbill_coordination.core.specs import TaskUid
from watchbill_coordination.core.state import Phase, State, TaskState

SHOWN = 20  #: members of a cycle that a message names


@dataclass(frozen=True, slots=True)
class Verdict:
    """What its dependencies mean for a task: it fails for `reason`, or it is satisfied, or (neither) it waits."""

    satisfied: bool = False
    reason: str = ""
    message: str = ""


def find_cycle(state: State, waiter: TaskUid, awaited: TaskUid) -> tuple[TaskUid, ...] | None:
    """Return the cycle that the edge `waiter` → `awaited` would close, in waiting order, or None.

    Iterative, since a chain of 10,000 tasks is legal. A task that nobody waits for cannot be on a cycle, so the
    ordinary order of creation (dependencies first) costs one look-up.
    """
    if waiter == awaited:
        return (waiter,)
    if waiter not in state.index.dependents:
        return None
    came_from: dict[TaskUid, TaskUid] = {awaited: waiter}
    open_ends = [awaited]
    while open_ends:
        task = open_ends.pop()
        if task == waiter:
            return path_back(came_from, waiter)
        known = state.tasks.get(task)
        for further in known.bound.values() if known is not None and not known.phase.is_terminal else ():
            if further not in came_from:
                came_from[further] = task
                open_ends.append(further)
    return None


def path_back(came_from: dict[TaskUid, TaskUid], waiter: TaskUid) -> tuple[TaskUid, ...]:
    """Follow `came_from` from the closing end to the start, in waiting order."""
    path = [came_from[waiter]]
    while path[-1] != waiter:
        path.append(came_from[path[-1]])
    return tuple(reversed(path))


def plan_bindings(state: State, task: TaskState) -> tuple[list[DependencyBound], tuple[TaskUid, ...] | None]:
    """Return the names that can be bound now, and the first cycle that one of them would close."""
    bindings: list[DependencyBound] = []
    for name in dict.fromkeys(task.spec.depends_on):
        awaited = state.names.get(name)
        if name in task.bound or awaited is None:
            continue
        cycle = find_cycle(state, task.uid, awaited)
        if cycle is not None:
            return [], cycle
        bindings.append(DependencyBound(task=task.uid, name=name, uid=awaited))
    return bindings, None


def judge(state: State, task: TaskState, bound: dict[str, TaskUid]) -> Verdict:
    """Say what the dependencies mean for a task whose names are bound like that."""
    satisfied = True
    for name in task.spec.depends_on:
        uid = bound.get(name)
        if uid is None:
            satisfied = False
            continue
        known = state.tasks.get(uid)
        phase = known.phase if known is not None else state.outcomes.get(uid)
        if phase in (Phase.FAILED, Phase.CANCELLED):
            return Verdict(reason="DependencyFailed", message=f"dependency {name} is {phase}")
        if known is None and phase is not Phase.SUCCEEDED:
            return Verdict(reason="DependencyDeleted", message=f"dependency {name} was deleted before its end")
        satisfied = satisfied and phase is Phase.SUCCEEDED
    return Verdict(satisfied=satisfied)


def describe_cycle(state: State, cycle: tuple[TaskUid, ...]) -> str:
    """Name the members of a cycle in waiting order, the first one again at the end."""
    names = [state.tasks[uid].name for uid in cycle]
    if len(names) > SHOWN:
        names = [*names[:SHOWN], f"… {len(names) - SHOWN} more"]
    return "these wait for each other: " + " → ".join([*names, state.tasks[cycle[0]].name])
