"""Reading what an agent can write, without trusting any of it.

Owns the only ways in which the operator touches a folder that an agent writes to. Invariant: every step is relative to
the descriptor of a folder that was opened without following a link; only regular files with a single name are opened;
nothing waits (a FIFO, a device, a lock), and nothing is read beyond its limit. A file that is swapped between two calls
is therefore refused or read as what it now is, never followed elsewhere. Never writes there, only unlinks.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_REGULAR = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class HostileFileError(Exception):
    """Refused: not a plain readable file or folder within its limit. The message says which rule it breaks."""


class GoneError(HostileFileError):
    """It is not there (any more)."""


@contextmanager
def open_directory(path: Path | str, below: Sequence[str] = (), *, dir_fd: int | None = None) -> Iterator[int]:
    """Open a folder and, one step at a time, the folders `below` it; yield the last one's descriptor.

    No step follows a link (of `path` itself the parents are the operator's own and may be links). Raises GoneError
    or HostileFileError.
    """
    fd = _open(path, _DIRECTORY, dir_fd)
    try:
        for part in below:
            inner = _open(part, _DIRECTORY, fd)
            os.close(fd)
            fd = inner
        yield fd
    finally:
        os.close(fd)


def list_names(dir_fd: int, limit: int) -> list[str]:
    """Return at most `limit` names of a folder, in the order in which it keeps them."""
    with os.scandir(dir_fd) as entries:
        return [entry.name for entry in islice(entries, limit)]


def read_regular(dir_fd: int, name: str, limit: int) -> bytes:
    """Return the content of a regular file of at most `limit` bytes. Raises GoneError or HostileFileError."""
    with open_regular(dir_fd, name) as (fd, status):
        if status.st_size > limit:
            raise HostileFileError(f"it has {status.st_size} bytes, more than {limit}")
        data = _read(fd, limit + 1)
    if len(data) > limit:
        raise HostileFileError(f"it grew beyond {limit} bytes while it was read")
    return data


def read_start(dir_fd: int, name: str, limit: int) -> bytes:
    """Return the first `limit` bytes of a regular file, whatever its size. Raises GoneError or HostileFileError."""
    with open_regular(dir_fd, name) as (fd, _):
        return _read(fd, limit)


@contextmanager
def open_regular(dir_fd: int, name: str) -> Iterator[tuple[int, os.stat_result]]:
    """Open a regular file with one name; yield its descriptor and status. Raises GoneError or HostileFileError.

    It is looked at before it is opened, so that a device or FIFO is not even opened, and once more through the
    descriptor, since it may have been swapped in between.
    """
    _require_regular(_stat(dir_fd, name))
    fd = _open(name, _REGULAR, dir_fd)
    try:
        status = os.fstat(fd)
        _require_regular(status)
        yield fd, status
    finally:
        os.close(fd)


def is_directory(dir_fd: int, name: str) -> bool:
    """Whether the name is a folder, no link followed. Raises GoneError or HostileFileError."""
    return stat.S_ISDIR(_stat(dir_fd, name).st_mode)


def remove_file(dir_fd: int, name: str) -> None:
    """Unlink a name that is no folder; one that is gone or cannot be removed is left."""
    with suppress(OSError):
        os.unlink(name, dir_fd=dir_fd)


def _require_regular(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise HostileFileError(f"it is a {_kind(status.st_mode)}, not a regular file")
    if status.st_nlink > 1:
        raise HostileFileError("it has a second name (hard link)")


def _kind(mode: int) -> str:
    kinds = {
        stat.S_IFLNK: "symbolic link",
        stat.S_IFDIR: "folder",
        stat.S_IFIFO: "FIFO",
        stat.S_IFSOCK: "socket",
        stat.S_IFCHR: "device",
        stat.S_IFBLK: "device",
    }
    return kinds.get(stat.S_IFMT(mode), "special file")


def _stat(dir_fd: int, name: str) -> os.stat_result:
    try:
        return os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
    except (OSError, ValueError) as error:
        raise _refusal(error) from None


def _open(name: Path | str, flags: int, dir_fd: int | None) -> int:
    try:
        return os.open(name, flags, dir_fd=dir_fd)
    except (OSError, ValueError) as error:
        raise _refusal(error) from None


def _read(fd: int, limit: int) -> bytes:
    """Read up to `limit` bytes; a file that shrinks or an unreadable block ends it."""
    parts = []
    try:
        while limit > 0 and (part := os.read(fd, min(limit, 1 << 20))):
            parts.append(part)
            limit -= len(part)
    except OSError as error:
        raise _refusal(error) from None
    return b"".join(parts)


def _refusal(error: OSError | ValueError) -> HostileFileError:
    """Say what stopped a system call. ValueError: a NUL in the name."""
    if isinstance(error, ValueError):
        return HostileFileError("its name cannot be one")
    if error.errno == errno.ENOENT:
        return GoneError("it is not there")
    if error.errno in (errno.ELOOP, errno.ENOTDIR):
        return HostileFileError("it is a symbolic link or not a folder")
    return HostileFileError(f"it cannot be read: {os.strerror(error.errno or 0)}")
