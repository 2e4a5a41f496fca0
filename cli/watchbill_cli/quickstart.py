"""The quickstart: a diamond of Tasks that searches a tree, reports on it, and has the report reviewed.

Owns which Tasks there are and how they hang together. Their names end in eight digits of the digest of input and
programs: an unchanged input has its result already, a changed one runs anew. The programs travel as shared context
like the input does, so that any agent image with a Python can run them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from watchbill_cli.archive import Archive
from watchbill_cli.cluster import API_VERSION

LABEL = "watchbill.dev/quickstart"


@dataclass(frozen=True, slots=True)
class Step:
    """One Task of the diamond."""

    name: str
    program: str  #: file among the quickstart's programs
    task_type: str
    priority: int = 500
    after: Sequence[str] = ()
    reads_input: bool = True


STEPS = (
    Step("inventory", "inventory.py", "search"),
    Step("functions", "functions.py", "analysis"),
    Step("imports", "imports.py", "analysis"),
    Step("markers", "markers.py", "search"),
    Step("duplicates", "duplicates.py", "pattern"),
    Step("report-code", "report.py", "implementation", 600, ("inventory", "functions", "markers"), False),
    Step("report-structure", "report.py", "implementation", 600, ("imports", "duplicates"), False),
    Step("review", "review.py", "architecture-review", 700, ("report-code", "report-structure")),
)


def suffix(source: Archive, programs: Archive) -> str:
    """Eight hex digits that stand for input and programs."""
    return hashlib.sha256(f"{source.digest} {programs.digest} command".encode()).hexdigest()[:8]


def build_tasks(source: Archive, programs: Archive) -> list[dict[str, Any]]:
    """The Tasks, ready to be applied."""
    end = suffix(source, programs)
    return [_build_task(step, end, source, programs) for step in STEPS]


def rows(tasks: Sequence[Mapping[str, Any]], end: str) -> list[Mapping[str, Any]]:
    """Those of `tasks` that belong to this run, in the diamond's order."""
    by_name = {task["metadata"]["name"]: task for task in tasks}
    names = [f"{step.name}-{end}" for step in STEPS]
    return [by_name[name] for name in names if name in by_name]


def _build_task(step: Step, end: str, source: Archive, programs: Archive) -> dict[str, Any]:
    line = f'python3 "$WATCHBILL_CONTEXT/{programs.context_path}/{step.program}"'
    if step.reads_input:
        line += f' "$WATCHBILL_CONTEXT/{source.context_path}"'
    spec: dict[str, Any] = {
        "type": step.task_type,
        "priority": step.priority,
        "timeoutSeconds": 300,
        "retryPolicy": {"maxRetries": 0},
        "context": [source.context_path, programs.context_path],
        "command": {"shell": line},
    }
    if step.after:
        spec["dependsOn"] = [f"{name}-{end}" for name in step.after]
    metadata = {"name": f"{step.name}-{end}", "labels": {LABEL: end}}
    return {"apiVersion": API_VERSION, "kind": "Task", "metadata": metadata, "spec": spec}
