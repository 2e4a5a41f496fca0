"""Which status patch is sent next, and sending them.

Owns the queue of objects whose `.status` differs from what was sent. Invariants: at most one patch of an object is
under way; what is sent is built when it is sent, so the newest state wins and whatever lay between costs nothing; a
patch of low rank never delays one of high rank; while the API takes none, one is tried at a time, and ever more
seldom. `PatchQueue` is pure and takes `now`; `Patcher` sends.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from itertools import count
from typing import Any

from watchbill_operator.api import (
    Api,
    ApiError,
    ConflictError,
    GoneError,
    Request,
    Resource,
    UnavailableError,
    UnprocessableError,
)
from watchbill_operator.observations import MISSHAPEN
from watchbill_operator.outages import Outage

logger = logging.getLogger(__name__)

PARALLEL = 12  #: patches under way; the rest of the API threads stays free for pods
CROWD = 100  #: patches waiting from which on a task that has not ended is hardly worth a write
RETRY_SECONDS = 5.0  #: until a patch that found no API is offered again


class Rank(IntEnum):
    """What goes first."""

    ENDED = 0  #: a task's last patch
    POOL = 1  #: an Agent
    RUNNING = 2
    WAITING = 3  #: Pending and Queued
    PROGRESS = 4  #: how far a running task is: never in place of another patch, and not at all in a crowd


SETTLE_SECONDS: Mapping[Rank, float] = {
    Rank.ENDED: 0.0,
    Rank.POOL: 0.05,
    Rank.RUNNING: 0.1,  #: a task that ends within it costs no Running patch
    Rank.WAITING: 1.0,  #: a task that starts within it costs no Queued patch
    Rank.PROGRESS: 5.0,  #: and so at most one in that time
}
CROWDED_SECONDS: Mapping[Rank, float] = {
    Rank.RUNNING: 1.0,
    Rank.WAITING: 30.0,
}  #: the longest that a patch is put off in a crowd
POOL_SPACING_SECONDS = 1.0  #: between two patches of one Agent, whose counts change with each dispatch


@dataclass(frozen=True, slots=True)
class Target:
    """An object whose status we write. Its uid keeps a patch from another object of the same name."""

    resource: Resource
    name: str
    uid: str


@dataclass(slots=True)
class _Entry:
    rank: Rank
    offered: float
    token: int


@dataclass(slots=True)
class PatchQueue:
    """Targets that wait for a patch. Times are the caller's, in seconds of any monotonic clock."""

    waiting: dict[Target, _Entry] = field(default_factory=dict)
    under_way: dict[Target, Rank | None] = field(default_factory=dict)  #: rank offered meanwhile
    spaced_until: dict[Target, float] = field(default_factory=dict)  #: Agents only
    _heaps: dict[Rank, list[tuple[float, int, Target]]] = field(default_factory=lambda: {rank: [] for rank in Rank})
    _tokens: count[int] = field(default_factory=count)

    def offer(self, target: Target, rank: Rank, now: float, *, delay: float = 0.0) -> None:
        """Say that the object's status changed. A newer offer replaces the older one, but not its age."""
        if rank is Rank.PROGRESS and self._is_crowded():
            return
        if target in self.under_way:
            if rank is not Rank.PROGRESS or self.under_way[target] is None:
                self.under_way[target] = rank
            return
        entry = self.waiting.get(target)
        if entry is not None and (entry.rank == rank or rank is Rank.PROGRESS):
            return
        token = next(self._tokens)
        self.waiting[target] = _Entry(rank, now, token)
        due = max(now + SETTLE_SECONDS[rank], self.spaced_until.get(target, 0.0)) + delay
        heapq.heappush(self._heaps[rank], (due, token, target))

    def withdraw(self, target: Target) -> None:
        """Forget an object that is gone."""
        self.waiting.pop(target, None)
        self.spaced_until.pop(target, None)

    def take(self, now: float) -> Target | None:
        """Take the next target that is due; it is under way until `done`."""
        for rank in Rank:
            due = self._due(rank)
            if due is not None and due <= now:
                _, _, target = heapq.heappop(self._heaps[rank])
                del self.waiting[target]
                self.under_way[target] = None
                return target
        return None

    def done(self, target: Target, now: float) -> None:
        """The patch ended, well or not; what was offered meanwhile waits again."""
        rank = self.under_way.pop(target)
        if rank is not None:
            self.offer(target, rank, now)

    def space(self, target: Target, now: float) -> None:
        """Put the next patch of this Agent off."""
        self.spaced_until[target] = now + POOL_SPACING_SECONDS

    def next_due(self) -> float | None:
        """When `take` wants to be called next."""
        return min((due for rank in Rank if (due := self._due(rank)) is not None), default=None)

    def _is_crowded(self) -> bool:
        return len(self.waiting) >= CROWD

    def _due(self, rank: Rank) -> float | None:
        """When the first of that rank may go; entries that were replaced are dropped on the way."""
        heap = self._heaps[rank]
        while heap:
            due, token, target = heap[0]
            entry = self.waiting.get(target)
            if entry is not None and entry.token == token:
                put_off = CROWDED_SECONDS.get(rank, 0.0) if self._is_crowded() else 0.0
                return max(due, entry.offered + put_off)
            heapq.heappop(heap)
        return None


