"""Messages from and to the agents, for the loop that owns the state.

Owns the mailboxes of all replicas while this process leads. Invariants: the messages of one replica are handed over in
their order; a successful result lies in shared-context, durable, before its attempt may count as finished, and gets its
name there only while its attempt is current and nobody else leads; what an attempt used of its model is handed over
with its end, and before it, and nobody has a say in what another one used; a file is acknowledged only after the commit
that covers it; a message is delivered only for what is committed. What an agent wrote never raises here: it ends as a
command, or in quarantine. Never decides what a message leads to.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from asyncinotify import Inotify, Mask, Watch

from watchbill_coordination.core.assignments import Outgoing
from watchbill_coordination.core.commands import Command, FinishAttempt, RejectMessage
from watchbill_coordination.core.decide_attempts import find_current
from watchbill_coordination.core.messages import Ack, Cleanup, Finished, Message
from watchbill_coordination.core.specs import ReplicaName, TaskUid
from watchbill_coordination.core.state import State
from watchbill_coordination.storage.layout import Layout
from watchbill_coordination.storage.mailbox import InboxWriter, Malformed, OutboxReader, Received
from watchbill_operator.ledgers import Account, build_report, parse_said, read_ledger, runs_claude
from watchbill_operator.mail import Mail, parse_message
from watchbill_operator.result_intake import DeposedError, ResultIntake

logger = logging.getLogger(__name__)

ACK_SECONDS = 1.0  #: acknowledgements are put off so long, to be told together: nobody waits for them
ACK_NAMES = 1000  #: in one acknowledgement
SAFETY_POLL_SECONDS = 2.0  #: all outboxes are listed so often, whatever inotify says
BUSY_POLL_SECONDS = 0.02  #: on a volume that other hosts write to
IDLE_POLL_SECONDS = 1.0


@dataclass(slots=True)
class _Lane:
    """One replica's mailboxes and what is under way from its outbox."""

    replica: ReplicaName
    reader: OutboxReader
    writer: InboxWriter
    watch: Watch | None = None
    files: deque[Received | Malformed] = field(default_factory=deque)
    sorting: asyncio.Task[None] | None = None
    delivered: set[str] = field(default_factory=set)  #: keys of pending messages that were written in this life
    collecting: asyncio.Handle | None = None  #: a look that was put off until all notifications are read
    to_acknowledge: list[str] = field(default_factory=list)
    acknowledging: asyncio.TimerHandle | None = None


