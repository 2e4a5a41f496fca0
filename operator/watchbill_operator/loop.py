"""The one task that owns the state: wishes in, one group commit, actions out.

Owns the order "decide, append, sync, look at the fence, then act". Invariants: nothing else changes the state, and
nothing acts on what is not committed: staging and committing happen in one go, without letting other tasks of this
process run in between, so whatever they read is durable. Where a full volume keeps a batch from being committed, no
action happens until it is. Never does I/O of its own but the commit: the `Actions` do.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Protocol

from watchbill_coordination.coordinator.coordinator import Committed, Coordinator
from watchbill_coordination.core.commands import Command
from watchbill_coordination.core.specs import AgentName
from watchbill_coordination.storage.faults import VolumeFull

from watchbill_operator.health import Health
from watchbill_operator.mail import Mail

logger = logging.getLogger(__name__)

BATCH = 512  #: commands of one commit; more wait for the next one
FULL_PAUSE_SECONDS = 1.0  #: between two tries to commit on a full volume
IDLE_BEAT_SECONDS = 5.0  #: the longest sleep, so that /healthz can tell idle from stuck
PROJECTION_SECONDS = 1.0  #: the files are at most so old
PROJECTION_SHARE = 20  #: and take at most one part in so many of our time


class Actions(Protocol):
    """What follows from a commit."""

    def act(self, committed: Committed, mail: list[Mail]) -> None:
        """Deliver, patch, plan and count for what was touched."""

    def plan(self, agents: set[AgentName]) -> None:
        """Plan the pods of these Agents."""


@dataclass(slots=True)
class Inbox:
    """What waits for the loop."""

    commands: deque[Command | Mail] = field(default_factory=deque)
    agents: set[AgentName] = field(default_factory=set)  #: to be planned
    wake: asyncio.Event = field(default_factory=asyncio.Event)

    def submit(self, item: Command | Mail) -> None:
        """Hand a wish over."""
        self.commands.append(item)
        self.wake.set()

    def replan(self, agent: AgentName) -> None:
        """Ask for a look at an Agent's pods."""
        self.agents.add(agent)
        self.wake.set()

    def take(self) -> tuple[list[Command], list[Mail]]:
        """The next batch: the commands, and the files that some of them came in."""
        commands: list[Command] = []
        mail: list[Mail] = []
        while self.commands and len(commands) < BATCH:
            item = self.commands.popleft()
            if isinstance(item, Mail):
                mail.append(item)
                commands.extend(item.commands)
            else:
                commands.append(item)
        return commands, mail


class Loop:
    """The task. `run` ends by cancellation, or by an error of the log, after which the process must end."""

    def __init__(self, coordinator: Coordinator, inbox: Inbox, actions: Actions, health: Health) -> None:
        self._coordinator = coordinator
        self._inbox = inbox
        self._actions = actions
        self._health = health
        self._projected_seq = 0
        self._project_at = 0.0

    async def run(self) -> None:
        """Turn until cancelled.

        Raises:
            StorageFault: the log cannot be used any more by this process.
        """
        while True:
            await self._turn()
            self._health.beat()
            self._project()
            if not self._inbox.commands and not self._inbox.agents:
                await self._sleep()
            else:
                await asyncio.sleep(0)

    async def _turn(self) -> None:
        """Decide what waits, commit it, act on it."""
        self._inbox.wake.clear()
        commands, mail = self._inbox.take()
        for command, rejected in zip(commands, self._coordinator.stage(commands, time.time()), strict=True):
            if rejected is not None:
                logger.debug("refused: %s: %s", type(command).__name__, rejected.reason)
        committed = await self._commit()
        self._actions.act(committed, mail)
        agents, self._inbox.agents = self._inbox.agents, set()
        if agents:
            self._actions.plan(agents)

    async def _commit(self) -> Committed:
        """Commit; on a full volume hold everything until there is room. Agents go on with what they have."""
        while True:
            try:
                return self._coordinator.commit()
            except VolumeFull as fault:
                logger.error("%s", fault)  # noqa: TRY400  # expected, and told in one sentence
                self._health.waiting_for = str(fault)
            self._health.beat()
            await asyncio.sleep(FULL_PAUSE_SECONDS)

    async def _sleep(self) -> None:
        """Wait for a wish or for the next thing that falls due."""
        due = self._coordinator.next_due()
        seconds = IDLE_BEAT_SECONDS
        if due is not None:
            seconds = min(seconds, max(0.0, due - time.time()))
        if self._projected_seq != self._coordinator.state.seq:
            seconds = min(seconds, max(0.0, self._project_at - time.monotonic()))
        try:
            await asyncio.wait_for(self._inbox.wake.wait(), seconds)
        except TimeoutError:
            return

    def _project(self) -> None:
        """Write the projections when they are due: not for every event, and never for most of the time."""
        now = time.monotonic()
        if self._projected_seq == self._coordinator.state.seq or now < self._project_at:
            return
        self._coordinator.write_projections()
        self._projected_seq = self._coordinator.state.seq
        took = time.monotonic() - now
        self._project_at = now + max(PROJECTION_SECONDS, took * PROJECTION_SHARE)
