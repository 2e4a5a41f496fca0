"""What attempts used of their model, beyond what their last words brought: lost ones, late answers, what was missed.

Owns when a ledger is looked at again. Invariants: an attempt that was lost is looked at when the log has it; each that
ended once more a while later, since its broker may still have counted; at the start all ledgers are, so that nothing is
lost with an operator. Reading happens in a thread. What is known already leads to no record. Never decides what counts.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable

from watchbill_coordination.core.commands import Command
from watchbill_coordination.core.events import AttemptFailed, AttemptLost, Event, Recorded, TaskCancelled, TaskSucceeded
from watchbill_coordination.core.specs import ReplicaName, TaskUid
from watchbill_coordination.core.state import State
from watchbill_coordination.core.working_events import AttemptGivenBack
from watchbill_coordination.storage.layout import Layout
from watchbill_operator.ledgers import Account, build_report, list_ledgers, plan_reading, read_ledger, runs_claude

LATER_SECONDS = 15.0  #: from an attempt's end to the last look at its ledger
SLICE = 200  #: ledgers read before others get their turn
ENDED = frozenset({TaskSucceeded, AttemptFailed, AttemptGivenBack, AttemptLost, TaskCancelled})

Place = tuple[ReplicaName, TaskUid, int]  #: replica, task, attempt


class UsageKeeper:
    """Reads ledgers of attempts that are over."""

    def __init__(self, layout: Layout, state: State, submit: Callable[[Command], None], settled: asyncio.Event) -> None:
        self._layout = layout
        self._state = state
        self._submit = submit
        self._settled = settled
        self._lost: list[Place] = []  #: to be looked at now
        self._later: dict[Place, float] = {}  #: → when to look, in monotonic seconds; the first comes first
        self._wake = asyncio.Event()

    def note(self, records: Iterable[Recorded]) -> None:
        """Remember the attempts with a model that ended in a commit."""
        for recorded in records:
            place = self._find_place(recorded.event) if type(recorded.event) in ENDED else None
            if place is None or not runs_claude(self._state, place[0]):
                continue
            self._later.pop(place, None)
            self._later[place] = time.monotonic() + LATER_SECONDS
            if isinstance(recorded.event, AttemptLost):
                self._lost.append(place)
            self._wake.set()

    async def run(self) -> None:
        """Look until cancelled."""
        await self._sweep()
        while True:
            await self._sleep()
            self._wake.clear()
            places, self._lost = self._lost, []
            places += self._take_due()
            await self._report(places)

    def _find_place(self, event: Event) -> Place | None:
        """Which attempt ended with this event."""
        if isinstance(event, TaskSucceeded | AttemptFailed | AttemptGivenBack | AttemptLost):
            return event.agent, event.task, event.attempt
        task = self._state.tasks.get(event.task) if isinstance(event, TaskCancelled) else None
        return (task.agent, task.uid, task.attempt) if task is not None and task.agent is not None else None

    def _take_due(self) -> list[Place]:
        now, due = time.monotonic(), []
        for place, at in self._later.items():
            if at > now:
                break
            due.append(place)
        for place in due:
            del self._later[place]
        return due

    async def _sleep(self) -> None:
        """Wait for the next look."""
        first = next(iter(self._later.values()), None)
        try:
            async with asyncio.timeout(None if first is None else max(0.0, first - time.monotonic())):
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
            for account in await asyncio.to_thread(self._read, places[start : start + SLICE]):
                self._submit(build_report(account))

    def _read(self, places: Iterable[Place]) -> list[Account]:
        accounts = [read_ledger(self._layout, *place) for place in places]
        return [account for account in accounts if account is not None]
