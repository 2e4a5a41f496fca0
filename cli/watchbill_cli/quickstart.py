"""The quickstarts: diamonds of Tasks that search a folder, report on it, and have the report reviewed.

Owns which Tasks there are and how they hang together: one diamond of commands, one of prompts for Claude Code. Their
names end in eight digits of the digest of all that goes in: an unchanged input has its result already, a changed one
runs anew. The programs travel as shared context like the input does, so that any agent image with a Python can run
them; the prompts stand in the Tasks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from watchbill_cli.archive import Archive, pack
from watchbill_cli.cluster import API_VERSION
from watchbill_cli.home import data_file

LABEL = "watchbill.dev/quickstart"
COMMAND = "command"
REVIEW: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "verdict": {"type": "string", "enum": ["approve", "revise"]},
        "summary": {"type": "string"},
        "findings": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"task": {"type": "string"}, "problem": {"type": "string"}},
                "required": ["task", "problem"],
            },
        },
    },
    "required": ["verdict", "summary", "findings"],
}


@dataclass(frozen=True, slots=True)
class Step:
    """One Task of a diamond."""

    name: str
    work: str  #: file with its program or its prompt
    task_type: str
    priority: int = 500
    after: Sequence[str] = ()
    reads_input: bool = True
    schema: Mapping[str, Any] | None = None  #: of its result


COMMANDS = (
    Step("inventory", "inventory.py", "search"),
    Step("functions", "functions.py", "analysis"),
    Step("imports", "imports.py", "analysis"),
    Step("markers", "markers.py", "search"),
    Step("duplicates", "duplicates.py", "pattern"),
    Step("report-code", "report.py", "implementation", 600, ("inventory", "functions", "markers"), False),
    Step("report-structure", "report.py", "implementation", 600, ("imports", "duplicates"), False),
    Step("review", "review.py", "architecture-review", 700, ("report-code", "report-structure")),
)
PROMPTS = (
    Step("overview", "overview.md", "search"),
    Step("definitions", "definitions.md", "analysis"),
    Step("open-ends", "markers.md", "search"),
    Step("tally", "tally.md", "implementation", 600, ("overview", "definitions", "open-ends")),
    Step(
        "verdict",
        "review.md",
        "architecture-review",
        700,
        ("overview", "definitions", "open-ends", "tally"),
        False,
        REVIEW,
    ),
)


@dataclass(frozen=True, slots=True)
class Quickstart:
    """One run: a folder, what is done with it, and by whom."""

    source: Archive
    work: Archive  #: the programs, or the prompts
    kind: str = COMMAND  #: `command`, or the name of what answers the prompts

    @property
    def steps(self) -> Sequence[Step]:
        """Its Tasks, those first that come first."""
        return COMMANDS if self.kind == COMMAND else PROMPTS

    @property
    def suffix(self) -> str:
        """Eight hex digits that stand for all that goes in."""
        return hashlib.sha256(f"{self.source.digest} {self.work.digest} {self.kind}".encode()).hexdigest()[:8]

    @property
    def archives(self) -> Sequence[Archive]:
        """What the Tasks read from the shared context."""
        return (self.source, self.work) if self.kind == COMMAND else (self.source,)

    def build_tasks(self) -> list[dict[str, Any]]:
        """The Tasks, ready to be applied."""
        return [self._build_task(step) for step in self.steps]

    def rows(self, tasks: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        """Those of `tasks` that belong to this run, in the diamond's order."""
        by_name = {task["metadata"]["name"]: task for task in tasks}
        names = [f"{step.name}-{self.suffix}" for step in self.steps]
        return [by_name[name] for name in names if name in by_name]

    def find_failed(self, tasks: Sequence[Mapping[str, Any]]) -> list[str]:
        """Names of those of this run that ended without a result."""
        ended = [task for task in self.rows(tasks) if _phase(task) in ("Failed", "Cancelled")]
        return [task["metadata"]["name"] for task in ended]

    def find_session(self, tasks: Sequence[Mapping[str, Any]]) -> str:
        """The Task whose transcript says most: the tally or, where it never began, the first that did; else empty."""
        begun = [] if self.kind == COMMAND else [task for task in self.rows(tasks) if _has_begun(task)]
        names = [task["metadata"]["name"] for task in begun]
        tally = f"tally-{self.suffix}"
        return tally if tally in names else next(iter(names), "")

    def _build_task(self, step: Step) -> dict[str, Any]:
        spec = self._build_command(step) if self.kind == COMMAND else self._build_prompt(step)
        spec |= {"type": step.task_type, "priority": step.priority}
        if step.after:
            spec["dependsOn"] = [f"{name}-{self.suffix}" for name in step.after]
        metadata = {"name": f"{step.name}-{self.suffix}", "labels": {LABEL: self.suffix}}
        return {"apiVersion": API_VERSION, "kind": "Task", "metadata": metadata, "spec": spec}

    def _build_command(self, step: Step) -> dict[str, Any]:
        line = f'python3 "$WATCHBILL_CONTEXT/{self.work.context_path}/{step.work}"'
        if step.reads_input:
            line += f' "$WATCHBILL_CONTEXT/{self.source.context_path}"'
        return {
            "timeoutSeconds": 300,
            "retryPolicy": {"maxRetries": 0},
            "context": [archive.context_path for archive in self.archives],
            "command": {"shell": line},
        }

    def _build_prompt(self, step: Step) -> dict[str, Any]:
        spec: dict[str, Any] = {
            "timeoutSeconds": 900,
            "retryPolicy": {"maxRetries": 1, "preferSameAgentSeconds": 30},
            "prompt": data_file(f"samples/prompts/{step.work}").read_text(encoding="utf-8"),
        }
        if step.reads_input:
            spec["context"] = [self.source.context_path]
        return spec | ({"outputSchema": step.schema} if step.schema else {})


def _phase(task: Mapping[str, Any]) -> str:
    return str((task.get("status") or {}).get("phase", ""))


def _has_begun(task: Mapping[str, Any]) -> bool:
    return bool((task.get("status") or {}).get("attempts"))


def load_quickstart(source: Archive, kind: str) -> Quickstart:
    """The quickstart of this kind for a folder that was packed."""
    folder = "samples/quickstart" if kind == COMMAND else "samples/prompts"
    return Quickstart(source, pack(data_file(folder)), kind)
