"""`project-state.md`: what runs, what waits, what is done, for agents and people to read.

Lies in shared-context, where every agent reads it, so it holds nothing that an agent wrote: names, phases and reasons
of ours alone, no messages and no results. Each section is bounded. Pure.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable

from watchbill_coordination.codec.canonical import encode_canonical
from watchbill_coordination.core.state import AgentState, Phase, ReplicaPhase, State, TaskState
from watchbill_coordination.projections.task_queue import list_in_order
from watchbill_coordination.projections.watermark import VERSION, Watermark, format_time

MAX_LISTED = 50  #: tasks a section

_REASON = re.compile(r"[A-Za-z]{1,40}")


def build_project_state(state: State, watermark: Watermark) -> bytes:
    """Return the file. Its first line is the watermark, as a comment."""
    frame = {"ep": watermark.ep, "log_id": watermark.log_id, "v": VERSION}
    frame["watermark"] = {"h": watermark.h, "seq": watermark.seq}
    tasks = list_in_order(state)
    by_phase = {phase: [task for task in tasks if task.phase is phase] for phase in Phase}
    lines = [f"<!-- {encode_canonical(frame).decode()} -->", "# Project state", ""]
    lines.append(f"Written by Watchbill as of {format_time(state.ts / 1e6) or 'the beginning'}; do not edit.")
    lines += ["", *_list_counts(tasks)]
    lines += _list_section("Running", by_phase[Phase.RUNNING], _tell_running)
    lines += _list_section("Waiting for an agent, in this order", by_phase[Phase.QUEUED], _tell_queued)
    lines += _list_section("Blocked", by_phase[Phase.PENDING], lambda task: _tell_pending(task, state))
    lines += _list_section("Done", by_phase[Phase.SUCCEEDED], _tell_ended)
    lines += _list_section("Failed or cancelled", by_phase[Phase.FAILED] + by_phase[Phase.CANCELLED], _tell_ended)
    lines += _list_agents(state)
    return "\n".join(lines).encode(errors="replace") + b"\n"


def _list_counts(tasks: list[TaskState]) -> list[str]:
    counts = Counter(task.phase for task in tasks)
    return [", ".join(f"{counts[phase]} {phase.lower()}" for phase in Phase) + "."]


def _list_section(title: str, tasks: list[TaskState], tell: Callable[[TaskState], str]) -> list[str]:
    lines = ["", f"## {title}", ""]
    lines += [f"- `{task.name}`{tell(task)}" for task in tasks[:MAX_LISTED]]
    if len(tasks) > MAX_LISTED:
        lines.append(f"- and {len(tasks) - MAX_LISTED} more")
    return lines if tasks else [*lines, "- none"]


def _tell_running(task: TaskState) -> str:
    return f" on {task.agent}, attempt {task.attempt}, since {format_time(task.started_at)}"


def _tell_queued(task: TaskState) -> str:
    return f", priority {task.priority}, since {format_time(task.first_queued)}"


def _tell_pending(task: TaskState, state: State) -> str:
    if task.suspended:
        return ": suspended"
    awaited = [f"`{name}`" for name in task.spec.depends_on if not _is_satisfied(task, name, state)]
    if awaited:
        return f": waits for {', '.join(awaited[:MAX_LISTED])}"
    if task.not_before > task.changed_at:
        return f": tried again not before {format_time(task.not_before)}"
    return _tell_reason(task)


def _is_satisfied(task: TaskState, name: str, state: State) -> bool:
    uid = task.bound.get(name)
    if uid is None:
        return False
    dependency = state.tasks.get(uid)
    phase = dependency.phase if dependency is not None else state.outcomes.get(uid)
    return phase is Phase.SUCCEEDED


def _tell_ended(task: TaskState) -> str:
    reason = "" if task.phase is Phase.SUCCEEDED else _tell_reason(task)
    results = f", results in `results/{task.uid}/`" if task.phase is Phase.SUCCEEDED else ""
    return f", {task.phase.lower()} at {format_time(task.finished_at)}{results}{reason}"


def _tell_reason(task: TaskState) -> str:
    return f": {task.reason}" if _REASON.fullmatch(task.reason) else ""


def _list_agents(state: State) -> list[str]:
    lines = ["", "## Agents", ""]
    for agent in sorted(state.agents.values(), key=lambda agent: agent.name):
        members = [replica for replica in state.replicas.values() if replica.agent == agent.name]
        ready = sum(replica.phase is ReplicaPhase.READY for replica in members)
        busy = sum(bool(replica.attempts) for replica in members if replica.phase.is_live)
        lines.append(
            f"- `{agent.name}` ({agent.spec.role}): {ready} of {agent.spec.replicas} ready, {busy} busy, "
            f"level {agent.level}{_tell_parked(agent)}"
        )
    return lines if state.agents else [*lines, "- none"]


def _tell_parked(agent: AgentState) -> str:
    reason = agent.parked_reason if _REASON.fullmatch(agent.parked_reason) else "no reason"
    return f", no tasks until {format_time(agent.parked_until)}: {reason}" if agent.is_parked else ""
