"""What follows from the state about one task, without anybody asking.

Owns readiness: when a pending task is bound to its dependencies, queued, or failed with them, and when a queued one is
held again. `evolve` asks after each change whether something follows, `decide_due` asks what; both get one answer.
"""

from __future__ import annotations

from watchbill_coordination.core.dependencies import describe_cycle, judge, plan_bindings
from watchbill_coordination.core.events import Event, TaskFailed, TaskHeld, TaskQueued
from watchbill_coordination.core.state import Phase, State, TaskState


def follow_up(state: State, task: TaskState, now: float) -> list[Event]:
    """The events that follow at `now`; none for a task that runs, is finished, or just waits."""
    if task.phase is Phase.QUEUED:
        reason = hold_reason(state, task)
        return [TaskHeld(task=task.uid, reason=reason)] if reason else []
    if task.phase is not Phase.PENDING:
        return []
    bindings, cycle = plan_bindings(state, task) if task.spec.depends_on else ([], None)
    if cycle is not None:
        return [TaskFailed(task=task.uid, reason="DependencyCycle", message=describe_cycle(state, cycle))]
    verdict = judge(state, task, {**task.bound, **{binding.name: binding.uid for binding in bindings}})
    if verdict.reason:
        return [*bindings, TaskFailed(task=task.uid, reason=verdict.reason, message=verdict.message)]
    if not verdict.satisfied or task.not_before > now or hold_reason(state, task):
        return [*bindings]
    return [*bindings, TaskQueued(task=task.uid)]


def hold_reason(state: State, task: TaskState) -> str:
    """Why a task that waits for nothing else may not be queued, or nothing."""
    if task.suspended:
        return "Suspended"
    if any(path not in state.context for path in task.spec.context):
        return "ContextMissing"
    return ""
