"""Many small tasks, and the proof that each was done once: by the log, by what it left on the disk, by its status."""

from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path

from support.system import System, shell, task
from support.waiting import wait_for
from watchbill_coordination.core.events import TaskSucceeded
from watchbill_coordination.core.evolve import fold
from watchbill_coordination.core.state import State
from watchbill_coordination.storage.layout import Layout
from watchbill_coordination.storage.reading import read_log
from watchbill_operator.task_status import build_task_status, is_same_status

MARK = "done-here"  #: in the folder of the task's work, beside those of its attempts: one line a run of its command
COMMAND = f"sleep 0.05; echo $$ >> ../{MARK}"


def create(system: System, count: int, prefix: str = "t", *, first: str = "") -> list[str]:
    """Create so many Tasks, each of which marks every run of its command, after `first`; return their names."""
    names = [f"{prefix}{number}" for number in range(count)]
    items = [task(name, command=shell(first + COMMAND)) for name in names]
    body = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
    system.kubectl("create", "-f", "-", stdin=body)
    return names


def load_state(system: System) -> State:
    """What the log says."""
    return fold(read_log(Layout(system.root)))


def successes(system: System) -> Counter[str]:
    """How often each task succeeded, by name."""
    events = [recorded.event for recorded in read_log(Layout(system.root))]
    names = {uid: known.name for uid, known in fold(read_log(Layout(system.root))).tasks.items()}
    return Counter(names[event.task] for event in events if isinstance(event, TaskSucceeded))


def runs(system: System) -> Counter[str]:
    """How often each task's command ran to its end, by name."""
    state = load_state(system)
    marks: Counter[str] = Counter()
    for path in Path(system.root).glob(f"agent-workspaces/*/work/*/{MARK}"):
        marks[next(known.name for uid, known in state.tasks.items() if uid == path.parent.name)] += len(
            path.read_text().splitlines()
        )
    return marks


def wait_for_successes(system: System, count: int, seconds: float = 60.0) -> None:
    """Wait until at least so many tasks have succeeded."""
    wait_for(lambda: successes(system).total() >= count, f"{count} tasks have succeeded", seconds, every=0.1)


def find_wrong_statuses(system: System) -> list[str]:
    """Names of the Tasks whose `.status` is not what the log says."""
    state = load_state(system)
    known = {uid: build_task_status(state, told, time.time()) for uid, told in state.tasks.items()}
    return [
        item["metadata"]["name"]
        for item in system.list("tasks")
        if not is_same_status(item.get("status") or {}, known.get(item["metadata"]["uid"], {}))
    ]


def check_done_once(system: System, names: list[str], seconds: float = 60.0) -> None:
    """Fail unless every one of these tasks succeeds once, ran once, and says so in its status, and the log is whole."""
    wait_for_successes(system, len(names), seconds)
    wait_for(lambda: not find_wrong_statuses(system), "every status is what the log says", 30)
    once = dict.fromkeys(names, 1)
    assert dict(successes(system)) == once
    assert dict(runs(system)) == once
    assert {item["status"]["phase"] for item in system.list("tasks")} == {"Succeeded"}
    done = system.watchbill("verify")
    assert done.code == 0, done.out + done.err
