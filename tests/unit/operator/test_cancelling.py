"""Parts that run for ever end when they are cancelled, even at the very moment in which they are woken."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from watchbill_coordination.core.state import State
from watchbill_operator.api import TASKS
from watchbill_operator.loop import Inbox, Loop
from watchbill_operator.patching import Patcher, Rank, Target


async def cancelled_while_woken(running: asyncio.Task[None], wake: Any) -> bool:
    """Whether a task ends that is woken and cancelled in one turn of the event loop."""
    for _ in range(5):
        await asyncio.sleep(0)
    wake()
    running.cancel()
    await asyncio.wait({running}, timeout=1)
    return running.cancelled()


def test_the_patcher_ends_though_a_patch_is_offered_in_that_moment() -> None:
    """Otherwise an operator that is told to stop goes on for ever."""

    async def run() -> bool:
        settled = asyncio.Event()
        settled.set()
        patcher = Patcher(cast("Any", None), lambda target: None, settled, epoch=1, on_fence=lambda said: None)
        patcher.offer(Target(TASKS, "later", "2"), Rank.WAITING)  # so that it waits for a time, not for ever
        running = asyncio.create_task(patcher.run())
        return await cancelled_while_woken(running, lambda: patcher.offer(Target(TASKS, "a", "1"), Rank.WAITING))

    assert asyncio.run(run())


def test_the_loop_ends_though_a_command_comes_in_that_moment() -> None:
    """It sleeps until the next due time, or until it is woken."""

    class Coordinator:
        """One for which nothing is ever due, and nothing was written since the last projection."""

        state = State()

        def next_due(self) -> None:
            """Never."""

    async def run() -> bool:
        inbox = Inbox()
        loop = Loop(cast("Any", Coordinator()), inbox, cast("Any", None), cast("Any", None))

        async def sleep_for_ever() -> None:
            while True:
                await loop._sleep()
                inbox.wake.clear()

        return await cancelled_while_woken(asyncio.create_task(sleep_for_ever()), inbox.wake.set)

    assert asyncio.run(run())
