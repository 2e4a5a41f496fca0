"""A folder as bytes: the same tree gives the same archive, so its digest names its content.

Owns what goes along: regular files, in a git work tree those that git does not ignore, sorted, without owner and time.
Links, sockets and `.git` stay behind. Never larger than `MAX_BYTES` compressed, and nothing in it that the operator
would refuse to unpack: Tasks would wait for ever for a folder that never comes.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import stat
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from watchbill_cli.home import Refused, default_home
from watchbill_operator import unpacking

MAX_BYTES = 16 * 1024 * 1024  #: compressed; what travels in at most 19 ConfigMaps
DIGEST_CHARACTERS = 16  #: of the digest, in the folder's name below shared-context/input/


@dataclass(frozen=True, slots=True)
class Archive:
    """A packed folder."""

    data: bytes  #: tar.gz
    digest: str  #: SHA-256 of `data`, hex
    files: int

    @property
    def context_path(self) -> str:
        """What a Task names in `context[]`."""
        return f"input/{self.digest[:DIGEST_CHARACTERS]}"


def pack(folder: Path) -> Archive:
    """Pack a folder.

    Raises Refused where there is nothing to pack, a file cannot be read, or the archive would be too large.
    """
    if not folder.is_dir():
        raise Refused(f"{folder} is no folder: name one with INPUT=DIR")
    buffer = io.BytesIO()
    files = size = 0
    with (
        gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0, compresslevel=6) as zipped,
        tarfile.open(fileobj=zipped, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for name in sorted(list_files(folder)):
            added = _add(archive, folder, name)
            files += added is not None
            size += added or 0
            if buffer.tell() > MAX_BYTES:
                break
            _check_unpacked(folder, files, size)
    data = buffer.getvalue()
    if len(data) > MAX_BYTES:
        raise Refused(
            f"{folder} is larger than {MAX_BYTES // 2**20} MiB compressed: name a smaller folder with INPUT=DIR, "
            "or add what is not needed to its .gitignore"
        )
    if not files:
        raise Refused(f"{folder} holds no regular file that git does not ignore: name another folder with INPUT=DIR")
    return Archive(data, hashlib.sha256(data).hexdigest(), files)


def list_files(folder: Path) -> Iterator[str]:
    """Paths below `folder` of what goes along, in no order. The system's own home is never part of its input."""
    home = os.path.relpath(default_home().path.resolve(), folder.resolve())
    for name in _list_by_git(folder) or _list_by_walk(folder):
        if not name.startswith(home + os.sep):
            yield name


def _list_by_git(folder: Path) -> set[str]:
    """What git does not ignore; nothing where there is no git or no work tree."""
    command = [
        "git",
        "-c",
        "safe.directory=*",
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
        "--",
        ".",
    ]
    try:
        listed = subprocess.run(command, cwd=folder, capture_output=True, check=False)
    except FileNotFoundError:
        return set()
    return {os.fsdecode(name) for name in listed.stdout.split(b"\0") if name} if listed.returncode == 0 else set()


def _list_by_walk(folder: Path) -> Iterator[str]:
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name != ".git"]
        yield from (os.path.relpath(os.path.join(parent, name), folder) for name in names)


def _check_unpacked(folder: Path, files: int, size: int) -> None:
    """Refuse a tree that is too much for the volume, though it may compress well."""
    if size > unpacking.MAX_BYTES or files > unpacking.MAX_FILES:
        raise Refused(
            f"{folder} has more than {unpacking.MAX_BYTES // 2**20} MiB unpacked or more than {unpacking.MAX_FILES} "
            "files: name a smaller folder with INPUT=DIR, or add what is not needed to its .gitignore"
        )


def _add(archive: tarfile.TarFile, folder: Path, name: str) -> int | None:
    """Add one file, if it is a regular one; return its size, or None where it stays behind."""
    path = folder / name
    try:
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode):
            return None
        _check_unpacked(folder, 1, status.st_size)  # before it fills the memory
        unpacking.parse_member_name(name)
        data = path.read_bytes()
    except FileNotFoundError:
        return None  # git still lists what was deleted
    except OSError as error:
        raise Refused(f"cannot read {path}: {error.strerror}") from error
    except unpacking.ArchiveRefusedError as refusal:
        raise Refused(f"a file of {folder} cannot travel, rename it or have git ignore it: {refusal}") from refusal
    member = tarfile.TarInfo(name)
    member.size = len(data)
    member.mode = 0o644
    archive.addfile(member, io.BytesIO(data))
    return len(data)
