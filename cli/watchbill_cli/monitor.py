"""`watchbill monitor`: agents and tasks as they change, from the log alone.

Owns the picture: a table that is drawn anew on a terminal, plain lines where it is piped. Reads like any follower of
the log, so it works without the API server and shows nothing that is not durable.
"""

from __future__ import annotations

import json
import sys
import time
from argparse import Namespace
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from watchbill_cli.home import default_home, volume_root
from watchbill_cli.tables import render_table
from watchbill_coordination.core.evolve import evolve, fold
from watchbill_coordination.core.state import Phase, ReplicaPhase, State, TaskState
from watchbill_coordination.core.waiting import explain_wait
from watchbill_coordination.storage.following import follow_log
from watchbill_coordination.storage.layout import Layout
from watchbill_coordination.storage.reading import read_log

SHOWN_TASKS = 15
SUMMARY_SECONDS = 1.0
CLEAR = "\x1b[H\x1b[2J"


def run_monitor(arguments: Namespace) -> int:
    """Show the state once, or until interrupted."""
    layout = Layout(volume_root(default_home()))
    if arguments.once:
        state = fold(read_log(layout))
        print(json.dumps(to_members(state), indent=1) if arguments.output == "json" else render(state, time.time()))
        return 0
    if arguments.output == "json":
        watch(layout, LinePainter(as_json=True))
    else:
        watch(layout, ScreenPainter() if sys.stdout.isatty() else LinePainter())
    return 0


def watch(layout: Layout, painter: ScreenPainter | LinePainter) -> None:
    """Follow the log and have the painter look at the state between its records."""
    state = State()

    def look() -> bool:
        painter.paint(state, time.time())
        return False

    for recorded in follow_log(layout, is_ended=look):
        evolve(state, recorded)


class ScreenPainter:
    """Draws the table anew on a terminal, once a second or when the log went on."""

    def __init__(self) -> None:
        self._seq = -1
        self._painted = 0.0

    def paint(self, state: State, now: float) -> None:
        """Draw, if there is something new to see."""
        if state.seq == self._seq and now - self._painted < SUMMARY_SECONDS:
            return
        self._seq, self._painted = state.seq, now
        sys.stdout.write(CLEAR + render(state, now) + "\n")
        sys.stdout.flush()


class LinePainter:
    """Says in one line where things stand, when that changed, at most once a second."""

    def __init__(self, *, as_json: bool = False) -> None:
        self._as_json = as_json
        self._said = ""
        self._painted = 0.0

    def paint(self, state: State, now: float) -> None:
        """Print a line, if it says something new."""
        if not state.seq or now - self._painted < SUMMARY_SECONDS:
            return
        said = json.dumps(to_members(state)) if self._as_json else summary(state)
        if said != self._said:
            self._said, self._painted = said, now
            at = "" if self._as_json else datetime.now(UTC).strftime("%H:%M:%S  ")
            print(at + said, flush=True)


def summary(state: State) -> str:
    """Seq, tasks by phase, agents ready and busy, in one line."""
    phases = Counter(task.phase.value for task in state.tasks.values())
    tasks = ", ".join(f"{phases[phase.value]} {phase.value.lower()}" for phase in Phase if phases[phase.value])
    agents = ", ".join(f"{row[0]} {row[3]}/{row[2]} ready {row[4]} busy" for row in agent_rows(state))
    return f"seq {state.seq}; tasks: {tasks or 'none'}; agents: {agents or 'none'}"


def agent_rows(state: State) -> list[list[str]]:
    """Name, role, wanted, ready, busy, level of each pool."""
    rows = []
    for name, agent in sorted(state.agents.items()):
        replicas = [replica for replica in state.replicas.values() if replica.agent == name]
        ready = sum(replica.phase is ReplicaPhase.READY for replica in replicas)
        busy = sum(bool(replica.attempts) for replica in replicas)
        rows.append([name, agent.spec.role, str(agent.spec.replicas), str(ready), str(busy), agent.level.value])
    return rows


def task_rows(state: State, now: float) -> list[list[str]]:
    """The tasks that matter now: running, then waiting by their place, then the newest that ended."""
    order = {Phase.RUNNING: 0, Phase.QUEUED: 1, Phase.PENDING: 2}
    tasks = sorted(state.tasks.values(), key=lambda task: (order.get(task.phase, 3), -task.last_seq))
    return [_task_row(state, task, now) for task in tasks[:SHOWN_TASKS]]


def render(state: State, now: float) -> str:
    """The whole picture as text."""
    parts = [summary(state), ""]
    parts += [render_table(("AGENT", "ROLE", "WANTED", "READY", "BUSY", "LEVEL"), agent_rows(state)), ""]
    parts.append(render_table(("TASK", "PHASE", "AGENT", "ATTEMPT", "PRIORITY", "WHY"), task_rows(state, now)))
    if len(state.tasks) > SHOWN_TASKS:
        parts.append(f"and {len(state.tasks) - SHOWN_TASKS} more")
    return "\n".join(parts)


def to_members(state: State) -> dict[str, Any]:
    """The same facts for a script."""
    keys: Sequence[str] = ("name", "role", "wanted", "ready", "busy", "level")
    agents = [dict(zip(keys, row, strict=True)) for row in agent_rows(state)]
    phases = Counter(task.phase.value for task in state.tasks.values())
    running = sorted(task.name for task in state.tasks.values() if task.phase is Phase.RUNNING)
    numbers = [{**row, **{key: int(row[key]) for key in ("wanted", "ready", "busy")}} for row in agents]
    return {"seq": state.seq, "tasks": dict(sorted(phases.items())), "running": running, "agents": numbers}


def _task_row(state: State, task: TaskState, now: float) -> list[str]:
    why = task.message or task.reason
    if task.phase in (Phase.PENDING, Phase.QUEUED):
        wait = explain_wait(state, task, now)
        why = (wait.message or wait.reason) if wait else why
    return [task.name, task.phase.value, task.agent or "-", str(task.attempt), str(task.priority), why]
