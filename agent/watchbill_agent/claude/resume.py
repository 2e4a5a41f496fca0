"""Which sessions are continued, and the folders that they need.

Owns work/<uid>/session.json and what of a former attempt is taken over. Invariant: a session is continued only if the
operator says that the attempt directly before ran here, and it ended in a way that another try may mend; then its files
are moved into the new working folder. Otherwise nothing of an earlier attempt is left that Claude Code would read.
Commands can write all of this: nothing is followed out of work/<uid>, and what does not fit is treated as absent.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from watchbill_agent.tree_removal import remove_tree
from watchbill_coordination.core.messages import Assign
from watchbill_coordination.storage.atomic import write_atomic

SESSION_FILE = "session.json"
VERSION = 1
MAX_BYTES = 4096
MAX_COST_USD = 1e6
RUNNING = "Running"  #: noted at the start: an agent that is killed says no more
STOPPED = "Stopped"  #: on request: a drain, a lost lease, a cancellation
RESUMABLE = frozenset({
    RUNNING, "RateLimited", "Overloaded", "AuthenticationFailed", "BillingProblem", "CredentialMissing", "ServerError",
    "NetworkError", "DeadlineExceeded", "CliCrashed", "Interrupted", "NoSignOfLife", "StartTimedOut", STOPPED,
})  # fmt: skip
SESSION_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
NOT_MOVED = frozenset({".prompt", ".stdin", "result"})
ANSWERS = frozenset({"answer.md", "output.json"})  #: of the former attempt; the new one writes its own


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What is known of the last session of a task on this replica."""

    attempt: int
    session: str
    reason: str  #: RUNNING, or how it ended
    cost_usd: float = 0.0  #: that Claude Code had counted by then, which it goes on from


def write_note(folder: Path, note: Note) -> None:
    """Remember a session. Raises OSError."""
    value: dict[str, Any] = {"v": VERSION, "attempt": note.attempt, "session": note.session, "reason": note.reason}
    value["costUSD"] = note.cost_usd
    write_atomic(folder / SESSION_FILE, json.dumps(value).encode() + b"\n", sync=False)


def load_note(folder: Path) -> Note | None:
    """Read what was remembered; None when there is nothing that makes sense."""
    try:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        fd = os.open(folder / SESSION_FILE, flags)
        try:
            raw = json.loads(os.read(fd, MAX_BYTES))
        finally:
            os.close(fd)
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(raw, dict) or raw.get("v") != VERSION:
        return None
    attempt, session, reason = raw.get("attempt"), raw.get("session"), raw.get("reason")
    if not isinstance(attempt, int) or not isinstance(session, str) or not isinstance(reason, str):
        return None
    if not SESSION_ID.fullmatch(session):
        return None
    cost = raw.get("costUSD")
    known = float(cost) if isinstance(cost, int | float) and 0 <= cost < MAX_COST_USD else 0.0
    return Note(attempt=attempt, session=session, reason=reason, cost_usd=known)


def find_session(folder: Path, config: Path, assign: Assign) -> Note | None:
    """Return the session that this attempt continues; None when it begins anew."""
    note = load_note(folder) if assign.had_previous else None  # otherwise another task's commands left it
    if note is None or note.attempt != assign.attempt - 1 or note.reason not in RESUMABLE:
        return None
    kept = [path for path in config.glob(f"projects/*/{note.session}.jsonl") if path.is_file()]
    return note if kept else None


def clear_folder(folder: Path, *, keep: Collection[str] = ()) -> None:
    """Leave a folder with nothing in it but the folders of these names: a broken file of before may be fatal.

    Raises OSError.
    """
    if folder.is_symlink() or not folder.is_dir():
        folder.unlink(missing_ok=True)
        folder.mkdir(mode=0o700)
    folder.chmod(0o700)
    for entry in list(os.scandir(folder)):
        is_folder = entry.is_dir(follow_symlinks=False)
        if not is_folder:
            os.unlink(entry.path)
        elif entry.name not in keep:
            remove_tree(Path(entry.path))


def move_work(former: Path, new: Path) -> None:
    """Move the files of an interrupted attempt into the folder of the one that continues it. Raises OSError."""
    with suppress(FileNotFoundError, NotADirectoryError):
        if former.is_symlink():
            return
        _move_entries(former, new, but=NOT_MOVED)
        result = former / "result"
        if result.is_dir() and not result.is_symlink():
            _move_entries(result, new / "result", but=ANSWERS)


def _move_entries(source: Path, target: Path, *, but: Iterable[str]) -> None:
    for name in sorted(set(os.listdir(source)).difference(but)):
        os.rename(source / name, target / name)
