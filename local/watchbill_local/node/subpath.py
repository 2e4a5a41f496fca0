"""Directories below a volume, reached without following symbolic links.

Owns the walk from a volume's top to a `subPath`. Invariant: each component is opened relative to the one before it and
never through a link, so what a container writes into a volume cannot redirect another mount. Missing components are
made with mode 0755, as the kubelet does.
"""

from __future__ import annotations

import contextlib
import os
import stat


def open_beneath(top: str, subpath: str, *, create: bool = False) -> int:
    """Open `subpath` below the directory `top` and return the descriptor (O_PATH, close-on-exec).

    Raises OSError where a component is missing (unless `create`), is a link, or is `..`.
    """
    parts = [part for part in subpath.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise OSError(f"subPath must not contain '..': {subpath}")
    here = os.open(top, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    for part in parts[:-1]:
        here = _step(here, part, create=create, flags=os.O_DIRECTORY)
    return _step(here, parts[-1], create=create, flags=0) if parts else here


def _step(parent: int, name: str, *, create: bool, flags: int) -> int:
    try:
        if create:
            with contextlib.suppress(FileExistsError):
                os.mkdir(name, 0o755, dir_fd=parent)
        found = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC | flags, dir_fd=parent)
    finally:
        os.close(parent)
    if stat.S_ISLNK(os.fstat(found).st_mode):
        os.close(found)
        raise OSError(f"subPath leads through a symbolic link: {name}")
    return found
