"""`task-queue.json`: every task and where it stands, for people and scripts.

Owns the order: what runs, then what is queued in the order in which it will be dispatched, then what is not ready,
then what ended, newest first. One task a line. Pure. Results and prompts are left out: the log has them.
"""

from __future__ import annotations

from collections import Counter

from watchbill_coordination.codec.canonical import encode_canonical
from watchbill_coordination.core.scheduling import build_entry
from watchbill_coordination.core.specs import TaskUid
from watchbill_coordination.core.spending import task_usage
from watchbill_coordination.core.state import Phase, State, TaskState
from watchbill_coordination.projections.watermark import Watermark, build_file, format_time

MESSAGE_CHARACTERS = 200  #: of a task's message; the rest is in the log and in the object's status

Lines = dict[TaskUid, tuple[TaskState, bytes]]  #: encoded tasks by the value that they were encoded from


def build_task_queue(state: State, watermark: Watermark, lines: Lines | None = None) -> bytes:
    """Return the file. `lines` remembers encoded tasks from call to call, and never changes the result."""
    lines = {} if lines is None else lines
    for uid in lines.keys() - state.tasks.keys():
        del lines[uid]
    counts = Counter(str(task.phase) for task in state.tasks.values())
    return build_file(
        watermark,
        {"counts": {str(phase): counts[str(phase)] for phase in Phase}},
        {"tasks": [_encode_task(task, lines) for task in list_in_order(state)]},
    )


def list_in_order(state: State) -> list[TaskState]:
    """Return all tasks: running, queued in queue order, pending, ended."""
    return sorted(state.tasks.values(), key=_rank)


def _rank(task: TaskState) -> tuple[int, float, int, str]:
    if task.phase is Phase.RUNNING:
        return (0, task.started_at or 0.0, 0, task.uid)
    if task.phase is Phase.QUEUED:
        entry = build_entry(task)
        return (1, entry.key, entry.seq, task.uid)
    if task.phase is Phase.PENDING:
        return (2, task.submitted_at, 0, task.uid)
    return (3, -(task.finished_at or 0.0), -task.last_seq, task.uid)


def _encode_task(task: TaskState, lines: Lines) -> bytes:
    known = lines.get(task.uid)
    if known is not None and known[0] is task:
        return known[1]
    encoded = encode_canonical({name: value for name, value in _build_members(task).items() if value not in (None, "")})
    lines[task.uid] = (task, encoded)
    return encoded


def _build_members(task: TaskState) -> dict[str, object]:
    spec = task.spec
    return {
        "name": task.name,
        "uid": task.uid,
        "phase": str(task.phase),
        "reason": task.reason,
        "message": task.message[:MESSAGE_CHARACTERS],
        "priority": task.priority,
        "type": spec.task_type,
        "role": spec.role,
        "agent_ref": spec.agent_ref,
        "depends_on": list(spec.depends_on) or None,
        "suspended": task.suspended or None,
        "cancel_requested": task.cancel_requested or None,
        "agent": task.agent,
        "attempt": task.attempt,
        "retries": task.retries or None,
        "losses": task.losses or None,
        "give_backs": task.give_backs or None,
        "preferred": task.preferred,
        "cost_usd": task_usage(task).cost_usd or None,
        "parent": task.parent,
        "locks": dict(task.locks) or None,
        "exit_code": task.exit_code,
        "submitted": format_time(task.submitted_at),
        "queued": format_time(task.first_queued),
        "not_before": format_time(task.not_before),
        "started": format_time(task.started_at),
        "finished": format_time(task.finished_at),
        "seq": task.last_seq,
    }
