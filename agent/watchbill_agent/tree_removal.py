"""Removing a tree that a command has built.

Owns removal below one folder by descriptors. Invariant: no link is followed, and no depth is too much: nothing is
recursive, one folder is open at a time besides the top, and no path grows, since each folder hands those that it holds
up to the top before it goes. What cannot be removed is left there.
"""

from __future__ import annotations

import logging
import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

logger = logging.getLogger(__name__)


def remove_tree(path: Path) -> None:
    """Remove a folder, also one whose inner folders a command closed to us, or a file; never follows a link.

    Raises OSError where it is a file that cannot be removed.
    """
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
        return
    try:
        path.chmod(0o700)
        top = os.open(path, _FOLDER)
        try:
            _empty(top)
        finally:
            os.close(top)
        path.rmdir()
    except OSError as error:
        logger.warning("%s could not be removed: %s", path, error)


def _empty(top: int) -> None:
    """Remove what is in a folder, level by level, until nothing is left that can be. Raises OSError."""
    left: set[str] = set()
    while names := [name for name in os.listdir(top) if name not in left]:
        for name in names:
            if not _remove(top, name):
                left.add(name)


def _remove(top: int, name: str) -> bool:
    """Remove an entry of the top; folders in it are at the top then. Whether it is gone."""
    try:
        if _unlink(top, name):
            return True
        _lift_all(top, name)
        os.rmdir(name, dir_fd=top)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def _lift_all(top: int, name: str) -> None:
    """Empty a folder of the top as far as that is permitted. Raises OSError where it cannot be opened."""
    os.chmod(name, 0o700, dir_fd=top)
    folder = os.open(name, _FOLDER, dir_fd=top)
    try:
        for inner in os.listdir(folder):
            with suppress(OSError):
                _unlink_or_lift(folder, inner, top)
    finally:
        os.close(folder)


def _unlink(folder: int, name: str) -> bool:
    """Remove an entry that is no folder; whether it was none. Raises OSError."""
    if stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
        return False
    os.unlink(name, dir_fd=folder)
    return True


def _unlink_or_lift(folder: int, name: str, top: int) -> None:
    """Remove an entry, or move a folder to the top under a name that nobody has. Raises OSError."""
    if _unlink(folder, name):
        return
    os.chmod(name, 0o700, dir_fd=folder)  # one that is closed to us cannot be moved
    os.rename(name, secrets.token_hex(16), src_dir_fd=folder, dst_dir_fd=top)
