"""The agent's own folders: attempt directories, and the state folder at the start of a life.

Owns what lies below work/ and which environment a command gets. Invariant: every attempt begins in a folder that was
empty a moment before, and the names in its environment that begin with WATCHBILL_ are ours. Never touches the
mailboxes; removes only below work/ and state/, and never follows a link out of it.
"""

from __future__ import annotations

import json
import logging
import os
import re
import stat
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from watchbill_agent.exchange import Exchange
from watchbill_agent.runners import Order
from watchbill_agent.settings import Settings
from watchbill_agent.tree_removal import remove_tree
from watchbill_coordination.codec.messages import is_task_uid
from watchbill_coordination.core.messages import Assign, Finished
from watchbill_coordination.core.specs import TaskUid
from watchbill_coordination.storage import hostile
from watchbill_coordination.storage.atomic import TEMPORARY
from watchbill_coordination.storage.layout import TRANSCRIPTS, work_directory

PROMPT, STDIN, RESULT, OUTPUT = ".prompt", ".stdin", "result", "stdout"
MAX_SYNCED = 1000  #: files of a result that are synced; a result with more is refused anyway
MAX_SYNCED_DEPTH = 16  #: folders in folders, the same

_TRANSCRIPT = re.compile(r"(?P<task>.+)-[0-9]+\.jsonl")  #: as `transcript_file` names it

logger = logging.getLogger(__name__)


def clear_state(state: Path) -> None:
    """Remove from the state folder what is no plain file, or half of one: commands can write there. Raises OSError.

    The folder of transcripts stays, if it is a folder and no link to one; in it too plain files alone.
    """
    transcripts = state / TRANSCRIPTS
    keeps_transcripts = transcripts.is_dir() and not transcripts.is_symlink()
    _remove_odd(state, kept=TRANSCRIPTS if keeps_transcripts else "")
    if keeps_transcripts:
        with suppress(OSError):  # closed to us by a command: then no session can write there, and it says so
            _remove_odd(transcripts)


def build_base_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return what commands inherit: all but what is meant for the agent itself."""
    return {name: value for name, value in environment.items() if not name.startswith("WATCHBILL_")}


def build_environment(settings: Settings, assign: Assign, directory: Path, base: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a command: what it inherits, the Task's, and what Watchbill tells it."""
    results = settings.context / "results"
    environment = dict(base)
    for entry in assign.command.get("env") or ():
        if not entry["name"].startswith("WATCHBILL_"):
            environment[entry["name"]] = str(entry.get("value") or "")
    return environment | {
        "WATCHBILL_TASK": assign.name,
        "WATCHBILL_TASK_UID": assign.task,
        "WATCHBILL_ATTEMPT": str(assign.attempt),
        "WATCHBILL_AGENT": settings.agent,
        "WATCHBILL_REPLICA": settings.replica,
        "WATCHBILL_ROLE": settings.role,
        "WATCHBILL_MODEL": settings.model,
        "WATCHBILL_PROMPT_FILE": str(directory / PROMPT),
        "WATCHBILL_CONTEXT": str(settings.context),
        "WATCHBILL_INPUTS": _json({path: str(settings.context / path) for path in assign.context}),
        "WATCHBILL_DEPENDENCIES": _json({name: str(results / uid) for name, uid in assign.dependencies.items()}),
        "WATCHBILL_RESULT": str(directory / RESULT),
        "WATCHBILL_LOCKS": _json(dict(assign.locks)),
    }


def prepare_order(settings: Settings, assign: Assign, *, base: Mapping[str, str], exchange: Exchange) -> Order:
    """Make the attempt's folder and files and return what a runner needs; commands inherit `base`. Raises OSError.

    What else lies in the task's folder is left as it is: the work of earlier attempts, and what a session goes on from.
    """
    directory = settings.work / work_directory(assign.task, assign.attempt)
    directory.parent.mkdir(exist_ok=True)
    try:
        directory.mkdir()
    except FileExistsError:
        remove_tree(directory)
        directory.mkdir()
    (directory / RESULT).mkdir()
    (directory / PROMPT).write_text(assign.prompt, encoding="utf-8")
    stdin = directory / PROMPT if assign.prompt else None
    if assign.command.get("stdin") is not None:
        stdin = directory / STDIN
        stdin.write_text(str(assign.command["stdin"]), encoding="utf-8")
    named = assign.command.get("args") or assign.command.get("shell")
    return Order(
        assign=assign,
        exchange=exchange,
        directory=directory,
        context=settings.context,
        stdin=stdin,
        command=assign.command if named else settings.command,
        environment=build_environment(settings, assign, directory, base),
        timeout_seconds=assign.timeout_seconds,
        grace_seconds=settings.grace_seconds,
    )


def is_inline(settings: Settings, report: Finished) -> bool:
    """Whether an attempt's result is what it printed and nothing else, and the report holds all of that."""
    result = settings.work / work_directory(report.task, report.attempt) / RESULT
    text = report.result.encode()
    try:
        if os.listdir(result) != [OUTPUT]:
            return False
        fd = os.open(result / OUTPUT, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            status = os.fstat(fd)
            is_plain = stat.S_ISREG(status.st_mode) and not status.st_mode & 0o100
            return is_plain and status.st_size == len(text) and os.read(fd, len(text) + 1) == text
        finally:
            os.close(fd)
    except OSError:
        return False


def sync_result(settings: Settings, task: TaskUid, attempt: int) -> None:
    """Make an attempt's result outlive a power cut: the operator may read it only after one. Raises nothing."""
    result = settings.work / work_directory(task, attempt) / RESULT
    synced = 0
    for folder, inner, files in os.walk(result):
        if len(Path(folder).parts) - len(result.parts) >= MAX_SYNCED_DEPTH:
            inner.clear()
        for name in files[: MAX_SYNCED - synced]:
            _sync(os.path.join(folder, name), os.O_NOFOLLOW | os.O_NONBLOCK)
        synced += len(files)
        _sync(folder, os.O_DIRECTORY)
        if synced > MAX_SYNCED:
            return


def remove_work(settings: Settings, tasks: Iterable[TaskUid]) -> None:
    """Remove the folders and transcripts of tasks that are over; what cannot be removed is logged."""
    gone = {task for task in tasks if is_task_uid(task)}
    for task in gone:
        remove_tree(settings.work / task)
    _remove_transcripts(settings.state, gone)


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _remove_odd(folder: Path, *, kept: str = "") -> None:
    """Remove what is no plain file, or half of one, but for one name. Raises OSError."""
    with os.scandir(folder) as entries:
        odd = [e.path for e in entries if e.name.startswith(TEMPORARY) or not e.is_file(follow_symlinks=False)]
    for path in odd:
        if os.path.basename(path) != kept:
            remove_tree(Path(path))


def _remove_transcripts(state: Path, tasks: Collection[TaskUid]) -> None:
    """Remove the transcripts of these tasks; their folder may be none, or anything by now."""
    with suppress(hostile.HostileFileError, OSError), hostile.open_directory(state, [TRANSCRIPTS]) as folder:
        for name in os.listdir(folder):
            match = _TRANSCRIPT.fullmatch(name)
            if match is not None and match["task"] in tasks:
                hostile.remove_file(folder, name)


def _sync(path: str, flags: int) -> None:
    """Sync a file or folder that may be anything by now."""
    with suppress(OSError):
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | flags)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