Build = Callable[[Target], Mapping[str, Any] | None]  #: the status to send now; None: nothing to say


class Patcher:
    """Sends what is due, `PARALLEL` at once, from the event loop."""

    def __init__(
        self, api: Api, build: Build, settled: asyncio.Event, *, epoch: int, on_fence: Callable[[str], None]
    ) -> None:
        self.queue = PatchQueue()
        self._epoch = epoch
        self._settled = settled
        self._api = api
        self._build = build
        self._on_fence = on_fence
        self._outage = Outage("statuses")
        self._wake = asyncio.Event()
        self._sending: set[asyncio.Task[None]] = set()
        self.failed: Callable[[Target], None] = lambda target: None  #: what was built last did not get there

    def offer(self, target: Target, rank: Rank) -> None:
        """Say that the object's status changed."""
        self.queue.offer(target, rank, time.monotonic())
        self._wake.set()

    async def run(self) -> None:
        """Send until cancelled."""
        while True:
            await self._settled.wait()
            self._wake.clear()
            due = self._start_due()
            timeout = None if due is None else max(0.0, due - time.monotonic())
            try:
                async with asyncio.timeout(
                    timeout
                ):  # `wait_for` of Python 3.11 loses a cancellation that meets the wake-up
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def flush(self, seconds: float) -> None:
        """Let the patches that are under way end, for at most that long."""
        if self._sending:
            await asyncio.wait(self._sending, timeout=seconds)

    def _start_due(self) -> float | None:
        """Start what may start; return when the next one is due, or None to wait for a wake-up."""
        while len(self._sending) < (1 if self._outage.lasts else PARALLEL):
            now = time.monotonic()
            target = self.queue.take(now) if now >= self._outage.until else None
            if target is None:
                due = self.queue.next_due()
                return None if due is None else max(due, self._outage.until)
            sending = asyncio.create_task(self._send(target, self._build_safely(target)))
            self._sending.add(sending)
            sending.add_done_callback(self._sent)
        return None

    def _build_safely(self, target: Target) -> Mapping[str, Any] | None:
        """The status, or None for an object that cannot be told of: it does not stop the others."""
        try:
            return self._build(target)
        except MISSHAPEN:
            logger.exception("the status of %s cannot be built", target.name)
            return None

    def _sent(self, sending: asyncio.Task[None]) -> None:
        self._sending.discard(sending)
        self._wake.set()

    async def _send(self, target: Target, status: Mapping[str, Any] | None) -> None:
        """Send one patch. An object that is gone or another is no error; a fence is the end of this operator."""
        try:
            if status is not None:
                await self._send_or_tell(target, status)
        except (ConflictError, GoneError):
            self.queue.withdraw(target)
        except UnprocessableError as error:
            self._refused(target, error)
        except UnavailableError as error:
            self._outage.fail(error, time.monotonic())
            self.queue.under_way[target] = None
            self._retry(target)
        except ApiError:
            logger.exception("the status of %s was refused", target.name)
        finally:
            now = time.monotonic()
            if target.resource.plural == "agents":
                self.queue.space(target, now)
            if target in self.queue.under_way:
                self.queue.done(target, now)

    async def _send_or_tell(self, target: Target, status: Mapping[str, Any]) -> None:
        """Send it, and tell of a failure. Any word about the patch itself is the end of an outage."""
        try:
            await self._send_status(target, status)
        except ApiError as error:
            self.failed(target)
            if not isinstance(error, UnavailableError):
                self._outage.end()
            raise
        self._outage.end()

    async def _send_status(self, target: Target, status: Mapping[str, Any]) -> None:
        """Send it; where the object tells of a later epoch than that of our record, once more under our own epoch.

        A log that was restored or adopted is older than the statuses that were written from it. Only an epoch above
        our own means that another operator leads.
        """
        try:
            await self._api.send(build_patch(target, status), attempts=self._outage.attempts)
        except UnprocessableError as error:
            if not is_fence(str(error)) or status.get("epoch", 0) >= self._epoch:
                raise
            await self._api.send(build_patch(target, {**status, "epoch": self._epoch}))

    def _refused(self, target: Target, error: UnprocessableError) -> None:
        if is_fence(str(error)):
            self._on_fence(str(error))
        else:
            logger.error("the status of %s does not fit its schema: %s", target.name, error)

    def _retry(self, target: Target) -> None:
        """Offer it again later: nothing else would before the next full reconcile."""
        rank = self.queue.under_way.pop(target) or Rank.RUNNING
        self.queue.offer(target, rank, time.monotonic(), delay=RETRY_SECONDS)


def build_patch(target: Target, status: Mapping[str, Any]) -> Request:
    """The request that writes this status on exactly this object."""
    body = {"metadata": {"uid": target.uid}, "status": status}
    return Request(method="PATCH", resource=target.resource, name=target.name, subresource="status", body=body)


def is_fence(message: str) -> bool:
    """Whether a refusal says that a later epoch, or a later record of ours, was seen already."""
    return "epoch never goes down" in message or "lastSeq never goes down" in message
