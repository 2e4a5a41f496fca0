"""One operator process: from its configuration to its exit code.

Owns the order of start and stop, the signals, and the translation of what ended it into an exit code and one sentence
on standard error. Invariant: nothing is appended before the Lease is held, and the Lease is not given back before the
log is closed.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from watchbill_coordination.coordinator.coordinator import Coordinator
from watchbill_coordination.core.events import LogOpened
from watchbill_coordination.storage.atomic import write_atomic
from watchbill_coordination.storage.epochs import Holder, load_own_holder
from watchbill_coordination.storage.faults import Fenced
from watchbill_coordination.storage.layout import Layout
from watchbill_coordination.storage.reading import read_log
from watchbill_coordination.storage.reserve import is_full_error, release_reserve
from watchbill_operator.api import Api, connector
from watchbill_operator.config import Config
from watchbill_operator.election import Election, LeaseView, load_identity
from watchbill_operator.endings import OtherLogError, explain_end, first_of
from watchbill_operator.health import Health, HealthServer
from watchbill_operator.leader import Leader
from watchbill_operator.metrics import Metrics
from watchbill_operator.observations import Observation
from watchbill_operator.reconcile import load_when_there
from watchbill_operator.start_checks import wait_until_sound
from watchbill_operator.watching import Watching, WatchWiring

logger = logging.getLogger(__name__)

WATCH_STOP_SECONDS = 2.0
FULL_RETRY_SECONDS = 5.0  #: between two tries to open the log on a full volume
BEAT_SECONDS = 5.0  #: between two signs of life while the log is read
GC_THRESHOLD = 10_000  #: new objects before a look at the young ones


class Process:
    """One operator process."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._health = Health()
        self._metrics = Metrics()
        self._server = HealthServer(self._health, self._metrics)
        connect = connector(config.kubeconfig)
        self._api = Api(connect, config.namespace, observe=self._metrics.count_call)
        # The Lease has a thread of its own: a crowd of other calls must not cost the leadership.
        lease_api = Api(connect, config.namespace, threads=1, observe=self._metrics.count_call)
        self._election = Election(lease_api, load_identity(config.pod_uid), seconds=config.lease_seconds)
        self._stop = asyncio.Event()
        self._address = ""

    async def run(self) -> None:
        """Lead until told to stop.

        Raises:
            StorageFault, LeaseLostError, OtherLogError, ApiError, OSError: what ended it.
        """
        self._watch_signals()
        self._address = await self._server.start(self._config.http_host, self._config.http_port)
        try:
            self._tell("waiting")
            follower = asyncio.create_task(self._follow_and_lead())
            stopped = asyncio.create_task(self._stop.wait())
            await asyncio.wait([follower, stopped], return_when=asyncio.FIRST_COMPLETED)
            stopped.cancel()
            if not follower.done():
                follower.cancel()
            await _settled(follower)
        finally:
            await self._server.stop()
            self._api.close()

    def _watch_signals(self) -> None:
        """Take SIGTERM and SIGINT as the wish to stop; kopf takes them for itself whenever it begins."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)

    async def _follow_and_lead(self) -> None:
        await wait_until_sound(self._api, self._config, self._wait)
        lease = await self._election.acquire(self._wait, self._stand_by)
        try:
            keeping = asyncio.create_task(self._election.keep())
            leading = asyncio.create_task(self._lead(lease))
            try:
                await asyncio.wait([keeping, leading], return_when=asyncio.FIRST_COMPLETED)
            finally:
                keeping.cancel()
                leading.cancel()
                await asyncio.wait([keeping, leading])
            for task in (keeping, leading):
                await _settled(task)
        finally:
            await self._election.release()

    async def _lead(self, lease: LeaseView) -> None:
        """Claim the epoch, then do an operator's work until cancelled or until it fails."""
        listing = await load_when_there(self._api, _ignore, self._wait)  # for the epochs in it, before one is claimed
        self._check_log(lease)
        self._wait("reading the log")
        floor = max(lease.epoch, listing.highest_epoch)
        holder = load_own_holder(self._config.pod_name or "watchbill-operator", self._config.pod_uid)
        coordinator = await self._open(holder, floor)
        leader = None
        clean = False
        try:
            await self._election.announce(coordinator.log_id, coordinator.epoch, on_wait=self._wait)
            self._metrics.derive_from(lambda: coordinator.state)
            leader = Leader(self._config, self._api, coordinator, tell=(self._health, self._metrics))
            await leader.start()
            await self._work(leader, coordinator.epoch)
        except asyncio.CancelledError:
            clean = True
            raise
        finally:
            if leader:
                await leader.stop()
            if clean:
                coordinator.close()
            else:
                coordinator.abandon()

    async def _work(self, leader: Leader, epoch: int) -> None:
        """Run the leader and kopf until one of them ends."""
        running = asyncio.create_task(leader.run(), name="leader")
        wiring = WatchWiring(leader.observe, leader.doubt, self._watch_signals, leader.wait_until_there)
        watching = asyncio.create_task(
            Watching(self._config.namespace, self._config.kubeconfig, wiring).run(), name="watching"
        )
        # What the start made lives as long as this process; later collections need not look at it, nor come so often.
        gc.collect()
        gc.freeze()
        gc.set_threshold(GC_THRESHOLD, 20, 20)
        logger.info("leading in epoch %d", epoch)
        self._health.waiting_for = ""
        self._tell("leading", epoch=epoch)
        try:
            ends: list[asyncio.Future[Any]] = [running, watching, leader.fenced]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if leader.fenced.done():
                raise Fenced(leader.fenced.result())
        finally:
            self._health.waiting_for = "stopping"
            running.cancel()
            await asyncio.wait([running])
            watching.cancel()
            await asyncio.wait([watching], timeout=WATCH_STOP_SECONDS)
        await _settled(running)
        await _settled(watching)

    async def _open(self, holder: Holder, floor: int) -> Coordinator:
        """Open the log; a volume without any space is waited for, for ending would not help."""
        while True:
            try:
                return await open_coordinator(self._config.root, holder, floor, beat=self._health.beat)
            except OSError as error:
                if not is_full_error(error):
                    raise
                if not release_reserve(Layout(self._config.root)):
                    self._wait(f"the volume {self._config.root} is full: make room on it")
                    await asyncio.sleep(FULL_RETRY_SECONDS)

    def _check_log(self, lease: LeaseView) -> None:
        """Whether the volume has the log that the Lease names. Raises OtherLogError."""
        found = load_log_id(Layout(self._config.root))
        if lease.log_id and found != lease.log_id:
            told = f"has the log {found}" if found else "has no log"
            raise OtherLogError(
                f"the volume {self._config.root} {told}, but this namespace was led from the log {lease.log_id}: "
                "mount the right volume, or, to go on with this one, `watchbill adopt --yes`"
            )

    def _wait(self, reason: str) -> None:
        """Say what this process waits for, once for each reason."""
        if reason != self._health.waiting_for:
            logger.info("waiting: %s", reason)
            self._health.waiting_for = reason
        self._health.leader = ""
        self._health.beat()

    def _stand_by(self, leader: str) -> None:
        """Say that this process is as it should be while another one leads."""
        self._wait(f"{leader} leads")
        self._health.leader = leader

    def _tell(self, phase: str, **more: Any) -> None:
        """Write the status file, if one is wanted."""
        if self._config.status_file is None:
            return
        content: Mapping[str, Any] = {"pid": os.getpid(), "http": self._address, "phase": phase, **more}
        write_atomic(self._config.status_file, json.dumps(content).encode() + b"\n", sync=False)


