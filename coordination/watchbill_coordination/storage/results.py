"""Taking over the result of an attempt.

Owns the copy from an agent's work folder to shared-context/results/<task uid>/, where dependants read it. The copy
lies under a hidden name of its own until `publish_result`. Invariant: a result is there whole or not at all, and holds
regular files of at most MAX_RESULT_BYTES together; it is durable when it was copied, published and synced, while one
that is `stdout` alone and short, an inline one, follows from the record of its acceptance: it is written without a
sync, and again after a crash. What the agent left is hostile: it is walked by descriptors, no link is followed, and
depth, count, names and bytes have limits. Never decides whether the attempt is the current one: the caller does, at the
moment of publishing.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from watchbill_coordination.core.specs import ReplicaName, TaskUid
from watchbill_coordination.storage import hostile
from watchbill_coordination.storage.atomic import TEMPORARY, sync_directory
from watchbill_coordination.storage.layout import Layout, work_directory
from watchbill_coordination.storage.mailbox import printable

MAX_RESULT_BYTES = 1024 * 1024  #: of all files together
MAX_ENTRIES = 1000  #: files and folders
MAX_DEPTH = 16  #: folders in folders
MAX_NAME_BYTES = 255
OUTPUT = "stdout"  #: the file with what a program printed; all that an inline result holds


@dataclass(frozen=True, slots=True)
class ResultCopied:
    """It lies beside the results, under a name that nobody looks for."""

    files: int
    bytes: int
    hidden: Path = field(default=Path(), compare=False)  #: where; no other copy ever has this name


@dataclass(frozen=True, slots=True)
class ResultRefused:
    """It breaks a rule; nothing was copied."""

    reason: str  #: one sentence that names the file


class _RefusedError(Exception):
    """What the walk found that may not be in a result."""


@dataclass(slots=True)
class _Walk:
    """What was read so far, and the limits on it."""

    folders: list[str] = field(default_factory=list)
    files: list[tuple[str, bytes, bool]] = field(default_factory=list)  # path, content, executable
    bytes: int = 0

    def count(self, path: str) -> None:
        """Take one more entry into account."""
        if len(self.folders) + len(self.files) >= MAX_ENTRIES:
            raise _RefusedError(f"the result has more than {MAX_ENTRIES} files and folders, at {printable(path)}")


def copy_result(layout: Layout, replica: ReplicaName, task: TaskUid, attempt: int) -> ResultCopied | ResultRefused:
    """Copy what an attempt left in its result folder, hidden; without such a folder the result is empty.

    Reads everything within the limits before it writes anything, and syncs files and folders. Touches no other copy:
    not of another attempt, nor of another process. Raises OSError when our own side of the volume fails (full,
    read-only).
    """
    walk = _Walk()
    work = layout.workspace(replica) / "work"
    try:
        with hostile.open_directory(work, (*work_directory(task, attempt).split("/"), "result")) as result:
            _read_folder(walk, result, "", 1)
    except hostile.GoneError:
        walk = _Walk()
    except hostile.HostileFileError as error:
        return ResultRefused(f"the result folder cannot be read: {error}")
    except _RefusedError as error:
        return ResultRefused(str(error))
    return _store(walk, layout.result(task), attempt)


def copy_inline_result(layout: Layout, task: TaskUid, attempt: int, text: str) -> ResultCopied:
    """Write a result that is one file with this text, hidden, without a sync. Raises OSError as `copy_result`."""
    content = text.encode()
    return _store(_Walk(files=[(OUTPUT, content, False)], bytes=len(content)), layout.result(task), attempt, sync=False)


def publish_result(
    layout: Layout, task: TaskUid, copied: ResultCopied, check_fence: Callable[[], None] = lambda: None
) -> bool:
    """Give a copy its name; whether another one had it, which `discard_result` removes then.

    Durable only after `sync_results`. `check_fence` raises where another process leads: it is called right before the
    name is given, and once more before a result that has the name by then is moved away. So a process that is paused
    between look-up and rename, and deposed meanwhile, takes no accepted result's place, except one without any files;
    or if it paused after the second look-up, which needs a result of an earlier attempt there. Raises what that raises
    and OSError; nothing is published then.
    """
    target = layout.result(task)
    check_fence()
    try:
        os.rename(copied.hidden, target)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
    else:
        return False
    check_fence()  # what lies there is of an attempt that never counted, unless a successor published it just now
    os.rename(target, _replaced(copied))
    os.rename(copied.hidden, target)
    return True


def discard_result(copied: ResultCopied) -> None:
    """Remove a copy that was not published, and what one that was had to replace. Never raises OSError."""
    for folder in (copied.hidden, _replaced(copied)):
        shutil.rmtree(folder, ignore_errors=True)


def sync_results(layout: Layout) -> None:
    """Make the names of the published results durable. Raises OSError."""
    sync_directory(layout.results)


def write_inline_result(layout: Layout, task: TaskUid, text: str) -> ResultCopied:
    """Put a result that is one file with this text in its place, whatever is there. Raises OSError as `copy_result`."""
    copied = copy_inline_result(layout, task, 0, text)
    if publish_result(layout, task, copied):
        discard_result(copied)
    return copied


def restore_inline_result(layout: Layout, task: TaskUid, text: str) -> bool:
    """Write an inline result again where it is not there as it was; whether that was so. Raises OSError."""
    with suppress(FileNotFoundError, NotADirectoryError), open(f"{layout.results}/{task}/{OUTPUT}", "rb", 0) as file:
        if file.read(MAX_RESULT_BYTES) == text.encode():
            return False
    write_inline_result(layout, task, text)
    return True


def _read_folder(walk: _Walk, folder: int, prefix: str, depth: int) -> None:
    """Read one folder and those below it. Recursion ends at MAX_DEPTH."""
    if depth > MAX_DEPTH:
        raise _RefusedError(f"the result has more than {MAX_DEPTH} folders in each other, at {printable(prefix)}")
    try:
        names = sorted(hostile.list_names(folder, MAX_ENTRIES + 1))
    except OSError as error:
        raise _RefusedError(f"{printable(prefix)} cannot be listed: {error.strerror}") from None
    for name in names:
        path = prefix + name
        if printable(name) != name or len(name.encode("utf-8", "replace")) > MAX_NAME_BYTES:
            raise _RefusedError(f"a file name is not printable text: {printable(path)}")
        walk.count(path)
        try:
            _read_entry(walk, folder, name, path, depth)
        except hostile.HostileFileError as error:
            raise _RefusedError(f"{printable(path)}: {error}") from None


def _read_entry(walk: _Walk, folder: int, name: str, path: str, depth: int) -> None:
    """Read one file, or the folder of that name. Raises HostileFileError or _RefusedError."""
    if hostile.is_directory(folder, name):
        walk.folders.append(path)
        with hostile.open_directory(name, dir_fd=folder) as inner:
            _read_folder(walk, inner, f"{path}/", depth + 1)
        return
    room = MAX_RESULT_BYTES - walk.bytes
    with hostile.open_regular(folder, name) as (fd, status):
        if status.st_size > room:
            raise _RefusedError(f"the result has more than {MAX_RESULT_BYTES} bytes, with {printable(path)}")
        content = b"".join(_blocks(fd, room))
    if len(content) > room:
        raise _RefusedError(f"{printable(path)} grew while it was read")
    walk.bytes += len(content)
    walk.files.append((path, content, bool(status.st_mode & 0o100)))


def _blocks(fd: int, room: int) -> Iterator[bytes]:
    """Yield what a file holds, at most one byte more than there is room for."""
    left = room + 1
    while left > 0:
        try:
            block = os.read(fd, min(left, 256 * 1024))
        except OSError as error:
            raise hostile.HostileFileError(f"it cannot be read: {error.strerror}") from None
        if not block:
            return
        left -= len(block)
        yield block


def _store(walk: _Walk, target: Path, attempt: int, *, sync: bool = True) -> ResultCopied:
    """Write everything under a name of its own, and sync it."""
    hidden = target.with_name(f"{TEMPORARY}{target.name}.{attempt}.{secrets.token_hex(8)}")
    _make_folder(hidden)
    try:
        for folder in walk.folders:  # parents come first
            (hidden / folder).mkdir()
        for path, content, executable in walk.files:
            _write(hidden / path, content, 0o755 if executable else 0o644, sync=sync)
        for folder in [*reversed(walk.folders), ""] if sync else ():
            sync_directory(hidden / folder)
    except OSError:
        shutil.rmtree(hidden, ignore_errors=True)
        raise
    return ResultCopied(len(walk.files), walk.bytes, hidden)


def _make_folder(folder: Path) -> None:
    """Make a folder, and those above it where this is the first result."""
    try:
        folder.mkdir()
    except FileNotFoundError:
        folder.mkdir(parents=True)


def _replaced(copied: ResultCopied) -> Path:
    """Where that goes whose name this copy takes."""
    return copied.hidden.with_name(f"{copied.hidden.name}.replaced")


def _write(path: Path, content: bytes, mode: int, *, sync: bool) -> None:
    """Write one file of our own."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with open(fd, "wb") as file:
        file.write(content)
        if sync:
            file.flush()
            os.fsync(fd)
