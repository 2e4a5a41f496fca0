"""Decide, append, sync, and tell what changed: the one place where rules and log meet.

Owns the state and the log of one Watchbill. `stage` decides commands in memory, `commit` makes the events durable.
Invariant: the state is the fold over the log and what is staged; nobody may act on it before `commit` returned what
was touched. A refused command leaves no trace. After VolumeFull the batch waits for the next `commit`; after Fenced
or LogPoisoned the coordinator is dead. While the volume is full nothing new is dispatched. Knows no Kubernetes and no
clock: `now` comes with each call. `stage`, `commit`, `write_projections` and `close` are never called at the same time.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from watchbill_coordination.codec.canonical import Unencodable
from watchbill_coordination.coordinator.inline_results import InlineResults
from watchbill_coordination.coordinator.projecting import Projector
from watchbill_coordination.coordinator.touched import Touched, find_cause
from watchbill_coordination.core.commands import Command, Rejected
from watchbill_coordination.core.decide import decide, decide_due, next_due
from watchbill_coordination.core.events import Event, Recorded
from watchbill_coordination.core.evolve import evolve
from watchbill_coordination.core.specs import AgentName, ReplicaName, TaskUid
from watchbill_coordination.core.state import State
from watchbill_coordination.projections.watermark import Watermark
from watchbill_coordination.storage.atomic import sweep_temporaries
from watchbill_coordination.storage.epochs import Holder, check_fence
from watchbill_coordination.storage.event_log import CommitTimes, EventLog, Opening
from watchbill_coordination.storage.faults import VolumeFull
from watchbill_coordination.storage.layout import Layout
from watchbill_coordination.storage.reserve import FULL, release_reserve
from watchbill_coordination.storage.room import Room

MAX_ROUNDS = 100_000  #: of `decide_due` in one `stage`; more means that two rules answer each other

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Committed:
    """What one commit made durable, and whom it concerns."""

    records: tuple[Recorded, ...] = ()
    tasks: frozenset[TaskUid] = frozenset()
    agents: frozenset[AgentName] = frozenset()
    replicas: frozenset[ReplicaName] = frozenset()
    times: CommitTimes = field(default_factory=CommitTimes)


@dataclass(frozen=True, slots=True)
class Frozen:
    """The state at a watermark, for projections alone: its indexes are not copied."""

    state: State
    watermark: Watermark


class Coordinator:
    """State and log of one Watchbill. Made by `open`."""

    def __init__(self, log: EventLog, state: State) -> None:
        self.state = state
        self._log = log
        self._projector = Projector(log.layout)
        self._staged: list[Recorded] = []
        self._touched = Touched()
        self._room = Room(log.layout)

    @classmethod
    def open(cls, root: Path, holder: Holder, floor_epoch: int = 0) -> Coordinator:
        """Claim an epoch on the volume at `root`, read the log, begin a segment, write what follows from it.

        Raises LogCorrupt, AcknowledgedLost, Fenced, StorageFault, OSError.
        """
        state, results = State(), InlineResults()

        def replay(recorded: Recorded) -> None:
            evolve(state, recorded)
            results.note(recorded, state)

        log = EventLog.open(Layout(root), Opening(holder, floor_epoch), replay)
        layout = log.layout
        sweep_temporaries(layout.orchestration, layout.locks, layout.blobs, layout.shared_context, layout.results)
        with contextlib.ExitStack() as stack:
            stack.callback(log.abandon)
            coordinator = cls(log, state)
            results.restore(layout, state)
            coordinator.write_projections()
            stack.pop_all()
        return coordinator

    @property
    def layout(self) -> Layout:
        """Where the volume's files lie."""
        return self._log.layout

    @property
    def log_id(self) -> str:
        """128 random bits, hex: the same for ever on this volume."""
        return self._log.log_id

    @property
    def epoch(self) -> int:
        """Ours, for the Lease and the status fence."""
        return self._log.epoch

    @property
    def committed_seq(self) -> int:
        """Of the newest durable record."""
        return self._log.committed_seq

    @property
    def has_reserve(self) -> bool:
        """False: the volume is so full that its last space is in use, or it cannot set space aside."""
        return self._room.has_reserve

    @property
    def held(self) -> str:
        """Why no new work is started: the sentence about a full volume. Empty: it is."""
        return self._room.trouble

    @property
    def pending(self) -> int:
        """Events that wait for `commit`."""
        return self._log.pending

    def stage(self, commands: Iterable[Command], now: float) -> list[Rejected | None]:
        """Decide the commands one after another, and then whatever follows from state and time.

        `now` in seconds since the Unix epoch. Returns one answer a command, None for done. Raises LogPoisoned.
        """
        answers = [self._stage_command(command, now) for command in commands]
        self._stage_due(now)
        return answers

    def commit(self) -> Committed:
        """Make all that is staged durable and say whom it concerns. Blocks for one write and one fdatasync.

        Raises VolumeFull (call again later), Fenced, LogPoisoned (exit).
        """
        if not self._staged:
            return Committed()
        try:
            self._log.commit()
        except VolumeFull:
            had_reserve = release_reserve(self._log.layout)
            self._room.lose_reserve()
            if not had_reserve:
                raise
            _logger.warning("the volume is full: the log goes on in its reserve")
            self._log.commit()
        touched = self._touched
        committed = Committed(
            records=tuple(self._staged),
            tasks=frozenset(touched.tasks),
            agents=frozenset(touched.agents),
            replicas=frozenset(touched.replicas),
            times=self._log.times,
        )
        self._staged, self._touched = [], Touched()
        return committed

    def check_fence(self) -> None:
        """Look up whether another process leads by now, before something is done that no commit comes before.

        Raises Fenced, OSError.
        """
        check_fence(self._log.layout, self._log.epoch)

    def write_projections(self, *, with_queue: bool = True) -> bool:
        """Write the files that changed since the last call; whether it was possible: not while events are staged,
        and not on a full volume.

        The caller sets the cadence: the registry at most every second, the queue (`with_queue`) every 5 s.
        Raises as `write_frozen` does.
        """
        frozen = self.freeze()
        return frozen is not None and self.write_frozen(frozen, with_queue=with_queue)

    def freeze(self) -> Frozen | None:
        """Copy the committed state for `write_frozen`; None while events are staged.

        Its members are frozen values, so that this costs its dictionaries alone.
        """
        if self._log.pending:
            return None
        self._room.restore()
        state = replace(
            self.state,
            agents=dict(self.state.agents),
            replicas=dict(self.state.replicas),
            tasks=dict(self.state.tasks),
            locks=dict(self.state.locks),
            context=dict(self.state.context),
        )
        return Frozen(state, self._watermark())

    def write_frozen(self, frozen: Frozen, *, with_queue: bool = True) -> bool:
        """Write the files of a copy; whether it was possible: not on a full volume.

        It may run in another thread beside `stage` and `commit`, but never beside itself or `close`. Raises Fenced, so
        that a deposed one does not write over its successor's files; OSError, which does not harm the log.
        """
        check_fence(self._log.layout, self._log.epoch)
        try:
            self._projector.write(frozen.state, frozen.watermark, with_queue=with_queue)
        except OSError as error:
            if error.errno not in FULL:
                raise
            _logger.warning("projections are not written: %s", error.strerror)
            return False
        return True

    def next_due(self) -> float | None:
        """When `stage` wants to be called without a new command, in seconds since the Unix epoch; None: never."""
        return next_due(self.state)

    def close(self) -> None:
        """Commit, seal the segment, write every projection. Raises as `commit` does, and OSError."""
        try:
            evolve(self.state, self._log.seal())
            self._projector.write(self.state, self._watermark(), with_queue=True)
        finally:
            self._log.close()

    def abandon(self) -> None:
        """Let go without another write, for one that was fenced or poisoned."""
        self._log.abandon()

    def _stage_command(self, command: Command, now: float) -> Rejected | None:
        decision = decide(command, self.state, now)
        if isinstance(decision, Rejected):
            return decision
        try:
            self._record(decision, now, key=command.key)
        except Unencodable as error:
            return Rejected(f"it cannot be written to the log: {error}")
        return None

    def _stage_due(self, now: float) -> None:
        for _ in range(MAX_ROUNDS):
            events = decide_due(self.state, now, may_dispatch=self._room.look(now))
            if not events:
                return
            self._record(events, now, cause=find_cause(events[0], self.state))
        _logger.error("the rules did not come to rest within %d rounds; going on with the next call", MAX_ROUNDS)

    def _record(self, events: Sequence[Event], now: float, *, key: str = "", cause: int = 0) -> None:
        """Append a group and evolve by it: all of it or nothing."""
        if not events:
            return
        for recorded in self._log.append_group(events, int(now * 1e6), key=key, cause=cause):
            self._touched.add(recorded.event, self.state)
            evolve(self.state, recorded)
            self._touched.add(recorded.event, self.state)
            self._staged.append(recorded)

    def _watermark(self) -> Watermark:
        return Watermark(self._log.log_id, self._log.epoch, self._log.committed_seq, self._log.committed_h.hex())
