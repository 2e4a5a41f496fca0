"""When to look into the inbox.

Owns the wake-up: inotify where it works, polling where it does not. Invariant: a lost notification delays a message by
at most SAFETY_SECONDS; polling is fast while there is work and slow when there is none. Never reads the inbox.
"""

from __future__ import annotations

import asyncio
import logging
import os
from contextlib import suppress
from pathlib import Path

from asyncinotify import Inotify, Mask

SAFETY_SECONDS = 10.0  #: between two looks without a notification
FASTEST_SECONDS, SLOWEST_SECONDS = 0.02, 1.0  #: between two looks when polling: while busy, when idle
EVENT_BYTES = 64 * 1024  #: notifications that are thrown away at once; only that there were any counts

logger = logging.getLogger(__name__)


class Bell:
    """Rings when the inbox changed or somebody else wants the loop's attention."""

    def __init__(self, inbox: Path, *, notify: str) -> None:
        """Watch the inbox with inotify unless `notify` is `poll`. Needs a running event loop."""
        self._rung = asyncio.Event()
        self._pause = FASTEST_SECONDS
        self._inotify = _watch(inbox) if notify != "poll" else None
        if self._inotify is not None:
            asyncio.get_running_loop().add_reader(self._inotify.fd, self._notified)

    def ring(self) -> None:
        """Wake the loop."""
        self._rung.set()

    async def wait(self) -> None:
        """Wait for a ring, a change of the inbox, or the time to look anyway."""
        limit = SAFETY_SECONDS if self._inotify is not None else self._pause
        with suppress(TimeoutError):
            async with asyncio.timeout(limit):
                await self._rung.wait()
        self._rung.clear()

    def was_useful(self, useful: bool) -> None:
        """Adapt the pace of polling: there was something to do, or there was not."""
        self._pause = FASTEST_SECONDS if useful else min(2 * self._pause, SLOWEST_SECONDS)

    def close(self) -> None:
        """Stop watching."""
        if self._inotify is not None:
            asyncio.get_running_loop().remove_reader(self._inotify.fd)
            self._inotify.close()
            self._inotify = None

    def _notified(self) -> None:
        with suppress(BlockingIOError):
            os.read(self._inotify.fd if self._inotify is not None else -1, EVENT_BYTES)
        self._rung.set()


def _watch(inbox: Path) -> Inotify | None:
    """Return a watch on names that appear in the inbox, or None where the kernel has none to give."""
    watcher = Inotify()
    try:
        watcher.add_watch(inbox, Mask.MOVED_TO)
    except OSError as error:
        logger.warning("no inotify (%s): the inbox is polled", error)
        watcher.close()
        return None
    os.set_blocking(watcher.fd, False)
    return watcher
