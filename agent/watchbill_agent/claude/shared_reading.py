"""Reading below shared-context for a model.

Owns the only way in which tools touch files. Invariant: every step goes from a descriptor to the next name and follows
no link, so nothing outside of the folder is read; only regular files are opened; nothing waits, and no part is longer
than its limit. Offsets count bytes, and a part never ends inside of a character. Writes nothing.
"""

from __future__ import annotations

import codecs
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from watchbill_agent.claude.arguments import ToolError
from watchbill_coordination.storage import hostile
from watchbill_coordination.storage.atomic import TEMPORARY

MAX_PATH = 4096  #: characters
MAX_DEPTH = 64  #: folders in folders
MAX_LISTED = 10_000  #: names that are looked at in one folder
SHOWN_NAMES = 20  #: names that an error lists
PROBE_BYTES = 8192  #: a NUL among the first so many bytes tells a binary file

Parts = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Part:
    """Some of a file's text."""

    text: str
    begin: int  #: bytes before it
    end: int  #: bytes up to its end
    size: int  #: bytes of the whole file


@dataclass(frozen=True, slots=True)
class Binary:
    """It is no text."""

    size: int


@dataclass(frozen=True, slots=True)
class Listing:
    """Names in a folder, sorted; folders end with a slash."""

    names: tuple[str, ...]
    is_whole: bool


def parse_path(root: Path, said: str) -> Parts:
    """Return the steps below shared-context that a model means; also takes the folder's own absolute path."""
    path = said.strip()
    if path == str(root) or path.startswith(f"{root}/"):
        path = path[len(str(root)) :].lstrip("/")
    parts = tuple(part for part in path.split("/") if part not in ("", "."))
    if path.startswith("/") or ".." in parts or "\0" in path:
        raise ToolError(f"{said[:200]!r} is not a path below shared-context. Give one such as results/<uid>/answer.md.")
    if len(parts) > MAX_DEPTH:
        raise ToolError(f"{said[:200]!r} has more than {MAX_DEPTH} steps.")
    return parts


def exists(root: Path, parts: Parts) -> bool:
    """Whether there is a regular file or a folder."""
    try:
        with _open_parent(root, parts) as parent:
            if not parts or hostile.is_directory(parent, parts[-1]):
                return True
            with hostile.open_regular(parent, parts[-1]):
                return True
    except hostile.HostileFileError:
        return False


def read(root: Path, parts: Parts, offset: int, limit: int) -> Part | Binary | Listing:
    """Return part of a file, or the names in a folder (`offset` and `limit` do not count then). Raises ToolError."""
    try:
        with _open_parent(root, parts) as parent:
            return _read_here(parent, parts[-1] if parts else ".", offset, limit)
    except hostile.GoneError:
        raise ToolError(_explain_absence(root, parts)) from None
    except hostile.HostileFileError as error:
        raise ToolError(f"{'/'.join(parts)} cannot be read: {error}. Only regular files and folders can.") from None
    except OSError as error:
        raise ToolError(f"{'/'.join(parts)} cannot be read: {error.strerror}.") from None


def _read_here(parent: int, name: str, offset: int, limit: int) -> Part | Binary | Listing:
    """Return what that name of an open folder is. Raises HostileFileError, OSError or ToolError."""
    if hostile.is_directory(parent, name):
        with hostile.open_directory(name, dir_fd=parent) as folder:
            return _list(folder)
    with hostile.open_regular(parent, name) as (fd, status):
        return _read_part(fd, status.st_size, offset, limit)


@contextmanager
def _open_parent(root: Path, parts: Parts) -> Iterator[int]:
    """Open the folder in which the last step lies; the root itself may be reached through links of our own."""
    top = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with hostile.open_directory(".", parts[:-1], dir_fd=top) as parent:
            yield parent
    finally:
        os.close(top)


def _list(folder: int) -> Listing:
    with os.scandir(folder) as entries:
        found = list(islice(entries, MAX_LISTED + 1))
    shown = [entry for entry in found[:MAX_LISTED] if not entry.name.startswith(TEMPORARY)]
    return Listing(tuple(sorted(map(_mark, shown))), len(found) <= MAX_LISTED)


def _mark(entry: os.DirEntry[str]) -> str:
    """Show what is a folder; a name that is no Unicode is shown with its odd bytes replaced."""
    name = os.fsencode(entry.name).decode(errors="replace")
    return f"{name}/" if entry.is_dir(follow_symlinks=False) else name


def _read_part(fd: int, size: int, offset: int, limit: int) -> Part | Binary:
    if b"\0" in os.pread(fd, PROBE_BYTES, 0):
        return Binary(size)
    if offset > size:
        raise ToolError(f"offset is {offset:,}, but the file has {size:,} bytes.")
    data = os.pread(fd, limit, offset)
    skipped = 0 if offset == 0 else len(data[:3]) - len(data[:3].lstrip(bytes(range(0x80, 0xC0))))
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    is_last = offset + len(data) >= size
    text = decoder.decode(data[skipped:], final=is_last)
    pending = 0 if is_last else len(decoder.getstate()[0])
    return Part(text, offset + skipped, offset + len(data) - pending, size)


def _explain_absence(root: Path, parts: Parts) -> str:
    """Say what is not there, and what lies in the nearest folder that is."""
    for depth in range(len(parts) - 1, -1, -1):
        if (found := _find_listing(root, parts[:depth])) is not None:
            names = ", ".join(found.names[:SHOWN_NAMES]) or "nothing"
            more = len(found.names) - SHOWN_NAMES
            where = "/".join(parts[:depth]) or "shared-context"
            return f"There is no {'/'.join(parts)}. {where} holds: {names}{f' and {more} more' if more > 0 else ''}."
    return f"There is no {'/'.join(parts)}: shared-context itself cannot be read."


def _find_listing(root: Path, parts: Parts) -> Listing | None:
    try:
        with _open_parent(root, (*parts, "")) as folder:
            return _list(folder)
    except (OSError, hostile.HostileFileError):
        return None
