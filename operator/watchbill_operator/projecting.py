"""Keeping the projections on the volume young, beside the loop.

Owns the pace of writing them and the thread that does. Invariant: one round at a time, each from a copy of committed
state, so the loop goes on meanwhile; a projection that cannot be written harms nobody but its readers. Never changes
the state.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from watchbill_coordination.coordinator.coordinator import Coordinator, Frozen

logger = logging.getLogger(__name__)

SMALL_SECONDS = 1.0  #: registry and locks are at most so old
QUEUE_SECONDS = 5.0  #: the queue, which holds every task, and the project state
RETRY_SECONDS = 5.0  #: after a round that could not write, as on a full volume
SHARE = 20  #: a round takes at most one part in so many of our time


class ProjectionWriter:
    """Writes projections when they are due: not for every event, and never for most of the time."""

    def __init__(self, coordinator: Coordinator, wake: Callable[[], None]) -> None:
        self._coordinator = coordinator
        self._wake = wake
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="projections")
        self._round: asyncio.Task[None] | None = None
        self._seq = 0  #: of the newest queue that was written
        self._small_at = 0.0  #: monotonic, when the next round may begin
        self._queue_at = 0.0

    def start_due(self) -> None:
        """Begin a round if one is due and none is under way.

        Raises:
            Fenced: the last round found that another one leads.
        """
        if self._round and self._round.done():
            ended, self._round = self._round, None
            ended.result()
        now = time.monotonic()
        if self._round or self._is_young or now < self._small_at:
            return
        if frozen := self._coordinator.freeze():
            self._round = asyncio.create_task(self._write(frozen, now >= self._queue_at))

    def seconds_left(self, most: float) -> float:
        """How long the loop may sleep before the next round."""
        if self._round or self._is_young:
            return most
        return min(most, max(0.0, self._small_at - time.monotonic()))

    async def finish(self) -> None:
        """Wait for the round that is under way; its outcome does not matter any more."""
        if self._round:
            await asyncio.wait([self._round])

    @property
    def _is_young(self) -> bool:
        return self._seq == self._coordinator.state.seq

    async def _write(self, frozen: Frozen, with_queue: bool) -> None:
        began = time.monotonic()
        write = partial(self._coordinator.write_frozen, frozen, with_queue=with_queue)
        is_written = False
        try:
            is_written = await asyncio.get_running_loop().run_in_executor(self._thread, write)
        except OSError as error:
            logger.warning("the projections are old: %s", error)
        if is_written and with_queue:
            self._seq, self._queue_at = frozen.state.seq, began + QUEUE_SECONDS
        now = time.monotonic()
        # What was not written is still due, also where nothing else happens that would bring another round.
        pause = SMALL_SECONDS if is_written else RETRY_SECONDS
        self._small_at = now + max(pause, (now - began) * SHARE)
        self._wake()
