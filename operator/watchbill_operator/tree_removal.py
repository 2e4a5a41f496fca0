"""Removing a tree that somebody hostile has built.

Owns removal below a folder by descriptors: no link is followed, no depth overflows a stack, no number of files keeps it
busy for ever. Invariant: nothing outside the tree is touched, whatever is swapped while it runs. What cannot be removed
(another user's files, as a rule) is counted and left.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from dataclasses import dataclass

MAX_ENTRIES = 200_000  #: looked at in one call
MAX_DEPTH = 200  #: folders below one another, each an open descriptor
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(slots=True)
class Removal:
    """What one call did."""

    removed: int = 0
    left: int = 0  #: entries that stay, at least; what lies below a folder that cannot be entered is not counted


def remove_tree(path: str | os.PathLike[str], *, max_entries: int = MAX_ENTRIES) -> Removal:
    """Remove `path` and all below it as far as permitted. Never raises for what it finds; blocks while it works."""
    removal = Removal()
    parent, name = os.path.split(os.path.abspath(path))
    try:
        parent_fd = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return removal
    try:
        if _exists(parent_fd, name):
            _Walk(removal, max_entries).remove(parent_fd, name, 0)
    finally:
        os.close(parent_fd)
    return removal


@dataclass(slots=True)
class _Walk:
    removal: Removal
    budget: int

    def remove(self, dir_fd: int, name: str, depth: int) -> None:
        """Remove one entry; a folder after what lies in it. Recursion is bounded by `MAX_DEPTH`."""
        if self.budget <= 0:
            self.removal.left += 1
            return
        self.budget -= 1
        if self._unlink(dir_fd, name):
            return
        if depth < MAX_DEPTH:
            self._empty(dir_fd, name, depth)
        try:
            os.rmdir(name, dir_fd=dir_fd)
            self.removal.removed += 1
        except FileNotFoundError:
            pass
        except OSError:
            self.removal.left += 1

    def _unlink(self, dir_fd: int, name: str) -> bool:
        """Remove what is no folder; say whether the entry is dealt with."""
        try:
            if stat.S_ISDIR(os.stat(name, dir_fd=dir_fd, follow_symlinks=False).st_mode):
                return False
            os.unlink(name, dir_fd=dir_fd)
            self.removal.removed += 1
        except FileNotFoundError:
            pass
        except OSError:
            self.removal.left += 1
        return True

    def _empty(self, dir_fd: int, name: str, depth: int) -> None:
        try:
            folder = os.open(name, _FOLDER, dir_fd=dir_fd)
        except OSError:
            return
        try:
            for entry in os.listdir(folder):
                self.remove(folder, entry, depth + 1)
        except OSError:
            pass
        finally:
            os.close(folder)


def _exists(dir_fd: int, name: str) -> bool:
    with suppress(OSError):
        os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
        return True
    return False
