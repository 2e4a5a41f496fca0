"""What has to be looked at from time to time: heartbeats, times to live, and what is left of things that are gone.

Owns these rounds and their pace. Invariants: nothing here is needed for a task to run; a round that fails is made up
for by the next; nothing is removed that a successor may need. Reading folders that agents write to happens in a thread,
so that a slow volume does not hold the loop.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from watchbill_coordination.core.commands import Command
from watchbill_coordination.core.due import expired_tasks
from watchbill_coordination.core.specs import ReplicaName, TaskUid
from watchbill_coordination.core.state import ReplicaPhase, State
from watchbill_coordination.storage.layout import Layout
from watchbill_operator.api import TASKS, Api, ApiError, ConflictError, GoneError, Request
from watchbill_operator.heartbeats import Heartbeat, Pulses, evolve_pulses, find_stale, read_heartbeat
from watchbill_operator.ledgers import list_ledgers, plan_ledger_removal, remove_ledgers, runs_claude
from watchbill_operator.transcripts import (
    forget_transcripts,
    keep_transcripts,
    list_kept,
    list_transcripts,
    plan_forgetting,
    plan_keeping,
)
from watchbill_operator.workspaces import (
    list_results,
    list_work,
    list_workspaces,
    plan_cleanup,
    plan_result_removal,
    plan_workspace_removal,
    remove_results,
    remove_workspace,
)

logger = logging.getLogger(__name__)

LOOK_SECONDS = 5.0  #: between two looks at heartbeats and times to live
TIDY_SECONDS = 60.0  #: between two looks at what may be removed
DELETIONS = 100  #: Tasks deleted in one look


@dataclass(slots=True)
class HouseWiring:
    """What the rounds are connected to."""

    submit: Callable[[Command], None]
    clean: Callable[[ReplicaName, tuple[TaskUid, ...]], None]  #: send a cleanup message
    close: Callable[[ReplicaName], None]  #: the mailboxes of a replica whose workspace goes
    pods: Callable[[], set[str]]  #: names of the pods that are there
    settled: asyncio.Event  #: the state is durable
    is_deposed: Callable[[], bool]  #: another operator leads, and knows of more than we do. Raises OSError


class Housekeeping:
    """The rounds."""

    def __init__(self, api: Api, layout: Layout, state: State, wiring: HouseWiring) -> None:
        self._api = api
        self._layout = layout
        self._state = state
        self._wiring = wiring
        self._pulses = Pulses()
        self._left: set[ReplicaName] = set()  #: workspaces that could not be removed, reported once

    async def run(self) -> None:
        """Make the rounds until cancelled."""
        tidied = time.monotonic()
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await self._look_at_heartbeats()
            await self._end_lives()
            if time.monotonic() - tidied >= TIDY_SECONDS:
                await self._tidy()
                tidied = time.monotonic()

    async def _look_at_heartbeats(self) -> None:
        """Give up replicas that have fallen silent."""
        living = [
            replica
            for replica in self._state.replicas.values()
            if replica.phase in (ReplicaPhase.READY, ReplicaPhase.DRAINING)
        ]
        names = [replica.name for replica in living]
        seen = await asyncio.to_thread(self._read_heartbeats, names)
        self._pulses = evolve_pulses(self._pulses, living, seen, time.monotonic())
        for command in find_stale(self._pulses):
            self._wiring.submit(command)

    def _read_heartbeats(self, names: list[ReplicaName]) -> dict[ReplicaName, Heartbeat | None]:
        return {name: read_heartbeat(self._layout, name) for name in names}

    async def _end_lives(self) -> None:
        """Delete finished Tasks whose time to live is over; the deletion comes back as an observation."""
        await self._wiring.settled.wait()
        expired = expired_tasks(self._state, time.time())[:DELETIONS]
        if not expired or self._is_deposed():
            return
        for uid in expired:
            task = self._state.tasks.get(uid)
            if task is None:
                continue
            body = {"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": {"uid": uid}}
            try:
                await self._api.send(Request(method="DELETE", resource=TASKS, name=task.name, body=body))
            except (ConflictError, GoneError):
                continue
            except ApiError as error:
                logger.warning("the finished Task %s was not deleted: %s", task.name, error)
                return

    async def _tidy(self) -> None:
        """Remove workspaces and results that nobody needs, and have agents remove the work of Tasks that are gone."""
        present = await asyncio.to_thread(list_workspaces, self._layout)
        await self._wiring.settled.wait()
        unneeded = plan_workspace_removal(present, self._state, self._wiring.pods())
        for replica in unneeded if unneeded and not self._is_deposed() else ():
            await self._remove_workspace(replica)
        for replica in list(self._state.replicas):
            work = await asyncio.to_thread(list_work, self._layout, replica)
            await self._wiring.settled.wait()
            if tasks := plan_cleanup(work, replica, self._state):
                self._wiring.clean(replica, tasks)
        await self._tidy_accounts()
        present_results = await asyncio.to_thread(list_results, self._layout)
        await self._wiring.settled.wait()
        results = plan_result_removal(present_results, self._state)
        if results and not self._is_deposed():
            await asyncio.to_thread(remove_results, self._layout, results)

    async def _tidy_accounts(self) -> None:
        """Remove the ledgers and kept transcripts of Tasks that are gone."""
        for replica in [name for name in self._state.replicas if runs_claude(self._state, name)]:
            ledgers = await asyncio.to_thread(list_ledgers, self._layout, replica)
            await self._wiring.settled.wait()
            unneeded = plan_ledger_removal(ledgers, self._state)
            if unneeded and not self._is_deposed():
                await asyncio.to_thread(remove_ledgers, self._layout, replica, unneeded)
        kept = await asyncio.to_thread(list_kept, self._layout)
        await self._wiring.settled.wait()
        forgotten = plan_forgetting(kept, self._state)
        if forgotten and not self._is_deposed():
            await asyncio.to_thread(forget_transcripts, self._layout, forgotten)

    def _is_deposed(self) -> bool:
        """Whether what looks unneeded may be a successor's; where that cannot be told, it may."""
        try:
            return self._wiring.is_deposed()
        except OSError as error:
            logger.warning("nothing is removed: %s", error)
            return True

    async def _remove_workspace(self, replica: ReplicaName) -> None:
        """Remove a workspace, after what has to outlive it was copied."""
        self._wiring.close(replica)
        try:
            present = await asyncio.to_thread(list_transcripts, self._layout, replica)
            await self._wiring.settled.wait()
            if attempts := plan_keeping(present, replica, self._state):
                await asyncio.to_thread(keep_transcripts, self._layout, replica, attempts)
            finding = await asyncio.to_thread(remove_workspace, self._layout, replica)
        except OSError as error:
            logger.warning("the workspace of %s was not removed: %s", replica, error)
            return
        if finding and replica not in self._left:
            self._left.add(replica)
            logger.warning("%s", finding.message)
