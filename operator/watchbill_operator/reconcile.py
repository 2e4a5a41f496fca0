"""Comparing all of the API with all of the log, at the start and from time to time.

Owns when that is, our own LIST of Agents, Tasks, pods and ConfigMaps, in pages, and what follows from what is missing.
Invariant: only what the log knew before a LIST began can be found missing by it, so an object that is made meanwhile is
never taken for deleted. Writes nothing where log and API agree.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from watchbill_coordination.core.commands import Command, RemoveAgent, RemoveTask
from watchbill_coordination.core.specs import AgentName, TaskUid
from watchbill_coordination.core.state import State
from watchbill_operator.api import AGENTS, CONFIG_MAPS, PODS, TASKS, Api, ApiError, GoneError, NotAllowedError, Resource
from watchbill_operator.handlers import CONTEXT_LABEL, MANAGED_SELECTOR
from watchbill_operator.observations import Observation, parse_observation

logger = logging.getLogger(__name__)

SLICE = 50  #: objects looked at before others get their turn
RETRY_SECONDS = 1.0  #: while the API or the CRDs are not there yet
SECOND_LISTING_SECONDS = 3.0  #: from the begin of a watch to our own LIST
RECONCILE_SHARE = 50  #: comparing takes at most one part in so many of our time

See = Callable[[Observation], Awaitable[None]]

KINDS: tuple[tuple[str, Resource, str], ...] = (
    ("ConfigMap", CONFIG_MAPS, CONTEXT_LABEL),
    ("Pod", PODS, MANAGED_SELECTOR),
    ("Agent", AGENTS, ""),
    ("Task", TASKS, ""),
)


@dataclass(slots=True)
class Listing:
    """What remains of one LIST of each kind: the objects themselves are let go of page by page."""

    uids: set[str] = field(default_factory=set)
    highest_epoch: int = 0  #: that any status tells
    seconds: float = 0.0  #: that it took

    def note(self, observation: Observation) -> None:
        """Take an object down."""
        self.uids.add(observation.uid)
        self.highest_epoch = max(self.highest_epoch, _epoch(observation.body))


@dataclass(frozen=True, slots=True)
class Known:
    """What the log knew before a LIST began."""

    tasks: frozenset[TaskUid]
    agents: Mapping[AgentName, str]  #: → uid


class Pace:
    """When all is compared again: now and then, and sooner where a watch began, but never so often that it is felt."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds  #: between two comparisons of which nobody is in doubt
        self._soon = min(SECOND_LISTING_SECONDS, seconds)
        self._pause = self._soon
        self._rested_at = 0.0  #: on the clock: not before, whoever doubts
        self._doubt = asyncio.Event()

    def doubt(self) -> None:
        """A watch begins: kopf begins with a LIST of its own, and what vanished before that it never tells."""
        self._doubt.set()

    def note(self, listing: Listing) -> None:
        """A comparison ended. What it waited for an API that was away does not count, only its LIST."""
        rest = listing.seconds * RECONCILE_SHARE
        self._rested_at = time.monotonic() + rest
        self._pause = max(self._seconds, rest)

    async def wait(self) -> None:
        """Wait for the next one. A watch that begins gets the time for its LIST first; others may begin meanwhile."""
        try:
            async with asyncio.timeout(self._pause):
                await self._doubt.wait()
        except TimeoutError:
            return
        await asyncio.sleep(max(self._soon, self._rested_at - time.monotonic()))
        self._doubt.clear()


def build_known(state: State) -> Known:
    """What the log knows now."""
    agents = {name: agent.uid for name, agent in state.agents.items() if not agent.removed}
    return Known(frozenset(state.tasks), agents)


def plan_removals(known: Known, listing: Listing) -> list[Command]:
    """Commands for what the log knew and the API has not."""
    gone: list[Command] = [RemoveTask(task=uid) for uid in sorted(known.tasks) if uid not in listing.uids]
    gone += [RemoveAgent(agent=name, uid=uid) for name, uid in known.agents.items() if uid not in listing.uids]
    return gone


async def load_listing(api: Api, see: See) -> Listing:
    """LIST everything once and have each object seen, a few at a time.

    Raises:
        ApiError: a kind could not be listed to its end.
    """
    listing = Listing()
    started = time.monotonic()
    for kind, resource, selector in KINDS:
        async for page in api.pages(resource, selector):
            await _see_page(_parse_page(kind, resource, page), listing, see)
    listing.seconds = time.monotonic() - started
    return listing


async def _see_page(page: Iterable[Observation], listing: Listing, see: See) -> None:
    for number, observation in enumerate(page):
        if number % SLICE == 0:
            await asyncio.sleep(0)
        listing.note(observation)
        await see(observation)


async def load_when_there(api: Api, see: See, on_wait: Callable[[str], None]) -> Listing:
    """LIST everything as soon as the API and both CRDs are there, however long that takes."""
    while True:
        try:
            return await load_listing(api, see)
        except NotAllowedError as error:
            on_wait(f"the API does not know us or our rights: {error}")
        except GoneError as error:
            on_wait(f"the CRDs are not installed yet: {error}")
        except ApiError as error:
            on_wait(f"the API does not answer yet: {error}")
        await asyncio.sleep(RETRY_SECONDS)


def _parse_page(kind: str, resource: Resource, page: Iterable[Mapping[str, Any]]) -> Iterable[Observation]:
    """Observations of a page; items of a list do not carry their kind and version themselves."""
    for item in page:
        body = {"apiVersion": resource.version, "kind": kind, **item}
        if observation := parse_observation(kind, body):
            yield observation


def _epoch(body: Mapping[str, Any]) -> int:
    epoch = (body.get("status") or {}).get("epoch")
    return epoch if isinstance(epoch, int) else 0
