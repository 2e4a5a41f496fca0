"""Files that are either the old or the new, never half of one.

Owns replacing a file and making names durable. Invariant: a reader of the path sees whole contents at any moment, and
with `sync` what was written outlives a power cut once the call returned. Never leaves its temporary file behind when
it fails.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from pathlib import Path

TEMPORARY = ".tmp-"  #: begins the names of files that are being written
SWEEP_SECONDS = 3600.0


def write_atomic(path: Path, content: bytes, *, sync: bool = True, mode: int = 0o644) -> None:
    """Replace `path` by `content`: temporary name, fsync, rename, fsync of the directory. Raises OSError."""
    temporary = path.with_name(f"{TEMPORARY}{os.getpid()}-{path.name}")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    try:
        try:
            write_all(fd, content, 0)
            if sync:
                os.fsync(fd)
        finally:
            os.close(fd)
        os.rename(temporary, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    if sync:
        sync_directory(path.parent)


def write_all(fd: int, content: bytes, offset: int) -> None:
    """Write every byte at `offset`; the kernel may take fewer than it is given. Raises OSError."""
    view = memoryview(content)
    while view:
        written = os.pwrite(fd, view, offset)
        view = view[written:]
        offset += written


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def make_directories(*paths: Path) -> None:
    """Create directories that are missing, and make their names durable. Raises OSError."""
    for path in paths:
        if not path.is_dir():
            path.mkdir(parents=True, exist_ok=True)
            sync_directory(path.parent)


def sweep_temporaries(*directories: Path) -> None:
    """Remove temporary files and folders that a killed process left behind more than SWEEP_SECONDS ago."""
    oldest = time.time() - SWEEP_SECONDS
    for path in [path for directory in directories for path in directory.glob(f"{TEMPORARY}*")]:
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_mtime >= oldest:
                continue
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink()