async def open_coordinator(
    root: Path, holder: Holder, floor_epoch: int, *, beat: Callable[[], None] = lambda: None
) -> Coordinator:
    """Open the log in a thread: a long one takes longer than the Lease lasts, which is renewed meanwhile.

    `beat` is called now and then, for who reads a long log has not stood still, and a restart would begin anew.
    When cancelled, waits until it is open and lets go of it. Raises as `Coordinator.open` does.
    """
    opening = asyncio.create_task(asyncio.to_thread(Coordinator.open, root, holder, floor_epoch))
    try:
        while not (await asyncio.wait([opening], timeout=BEAT_SECONDS))[0]:
            beat()
        return opening.result()
    except asyncio.CancelledError:
        await asyncio.wait([opening])
        if opening.exception() is None:
            opening.result().abandon()
        raise


def load_log_id(layout: Layout) -> str:
    """The id of the log on the volume; empty: there is none yet. Raises LogCorrupt, OSError."""
    for recorded in read_log(layout):
        return recorded.event.log_id if isinstance(recorded.event, LogOpened) else ""
    return ""


def run(config: Config) -> tuple[int, str]:
    """Run one operator process to its end; return its exit code and, unless it is 0, a sentence.

    The caller ends the process then. Not `asyncio.run`: it waits without a limit for tasks that do not take their
    cancellation, as kopf's workers now and then do not, and a leader that was deposed must end.
    """
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        loop.run_until_complete(_run(config))
    except BaseExceptionGroup as group:
        return explain_end(first_of(group))
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001  # the outermost loop: every end gets a code
        return explain_end(error)
    return 0, ""


async def _run(config: Config) -> None:
    await Process(config).run()


async def _ignore(_: Observation) -> None:
    """See nothing in it."""


async def _settled(task: asyncio.Task[Any]) -> None:
    """Raise what the task raised; being cancelled is no error here."""
    try:
        await task
    except asyncio.CancelledError:
        current = asyncio.current_task()
        if current is not None and current.cancelling():
            raise
