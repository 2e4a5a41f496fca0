"""Unpacking a folder that somebody sent as tar.gz.

Owns the rules of what may be in it: regular files (and folders, which say nothing of their own), with relative names of
bounded length and depth, each once, within limits of count and size. Invariant: the target appears whole, by one
rename, or not at all; nothing is written outside it; memory stays small whatever the archive claims about itself.
"""

from __future__ import annotations

import ctypes
import gzip
import io
import os
import tarfile
import zlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from watchbill_operator.tree_removal import remove_tree

MAX_COMPRESSED_BYTES = 16 * 1024 * 1024
MAX_BYTES = 256 * 1024 * 1024  #: of all files
MAX_FILES = 100_000
MAX_ENTRIES = 2 * MAX_FILES  #: folders included
MAX_STREAM_BYTES = MAX_BYTES + MAX_ENTRIES * 2048  #: headers and padding included
MAX_HEADER_BYTES = 16 * 1024  #: of an extended header
MAX_NAME_BYTES = 1024
MAX_DEPTH = 32
TEMPORARY = ".tmp-"
_COPY_BYTES = 256 * 1024
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_HEADERS = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME)
_ALLOWED = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.DIRTYPE, *_HEADERS)


class ArchiveRefusedError(Exception):
    """The archive breaks a rule; the message says which, as a sentence."""


@dataclass(frozen=True, slots=True)
class Unpacked:
    """What an archive held."""

    files: int
    bytes: int


def unpack_archive(data: bytes, target: Path) -> Unpacked:
    """Unpack to `target`, which must not exist. Raises ArchiveRefusedError, or OSError when the volume fails.

    Blocks; a large archive takes seconds.
    """
    if len(data) > MAX_COMPRESSED_BYTES:
        raise ArchiveRefusedError(f"It has {len(data)} bytes, more than {MAX_COMPRESSED_BYTES}.")
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f"{TEMPORARY}{os.getpid()}-{target.name}")
    remove_tree(temporary)
    temporary.mkdir()
    try:
        with _reading(data) as archive:
            unpacked = _Unpacking(temporary).run(archive)
        sync_file_system(temporary)
        temporary.chmod(0o755)
        temporary.rename(target)
    except (tarfile.TarError, zlib.error, EOFError, ValueError, gzip.BadGzipFile) as error:
        raise ArchiveRefusedError(f"It is no sound tar.gz: {error}.") from error
    finally:
        remove_tree(temporary)
    return unpacked


def sync_file_system(path: Path) -> None:
    """Make all that was written below `path` durable with one call, instead of one for each of many small files."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if ctypes.CDLL(None, use_errno=True).syncfs(fd) != 0:
            raise OSError(ctypes.get_errno(), f"syncfs: {os.strerror(ctypes.get_errno())}", str(path))
    finally:
        os.close(fd)


class _BoundedStream(io.RawIOBase):
    """The unpacked stream, refused once it is longer than any allowed archive."""

    def __init__(self, data: bytes) -> None:
        super().__init__()
        self._inner = gzip.GzipFile(fileobj=io.BytesIO(data), mode="rb")
        self._left = MAX_STREAM_BYTES

    def read(self, size: int = -1) -> bytes:
        part = self._inner.read(size if 0 <= size <= _COPY_BYTES else _COPY_BYTES)
        self._left -= len(part)
        if self._left < 0:
            raise ArchiveRefusedError(f"It unpacks to more than {MAX_STREAM_BYTES} bytes.")
        return part


class _StrictHeader(tarfile.TarInfo):
    """A member's header, refused before anything that belongs to it is read."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _StrictHeader:
        header = super().frombuf(buf, encoding, errors)
        if header.type not in _ALLOWED:
            raise ArchiveRefusedError(f"{header.name[:200]!r} is a link, device or other special file.")
        if header.size < 0:
            raise ArchiveRefusedError(f"{header.name[:200]!r} has a negative size.")
        if header.type in _HEADERS and header.size > MAX_HEADER_BYTES:
            raise ArchiveRefusedError(f"It has a header of {header.size} bytes, more than {MAX_HEADER_BYTES}.")
        return header


def _reading(data: bytes) -> tarfile.TarFile:
    stream = _BoundedStream(data)
    return tarfile.open(fileobj=stream, mode="r|", tarinfo=_StrictHeader, bufsize=_COPY_BYTES)


@dataclass(slots=True)
class _Unpacking:
    """One archive on its way into a folder of ours that nobody else writes to."""

    root: Path
    files: int = 0
    bytes: int = 0
    entries: int = 0

    def run(self, archive: tarfile.TarFile) -> Unpacked:
        members: list[tarfile.TarInfo] = vars(archive)["members"]
        while (member := archive.next()) is not None:
            members.clear()  # tarfile keeps them all: 100 MB for the largest archive
            self.entries += 1
            if self.entries > MAX_ENTRIES:
                raise ArchiveRefusedError(f"It has more than {MAX_ENTRIES} entries.")
            if member.size < 0 or member.issparse() or not (member.isreg() or member.isdir()):
                raise ArchiveRefusedError(f"{member.name[:200]!r} is not a plain file.")
            if member.isreg():
                self._write(archive, member)
        return Unpacked(self.files, self.bytes)

    def _write(self, archive: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        self.files += 1
        self.bytes += member.size
        if self.files > MAX_FILES:
            raise ArchiveRefusedError(f"It has more than {MAX_FILES} files.")
        if self.bytes > MAX_BYTES:
            raise ArchiveRefusedError(f"Its files have more than {MAX_BYTES} bytes.")
        path = self.root / parse_member_name(member.name)
        fd = _open_new(self.root, path, member.name)
        with os.fdopen(fd, "wb") as file:
            content = archive.extractfile(member)
            while content is not None and (part := content.read(_COPY_BYTES)):
                file.write(part)
            os.fchmod(fd, 0o644)


def _open_new(root: Path, path: Path, name: str) -> int:
    try:
        _make_folders(root, path.parent)
        return os.open(path, _NEW_FILE, 0o644)
    except (FileExistsError, NotADirectoryError, IsADirectoryError):
        raise ArchiveRefusedError(f"{name[:200]!r} is named twice, or is a file and a folder.") from None


def _make_folders(root: Path, folder: Path) -> None:
    """Make a folder below `root` with all above it, readable whatever the umask."""
    if folder == root or folder.is_dir():
        return
    _make_folders(root, folder.parent)
    folder.mkdir()
    folder.chmod(0o755)


def parse_member_name(name: str) -> str:
    """A member's name as a path below the target. Raises ArchiveRefusedError for one that leaves it or is too much."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    shown = repr(name[:200])
    if name.startswith("/") or ".." in parts or not parts:
        raise ArchiveRefusedError(f"The name {shown} leads out of the folder.")
    if any(ord(character) < 32 or ord(character) == 127 for character in name):
        raise ArchiveRefusedError(f"The name {shown} has control characters.")
    if len(parts) > MAX_DEPTH:
        raise ArchiveRefusedError(f"{shown} lies deeper than {MAX_DEPTH} folders.")
    with suppress(UnicodeEncodeError):
        sizes = [len(os.fsencode(part)) for part in parts]
        if max(sizes) <= 255 and sum(sizes) + len(sizes) <= MAX_NAME_BYTES:
            return "/".join(parts)
    raise ArchiveRefusedError(f"The name {shown} is too long or cannot be one.")
