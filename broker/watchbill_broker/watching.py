"""When to look at the grants again.

Owns the wake-up: inotify where it works, polling where it does not. Invariant: a change is seen within SLOWEST_SECONDS
without inotify and within SAFETY_SECONDS where a notification was lost; a folder that is not there yet is waited for.
Never reads what is in the folder beyond the stat of one file.
"""

from __future__ import annotations

import asyncio
import logging
import os
from contextlib import suppress
from pathlib import Path

from asyncinotify import Inotify, Mask

FASTEST_SECONDS, SLOWEST_SECONDS = 0.02, 0.25  #: between two looks when polling: after a change, when all is quiet
SAFETY_SECONDS = 1.0  #: between two looks where changes are notified; other hosts' writes come without
EVENT_BYTES = 64 * 1024  #: notifications that are thrown away at once; only that there were any counts

logger = logging.getLogger(__name__)


class FolderWatch:
    """Tells when one file of a folder may have changed."""

    def __init__(self, folder: Path, name: str, *, notify: str) -> None:
        """Watch with inotify unless `notify` is `poll`. Needs a running event loop to wait."""
        self._path = folder / name
        self._wants_notification = notify != "poll"
        self._inotify: Inotify | None = None
        self._rung = asyncio.Event()
        self._seen: tuple[int, int, int] | None = None

    async def wait(self) -> None:
        """Return when the file's identity, size or time differs from the last call, or has never been looked at."""
        pause = FASTEST_SECONDS
        while True:
            self._arm()
            now = _identity(self._path)
            if now != self._seen:
                self._seen = now
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(SAFETY_SECONDS if self._inotify else pause):
                    await self._rung.wait()
            pause = min(2 * pause, SLOWEST_SECONDS)
            self._rung.clear()

    def close(self) -> None:
        """Stop watching."""
        if self._inotify is not None:
            asyncio.get_running_loop().remove_reader(self._inotify.fd)
            self._inotify.close()
            self._inotify = None

    def _arm(self) -> None:
        """Begin to watch as soon as the folder is there."""
        if self._inotify is not None or not self._wants_notification or not self._path.parent.is_dir():
            return
        watcher: Inotify | None = None
        try:
            watcher = Inotify()  # a user has 128 of them, often
            watcher.add_watch(self._path.parent, Mask.MOVED_TO | Mask.CLOSE_WRITE | Mask.DELETE)
        except OSError as error:
            logger.warning("no inotify (%s): the grants are polled", error)
            self._wants_notification = False
            if watcher is not None:
                watcher.close()
            return
        os.set_blocking(watcher.fd, False)
        asyncio.get_running_loop().add_reader(watcher.fd, self._notified)
        self._inotify = watcher

    def _notified(self) -> None:
        with suppress(BlockingIOError):
            os.read(self._inotify.fd if self._inotify is not None else -1, EVENT_BYTES)
        self._rung.set()


def _identity(path: Path) -> tuple[int, int, int] | None:
    """What differs after every atomic replacement."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size