class Mailroom:
    """All mailboxes. `submit` takes what was read; it is called from the event loop.

    `is_deposed` looks up whether another process leads by now. It may raise OSError.
    """

    def __init__(
        self,
        layout: Layout,
        state: State,
        submit: Callable[[Mail], None],
        *,
        is_deposed: Callable[[], bool],
        local: bool,
    ) -> None:
        self._layout = layout
        self._state = state
        self._submit = submit
        self._is_deposed = is_deposed
        self._local = local
        self._lanes: dict[ReplicaName, _Lane] = {}
        self._watched: dict[Watch, ReplicaName] = {}
        self._inotify = Inotify(cache_size=64) if local else None
        self._results = ResultIntake(layout, state, is_deposed)

    def open(self, replica: ReplicaName) -> None:
        """Begin with a replica whose workspace exists; its inbox is emptied and written anew. Twice is once."""
        if replica in self._lanes:
            return
        lane = _Lane(replica, OutboxReader(self._layout, replica), InboxWriter(self._layout, replica))
        try:
            lane.writer.reset()
        except OSError as error:
            logger.warning("the mailbox of %s cannot be used: %s", replica, error)
            return
        self._lanes[replica] = lane
        self._watch(lane)
        self._collect(lane)

    def close(self, replica: ReplicaName) -> None:
        """The replica is gone for good."""
        lane = self._lanes.pop(replica, None)
        for waiting in (lane.acknowledging, lane.collecting) if lane else ():
            if waiting:
                waiting.cancel()
        if lane and lane.watch and self._inotify:
            self._watched.pop(lane.watch, None)
            try:
                self._inotify.rm_watch(lane.watch)
            except OSError:
                logger.debug("the outbox of %s was removed before its watch", replica)

    def deliver(self, replica: ReplicaName, pending: Iterable[Outgoing], *, ep: int, seq: int) -> None:
        """Write what this replica must have in its inbox now and has not had yet."""
        lane = self._lanes.get(replica)
        if lane is None:
            return
        wanted = {outgoing.key: outgoing.message for outgoing in pending}
        lane.delivered.intersection_update(wanted)
        for key, message in wanted.items():
            if key not in lane.delivered and self._write(lane, key, message, (ep, seq)):
                lane.delivered.add(key)

    def clean(self, replica: ReplicaName, tasks: tuple[TaskUid, ...], *, ep: int, seq: int) -> None:
        """Tell an agent that the work of these tasks is no longer needed."""
        if lane := self._lanes.get(replica):
            self._write(lane, f"cleanup/{tasks[0]}", Cleanup(tasks=tasks), (ep, seq))

    def find_work(self, task: TaskUid) -> list[ReplicaName]:
        """The replicas that have a folder of work of this task."""
        return [name for name in self._lanes if os.path.lexists(self._layout.workspace(name) / "work" / task)]

    def acknowledge(self, mail: Iterable[Mail], *, ep: int, seq: int) -> None:
        """These files are committed: tell their senders soon."""
        for item in mail:
            lane = self._lanes.get(item.replica)
            if lane is None or not item.file:
                continue
            lane.to_acknowledge.append(item.file)
            if lane.acknowledging is None:
                loop = asyncio.get_running_loop()
                lane.acknowledging = loop.call_later(ACK_SECONDS, self._acknowledge, lane, (ep, seq))

    async def run(self) -> None:
        """Read outboxes until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._poll())
            if self._inotify:
                group.create_task(self._follow(self._inotify))

    def shut(self) -> None:
        """Stop copying and watching."""
        self._results.shut()
        if self._inotify:
            self._inotify.close()

    def _acknowledge(self, lane: _Lane, place: tuple[int, int]) -> None:
        lane.acknowledging = None
        names, lane.to_acknowledge = tuple(lane.to_acknowledge), []
        for start in range(0, len(names), ACK_NAMES):
            part = names[start : start + ACK_NAMES]
            self._write(lane, f"ack/{part[0]}", Ack(names=part, seq=place[1]), place)

    def _watch(self, lane: _Lane) -> None:
        if self._inotify is None:
            return
        outbox = self._layout.workspace(lane.replica) / "outbox"
        try:
            lane.watch = self._inotify.add_watch(outbox, Mask.MOVED_TO | Mask.ONLYDIR)
            self._watched[lane.watch] = lane.replica
        except OSError as error:
            logger.warning("the outbox of %s is polled, not watched: %s", lane.replica, error)

    async def _follow(self, inotify: Inotify) -> None:
        """Read an outbox as soon as a file is renamed into it."""
        async for event in inotify:
            if Mask.Q_OVERFLOW in event.mask:
                self._collect_all()
            elif event.watch:
                self._collect_soon(self._watched.get(event.watch, ReplicaName("")))

    def _collect_soon(self, replica: ReplicaName) -> None:
        """Look once for all files that were told of together: each look lists the whole outbox."""
        lane = self._lanes.get(replica)
        if lane and lane.collecting is None:
            lane.collecting = asyncio.get_running_loop().call_soon(self._collect, lane)

    async def _poll(self) -> None:
        """Read all outboxes now and then; on a volume that others write to often while there is mail."""
        pause = SAFETY_POLL_SECONDS if self._local else BUSY_POLL_SECONDS
        while True:
            await asyncio.sleep(pause)
            found = self._collect_all()
            if not self._local:
                pause = BUSY_POLL_SECONDS if found else min(pause * 2, IDLE_POLL_SECONDS)

    def _collect_all(self) -> bool:
        found = [self._collect(lane) for lane in list(self._lanes.values())]
        return any(found)

    def _collect(self, lane: _Lane) -> bool:
        """Read what is new in one outbox, and see to it that it is sorted."""
        lane.collecting = None
        found = lane.reader.poll()
        lane.files.extend(found)
        if lane.files and (lane.sorting is None or lane.sorting.done()):
            lane.sorting = asyncio.create_task(self._sort(lane))
        return bool(found)

    async def _sort(self, lane: _Lane) -> None:
        """Hand over one replica's files, one after another, while this process leads."""
        while lane.files:
            item = lane.files.popleft()
            if isinstance(item, Malformed):
                self._set_aside(lane, item)
                continue
            lane.writer.forget(item.header.read)
            try:
                parsed = [await self._parse(lane.replica, message, item.name) for message in item.messages]
            except DeposedError:
                return  # recorded, it might be read by the successor, without the result that belongs to it
            except OSError as error:
                logger.warning("a result of %s waits (%s): %s", lane.replica, item.name, error)
                lane.reader.offer_again(item.name)
                continue
            self._submit(Mail(lane.replica, item.name, tuple(command for commands in parsed for command in commands)))

    async def _parse(self, replica: ReplicaName, message: Message, file: str) -> list[Command]:
        """The commands of one message.

        Raises OSError when a result could not be copied for our own reasons, DeposedError when it is not ours to take.
        """
        command = parse_message(replica, message, key=f"{replica}/{file}")
        if not isinstance(message, Finished) or not isinstance(command, FinishAttempt):
            return [] if command is None else [command]
        is_heard = runs_claude(self._state, replica) and find_current(self._state, command) is not None
        reports = [await self._account(replica, message)] if is_heard else []
        if self._results.is_winner(command):
            command = await self._results.take(command)
        return [*reports, command]

    async def _account(self, replica: ReplicaName, said: Finished) -> Command:
        """What the attempt used of its model, by its broker's ledger, or else by its own last words."""
        account = await asyncio.to_thread(read_ledger, self._layout, replica, said.task, said.attempt)
        return build_report(account or Account(replica, said.task, said.attempt, parse_said(said)), said)

    def _set_aside(self, lane: _Lane, item: Malformed) -> None:
        """Put a bad file into quarantine and say so, while this process leads."""
        try:
            if self._is_deposed():
                return
            lane.reader.quarantine(item.name)
        except OSError as error:
            logger.warning("a bad message of %s could not be put aside: %s", lane.replica, error)
        rejection = RejectMessage(agent=lane.replica, file=item.name, reason=item.reason)
        self._submit(Mail(lane.replica, "", (rejection,)))

    def _write(self, lane: _Lane, key: str, message: Message, place: tuple[int, int]) -> bool:
        """Write one message; a volume that does not take it is found by the next reconcile."""
        try:
            lane.writer.deliver(key, message, *place)
        except OSError as error:
            logger.warning("a message for %s was not delivered: %s", lane.replica, error)
            return False
        return True
