"""What users do with Task objects: create, change, cancel, suspend, delete.

Owns the answers to a Task object that is there or is gone. A Task is its uid: a name seen again under another uid is
another task, and its predecessor's object must be gone. Suspending takes effect on tasks that wait; an attempt that
runs goes on. Cancelling is for good.
"""

from __future__ import annotations

from watchbill_coordination.core.commands import Rejected, RemoveTask, SubmitTask
from watchbill_coordination.core.decide_children import settle_by_sight
from watchbill_coordination.core.events import (
    Event,
    TaskAmended,
    TaskCancelled,
    TaskCancelRequested,
    TaskDeleted,
    TaskSubmitted,
)
from watchbill_coordination.core.said import UID
from watchbill_coordination.core.specs import TaskSpec, TaskUid, parse_task_spec
from watchbill_coordination.core.state import Phase, State, TaskState


def decide_submit(command: SubmitTask, state: State) -> list[Event] | Rejected:
    """A Task object is there: new, changed, or seen before."""
    spec = parse_task_spec(command.spec)
    task = state.tasks.get(command.task)
    if task is not None:
        return decide_change(command, task, spec)
    if command.task in state.deleted:
        return Rejected("Deleted")
    events: list[Event] = []
    namesake = state.names.get(command.name)
    if namesake is not None:
        events.append(TaskDeleted(task=namesake))
    events.append(build_submitted(command, state))
    events += settle_by_sight(command, state)
    if spec.cancel:
        events.append(TaskCancelled(task=command.task, message="cancelled before it began"))
    return events


def build_submitted(command: SubmitTask, state: State) -> TaskSubmitted:
    """A new Task, with its place below the one whose attempt asked for it; an annotation that is no uid is ignored."""
    parent = command.parent if UID.fullmatch(command.parent) else ""
    known = state.tasks.get(TaskUid(parent))
    above = known.depth if known is not None else 0
    return TaskSubmitted(
        task=command.task,
        name=command.name,
        spec=command.spec,
        generation=command.generation,
        parent=parent,
        depth=above + 1 if parent else 0,
    )


def decide_change(command: SubmitTask, task: TaskState, spec: TaskSpec) -> list[Event] | Rejected:
    """A Task that is known: only priority, suspend and cancel can have changed."""
    if command.generation < task.generation:
        return Rejected("OutdatedGeneration")
    events: list[Event] = []
    wished = (command.generation, spec.priority, spec.suspend)
    if wished != (task.generation, task.priority, task.suspended):
        events.append(
            TaskAmended(task=task.uid, priority=spec.priority, suspend=spec.suspend, generation=command.generation)
        )
    if spec.cancel and not task.cancel_requested and not task.phase.is_terminal:
        running = task.phase is Phase.RUNNING
        end = TaskCancelRequested(task=task.uid) if running else TaskCancelled(task=task.uid, message=describe(task))
        events.append(end)
    return events


def decide_remove(command: RemoveTask, state: State) -> list[Event]:
    """The Task object is gone."""
    return [TaskDeleted(task=command.task)] if command.task in state.tasks else []


def describe(task: TaskState) -> str:
    """When a waiting task was cancelled."""
    return "cancelled while it waited" if task.attempt == 0 else f"cancelled before attempt {task.attempt + 1}"
