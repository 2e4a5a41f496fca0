"""What the pod tells the agent process, parsed once.

Owns the names of the environment variables that start an agent. Invariant: settings are whole and of the right types
or `SettingsError` says in one sentence which variable is wrong. Pure: reads the mapping it is given and no file.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from watchbill_agent.claude.settings import ClaudeSettings, Invalid, parse_claude_settings
from watchbill_coordination.core.specs import ReplicaName

MAX_SLOTS = 64  #: attempts that one agent process runs side by side
MAX_GRACE_SECONDS = 300.0


class SettingsError(Exception):
    """The environment cannot start an agent; starting again will not help."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The agent's environment. Folders are absolute."""

    replica: ReplicaName
    agent: str  #: name of the pool
    role: str
    model: str
    pod_uid: str
    slots: int
    inbox: Path
    outbox: Path
    work: Path
    state: Path
    context: Path  #: shared-context, read-only
    command: Mapping[str, Any] = field(default_factory=dict)  #: program of tasks that name none: args | shell
    grace_seconds: float = 5.0  #: between SIGTERM and SIGKILL
    claude: ClaudeSettings | None = None  #: tasks are sessions of Claude Code; None: they are commands
    sockets: Path | None = None  #: where the broker listens, one socket an attempt
    notify: str = "inotify"  #: or poll, where changes of other hosts are not notified
    log_level: str = "INFO"


def parse_settings(environment: Mapping[str, str]) -> Settings:
    """Read the environment of an agent process. Raises SettingsError."""
    replica = _required(environment, "WATCHBILL_REPLICA")
    command = _parse_command(environment.get("WATCHBILL_COMMAND") or "{}")
    return Settings(
        replica=ReplicaName(replica),
        agent=environment.get("WATCHBILL_AGENT") or replica.rpartition("-")[0] or replica,
        role=environment.get("WATCHBILL_ROLE", ""),
        model=environment.get("WATCHBILL_MODEL", ""),
        pod_uid=environment.get("WATCHBILL_POD_UID") or "local",
        slots=_parse_slots(environment.get("WATCHBILL_SLOTS") or "1"),
        inbox=_parse_folder(environment, "WATCHBILL_INBOX"),
        outbox=_parse_folder(environment, "WATCHBILL_OUTBOX"),
        work=_parse_folder(environment, "WATCHBILL_WORK"),
        state=_parse_folder(environment, "WATCHBILL_STATE"),
        context=_parse_folder(environment, "WATCHBILL_CONTEXT"),
        command=command,
        grace_seconds=_parse_grace(command.get("graceSeconds", 5)),
        claude=(claude := _parse_claude(environment)),
        sockets=_parse_folder(environment, "WATCHBILL_SOCKETS") if claude and claude.broker else None,
        notify="poll" if environment.get("WATCHBILL_NOTIFY") == "poll" else "inotify",
        log_level=(environment.get("WATCHBILL_LOG_LEVEL") or "INFO").upper(),
    )


def _required(environment: Mapping[str, str], name: str) -> str:
    value = environment.get(name, "")
    if not value:
        raise SettingsError(f"{name} is not set")
    return value


def _parse_folder(environment: Mapping[str, str], name: str) -> Path:
    path = Path(_required(environment, name))
    if not path.is_absolute():
        raise SettingsError(f"{name} is {str(path)!r}, which is not an absolute path")
    return path


def _parse_slots(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= MAX_SLOTS:
        raise SettingsError(f"WATCHBILL_SLOTS is {text!r}, not a number from 1 to {MAX_SLOTS}")
    return int(text)


def _parse_claude(environment: Mapping[str, str]) -> ClaudeSettings | None:
    runner = environment.get("WATCHBILL_RUNNER") or "command"
    if runner == "command":
        return None
    if runner != "claude":
        raise SettingsError(f"WATCHBILL_RUNNER is {runner!r}; known are command, claude")
    try:
        return parse_claude_settings(_join_parts(environment, "WATCHBILL_CLAUDE"))
    except Invalid as error:
        raise SettingsError(str(error)) from None


def _join_parts(environment: Mapping[str, str], name: str) -> str:
    """A text that goes on in NAME_1, NAME_2 and so on, since the kernel bounds one variable."""
    more = itertools.takewhile(lambda key: key in environment, (f"{name}_{number}" for number in itertools.count(1)))
    return _required(environment, name) + "".join(environment[key] for key in more)


def _parse_command(text: str) -> Mapping[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise SettingsError(f"WATCHBILL_COMMAND is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise SettingsError("WATCHBILL_COMMAND is not a JSON object")
    return value


def _parse_grace(value: object) -> float:
    if not isinstance(value, int | float) or not 0 <= value <= MAX_GRACE_SECONDS:
        raise SettingsError(f"graceSeconds in WATCHBILL_COMMAND is {value!r}, not 0 to {MAX_GRACE_SECONDS:.0f}")
    return float(value)
