"""What attempts used of their model, where no last word of theirs brings it: lost ones, and what was missed.

Owns when a ledger is looked at again. Invariants: an attempt that was lost is looked at when the log has it and once
more a while later, since its broker may outlive it; at the start all ledgers are, so that nothing is lost with an
operator; reading happens in a thread. What is known already leads to no record. Never decides what counts.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable

from watchbill_coordination.core.commands import Command
from watchbill_coordination.core.events import AttemptLost, Recorded
from watchbill_coordination.core.specs import ReplicaName, TaskUid
from watchbill_coordination.core.state import State
from watchbill_coordination.storage.layout import Layout
from watchbill_operator.ledgers import (
    Account,
    build_report,
    list_ledgers,
    plan_reading,
    read_ledger,
    runs_claude,
)

logger = logging.getLogger(__name__)

LOOKS = 2  #: at the ledger of a lost attempt
SECOND_LOOK_SECONDS = 15.0
SLICE = 200  #: ledgers read before others get their turn

Place = tuple[ReplicaName, TaskUid, int]  #: replica, task, attempt


class UsageKeeper:
    """Reads ledgers that no message told of."""

    def __init__(self, layout: Layout, state: State, submit: Callable[[Command], None], settled: asyncio.Event) -> None:
        self._layout = layout
        self._state = state
        self._submit = submit
        self._settled = settled
        self._looks: dict[Place, int] = {}  #: that are still to be made
        self._wake = asyncio.Event()

    def note(self, records: Iterable[Recorded]) -> None:
        """Remember the attempts with a model that were lost in a commit."""
        for recorded in records:
            event = recorded.event
            if isinstance(event, AttemptLost) and runs_claude(self._state, event.agent):
                self._looks[event.agent, event.task, event.attempt] = LOOKS
                self._wake.set()

    async def run(self) -> None:
        """Look until cancelled."""
        await self._sweep()
        while True:
            await self._sleep()
            self._wake.clear()
            places = list(self._looks)
            self._looks = {place: left - 1 for place, left in self._looks.items() if left > 1}
            await self._report(places)

    async def _sleep(self) -> None:
        try:
            async with asyncio.timeout(SECOND_LOOK_SECONDS if self._looks else None):
                await self._wake.wait()
        except TimeoutError:
            return

    async def _sweep(self) -> None:
        """Look at all ledgers of attempts that are over."""
        await self._settled.wait()
        for replica in [name for name in self._state.replicas if runs_claude(self._state, name)]:
            present = await asyncio.to_thread(list_ledgers, self._layout, replica)
            await self._settled.wait()
            await self._report([(replica, *attempt) for attempt in plan_reading(present, replica, self._state)])

    async def _report(self, places: list[Place]) -> None:
        for start in range(0, len(places), SLICE):
            accounts = await asyncio.to_thread(self._read, places[start : start + SLICE])
            for account in accounts:
                self._submit(build_report(account))

    def _read(self, places: Iterable[Place]) -> list[Account]:
        accounts = [read_ledger(self._layout, *place) for place in places]
        return [account for account in accounts if account is not None]
