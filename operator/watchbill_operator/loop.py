"""The one task that owns the state: wishes in, one group commit, actions out.

Owns the order "decide, append, sync, look at the fence, then act". Invariants: nothing else changes the state, and
nothing acts on what is not committed. On a quick volume staging and committing happen in one go, so that whatever other
tasks of this process read is durable; on a slow or full one they run meanwhile, and `settled` tells them that the state
is ahead of the disk. Never does I/O of its own but the commit: the `Actions` do.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Protocol

from watchbill_coordination.coordinator.coordinator import Committed, Coordinator
from watchbill_coordination.core.commands import Command
from watchbill_coordination.core.specs import AgentName
from watchbill_coordination.storage.faults import VolumeFull
from watchbill_operator.health import Health
from watchbill_operator.mail import Mail
from watchbill_operator.projecting import ProjectionWriter

logger = logging.getLogger(__name__)

BATCH = 512  #: commands of one commit; more wait for the next one
FULL_PAUSE_SECONDS = 1.0  #: between two tries to commit on a full volume, and between two looks whether there is room
SLOW_SECONDS = 0.001  #: a commit that usually takes longer is worth the hand-over to a thread, 0.2 ms
IDLE_BEAT_SECONDS = 5.0  #: the longest sleep, so that /healthz can tell idle from stuck


class Actions(Protocol):
    """What follows from a commit."""

    def act(self, committed: Committed, mail: list[Mail]) -> None:
        """Deliver, patch, plan and count for what was touched."""

    def plan(self, agents: set[AgentName]) -> None:
        """Plan the pods of these Agents."""

    def hold(self, trouble: str) -> None:
        """Tell that new work is held, and why; empty: it is not any more."""


@dataclass(slots=True)
class Inbox:
    """What waits for the loop."""

    commands: deque[Command | Mail] = field(default_factory=deque)
    agents: set[AgentName] = field(default_factory=set)  #: to be planned
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    settled: asyncio.Event = field(default_factory=asyncio.Event)  #: the state is durable: it may be acted on

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
        self._committer = ThreadPoolExecutor(1, thread_name_prefix="commit")
        self._usual_seconds = 0.0  #: of a commit, smoothed
        self._held = ""  #: why new work is held, as it was told
        self._projections = ProjectionWriter(coordinator, inbox.wake.set)
        inbox.settled.set()

    async def run(self) -> None:
        """Turn until cancelled.

        Raises:
            StorageFault: the log cannot be used any more by this process.
        """
        try:
            while True:
                await self._turn()
                self._health.beat()
                self._projections.start_due()
                await self._sleep()
        finally:
            await self._projections.finish()

    async def _turn(self) -> None:
        """Decide what waits, commit it, act on it."""
        self._inbox.wake.clear()
        commands, mail = self._inbox.take()
        self._inbox.settled.clear()
        for command, rejected in zip(commands, self._coordinator.stage(commands, time.time()), strict=True):
            if rejected is not None:
                logger.debug("refused: %s: %s", type(command).__name__, rejected.reason)
        committed = await self._commit()
        if mail and not committed.records:
            self._coordinator.check_fence()  # no commit looked it up, and what is acknowledged is gone for a successor
        self._inbox.settled.set()
        self._tell_hold()
        self._actions.act(committed, mail)
        agents, self._inbox.agents = self._inbox.agents, set()
        if agents:
            self._actions.plan(agents)

    async def _commit(self) -> Committed:
        """Commit; on a full volume hold everything until there is room. Agents go on with what they have."""
        while True:
            started = time.monotonic()
            try:
                committed = await self._commit_once()
            except VolumeFull as fault:
                logger.error("%s", fault)  # noqa: TRY400  # expected, and told in one sentence
                self._health.volume = str(fault)
                self._health.beat()
                await asyncio.sleep(FULL_PAUSE_SECONDS)
                continue
            if committed.records:
                self._usual_seconds += (time.monotonic() - started - self._usual_seconds) / 8
            return committed

    def _tell_hold(self) -> None:
        """Say that new work is held, or no longer, once for each change."""
        trouble = self._coordinator.held
        self._health.volume = trouble
        if trouble == self._held:
            return
        self._held = trouble
        logger.warning("%s", trouble or "the volume has room again: new work is started")
        self._actions.hold(trouble)

    async def _commit_once(self) -> Committed:
        """Commit here, or in a thread where the volume is slow. Cancelled, it ends only after the commit has."""
        if self._usual_seconds < SLOW_SECONDS or not self._coordinator.pending:
            return self._coordinator.commit()
        loop = asyncio.get_running_loop()
        committing = loop.run_in_executor(self._committer, self._coordinator.commit)
        try:
            return await asyncio.shield(committing)
        except asyncio.CancelledError:
            await asyncio.wait([committing])
            committing.exception()  # a fault is remembered by the log, and told to whoever closes it
            raise

    async def _sleep(self) -> None:
        """Wait for a wish or for the next thing that falls due."""
        if self._inbox.commands or self._inbox.agents:
            await asyncio.sleep(0)
            return
        due = self._coordinator.next_due()
        seconds = self._projections.seconds_left(FULL_PAUSE_SECONDS if self._held else IDLE_BEAT_SECONDS)
        if due is not None:
            seconds = min(seconds, max(0.0, due - time.time()))
        try:
            async with asyncio.timeout(
                seconds
            ):  # `wait_for` of Python 3.11 loses a cancellation that meets the wake-up
                await self._inbox.wake.wait()
        except TimeoutError:
            return
