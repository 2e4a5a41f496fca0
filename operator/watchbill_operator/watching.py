"""kopf's life: begun, begun again after whatever ended it, and listened to for gaps.

Owns running kopf within an operator that leads. Invariants: nothing that happens to a watch ends the operator, for the
log and the agents go on without one; each time that a watch begins, for the first time or after a gap, `doubt` is told,
since nobody tells of the objects that vanished in the gap. Decides nothing about objects.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import kopf

from watchbill_operator.handlers import EndlessBackoffs, Observe, build_registry, build_settings

logger = logging.getLogger(__name__)

RESTART_SECONDS = 1.0  #: between an end of kopf and the question whether all kinds are served
STOP_SECONDS = 1.0  #: for kopf's own tasks to end


class HeardBackoffs(Iterable[float]):
    """Pauses between kopf's tries of a request, in seconds, that tell when one is taken.

    kopf takes the first before it sends a LIST or a WATCH at all and one more for each failure; both mean that a watch
    begins, perhaps after a gap.
    """

    def __init__(self, pauses: Iterable[float], tell: Callable[[], None]) -> None:
        self._pauses = pauses
        self._tell = tell

    def __iter__(self) -> Iterator[float]:
        for pause in self._pauses:
            self._tell()
            yield pause


@dataclass(frozen=True, slots=True)
class WatchWiring:
    """What the watching is connected to. All are called from the event loop."""

    observe: Observe
    doubt: Callable[[], None]  #: a watch begins: what vanished before is told by nobody
    spawned: Callable[[], None]  #: kopf has begun, and has taken the signals for itself
    wait_until_there: Callable[[], Awaitable[None]]  #: until every kind can be listed


class Watching:
    """Runs kopf in one namespace."""

    def __init__(self, namespace: str, kubeconfig: Path | None, wiring: WatchWiring) -> None:
        self._namespace = namespace
        self._kubeconfig = kubeconfig
        self._wiring = wiring

    async def run(self) -> None:
        """Watch until cancelled, whatever ends kopf meanwhile: kinds that are no longer served, or its own defects."""
        while True:
            end = await self._watch()
            logger.warning("the watches ended and begin again: %s", end)
            await asyncio.sleep(RESTART_SECONDS)
            await self._wiring.wait_until_there()

    async def _watch(self) -> str:
        """Run kopf once; return what ended it."""
        settings = build_settings()
        settings.networking.error_backoffs = HeardBackoffs(EndlessBackoffs(), self._wiring.doubt)
        tasks = await kopf.spawn_tasks(
            registry=build_registry(self._wiring.observe, self._kubeconfig),
            settings=settings,
            standalone=True,
            namespaces=[self._namespace],
            identity=cast(
                "Any", "watchbill"
            ),  # its type is not public; kopf's own choice fails for a uid without a name
        )
        self._wiring.spawned()
        try:
            # Not kopf's own `run_tasks`: in the end it cancels all tasks of this event loop, which are ours too.
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=STOP_SECONDS)
        return "; ".join(_tell_end(task) for task in done)


def _tell_end(task: asyncio.Task[None]) -> str:
    error = None if task.cancelled() else task.exception()
    return f"{type(error).__name__}: {error}" if error else f"{task.get_name()} ended"
