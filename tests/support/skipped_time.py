"""An event loop whose time passes without being waited for: what sleeps for a minute is tested in no time.

Owns the clock of one test. Invariant: time moves only when nothing else can happen, and exactly to the next timer. For
code without threads and sockets: their answers would come too late.
"""

from __future__ import annotations

import asyncio
import selectors
import time
from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest

T = TypeVar("T")


class SkippedTime:
    """A clock in the place of `time.monotonic`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0  #: seconds
        monkeypatch.setattr(time, "monotonic", lambda: self.now)

    def run(self, main: Coroutine[Any, Any, T], *, seconds: float = 3600.0) -> T:
        """Run it to its end.

        Raises:
            TimeoutError: it had not ended after so many seconds of the clock.
        """

        async def bounded() -> T:
            async with asyncio.timeout(seconds):
                return await main

        with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(_SkippingSelector(self))) as runner:
            return runner.run(bounded())


async def let_pass(seconds: float) -> None:
    """Let everything happen that happens in so many seconds of the clock."""
    await asyncio.sleep(seconds)


class _SkippingSelector(selectors.SelectSelector):
    """Moves the clock instead of waiting."""

    def __init__(self, clock: SkippedTime) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """See what is ready now; where nothing is due either, it is the next timer's time."""
        assert timeout is not None, "everything waits, and nobody for a time"
        self._clock.now += max(0.0, timeout)
        return super().select(0)
