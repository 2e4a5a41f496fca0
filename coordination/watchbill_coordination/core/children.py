"""Tasks that attempts submit, as their parents know them.

Owns the name of such a Task, and what the fold keeps of it: the order to create it (`State.children`) until the API
server has it or refused it, and the note about it in its parent's state until that is gone. Invariant: an order's
parent exists. No index depends on these notes, so they are replaced here without `upkeep`. Pure but for the fold.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping

from watchbill_coordination.core.copying import change
from watchbill_coordination.core.requests import KEPT_CHILDREN, MAX_ANSWER_TEXT, Child, clean_line
from watchbill_coordination.core.specs import TaskUid
from watchbill_coordination.core.state import Phase, State, TaskState

MAX_WISH = 40  #: characters of a Task's name that its submitter chooses
DELETED = "Deleted"


def name_child(parent: TaskUid, attempt: int, request: int, wish: str) -> str:
    """The name of a submitted Task: the same for the same request, and another one for any other."""
    cleaned = re.sub(r"[^a-z0-9]+", "-", wish[: 4 * MAX_WISH].lower()).strip("-")[:MAX_WISH].strip("-")
    digest = hashlib.sha256(f"{parent}/{attempt}/{request}".encode("utf-8", "replace")).hexdigest()
    return f"{cleaned or 'task'}-{digest[:8]}"


def list_submitted(task: TaskState, attempt: int) -> list[str]:
    """The names of the Tasks that this attempt submitted and that were not refused."""
    return [name for name, child in task.children.items() if child.attempt == attempt]


# What follows changes notes only, and is part of `evolve`.


def put_children(state: State, parent: TaskUid, children: Mapping[str, Child]) -> None:
    """Set what a Task knows of those that it submitted; the oldest are forgotten beyond the limit."""
    task = state.tasks.get(parent)
    if task is None:
        return
    kept = dict(children)
    while len(kept) > KEPT_CHILDREN:
        del kept[next(iter(kept))]
    state.tasks[parent] = change(task, children=kept)


def note_child_end(state: State, task: TaskState, phase: str, seq: int) -> None:
    """A Task ended or is gone: if another one submitted it and is still there, it knows that now."""
    parent = state.tasks.get(TaskUid(task.parent)) if task.parent else None
    child = parent.children.get(task.name) if parent is not None else None
    if parent is None or child is None or child.uid != task.uid:
        return
    ended = change(child, phase=phase, text=describe_end(task, phase), ended_seq=seq)
    put_children(state, parent.uid, {**parent.children, task.name: ended})


def describe_end(task: TaskState, phase: str) -> str:
    """Why a submitted Task ended as it did, for a model."""
    if phase == DELETED:
        return "it was deleted before its end"
    if phase == Phase.SUCCEEDED:
        return ""
    return clean_line(f"{task.reason}: {task.message}" if task.message else task.reason, MAX_ANSWER_TEXT)


def drop_orders(state: State, parent: TaskUid) -> None:
    """A Task is gone: what its attempts asked for and is not created yet will not be."""
    for name in [name for name, order in state.children.items() if order.parent == parent]:
        del state.children[name]
