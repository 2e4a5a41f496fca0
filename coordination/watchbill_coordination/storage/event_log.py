"""The writer of the log.

Owns appending: events are encoded and chained in memory as they come (`append`), and become durable together
(`commit`): one write, one fdatasync, one look at the fence, then the head. Invariant: `commit` returns only for
records that are on disk and whose writer was still the highest epoch after they were. A writer never touches a
predecessor's file: it claims an epoch, reads the log, and begins a segment of its own. After a failed write or sync
it is poisoned: its pages may be gone, so it never syncs again. Not thread-safe: one caller at a time.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from watchbill_coordination.codec.records import compute_genesis, encode, encode_data
from watchbill_coordination.core.events import Event, LogOpened, LogSealed, Recorded, SegmentOpened
from watchbill_coordination.storage.atomic import TEMPORARY, make_directories, write_all
from watchbill_coordination.storage.blobs import store_blob
from watchbill_coordination.storage.epochs import Claim, Holder, acquire_epoch, check_fence
from watchbill_coordination.storage.faults import LogPoisoned, StorageFault, VolumeFull
from watchbill_coordination.storage.head import Head, HeadFile
from watchbill_coordination.storage.layout import Layout
from watchbill_coordination.storage.recovery import Recovered, quarantine_tail, recover
from watchbill_coordination.storage.reserve import FULL
from watchbill_coordination.storage.segments import Segment, load_newest_epoch, publish_segment
from watchbill_coordination.storage.writer import check_no_writer

Visit = Callable[[Recorded], object]

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Opening:
    """How to open a log."""

    holder: Holder
    floor_epoch: int = 0  #: highest epoch known from elsewhere
    is_exclusive: bool = False  #: refuse where a process of this host has it open, instead of deposing it
    accept_loss: bool = False  #: end the log at the first damage, and give up what was acknowledged behind it


@dataclass(frozen=True, slots=True)
class CommitTimes:
    """What the last commit cost."""

    records: int = 0
    bytes: int = 0
    write_seconds: float = 0.0
    sync_seconds: float = 0.0


class EventLog:
    """The log, open for one writer. Made by `open`."""

    def __init__(self, layout: Layout, claim: Claim) -> None:
        self.layout = layout
        self.epoch = claim.epoch
        self.log_id = ""
        self.seq = 0  #: of the newest record, committed or not
        self.committed_seq = 0
        self.committed_h = b""
        self.times = CommitTimes()
        self._h = b""
        self._ts = 0
        self._first = 0  #: seq of the segment's first record
        self._fd = -1
        self._offset = 0  #: committed bytes of the segment
        self._lines: list[bytes] = []
        self._blobs: list[bytes] = []
        self._poison = ""
        self._claim: Claim | None = claim
        self._head: HeadFile | None = None

    @classmethod
    def open(cls, layout: Layout, opening: Opening, visit: Visit = lambda recorded: None) -> EventLog:
        """Claim an epoch, read the log, begin a new segment. `visit` sees every event, those of the opening too.

        Raises LogCorrupt, AcknowledgedLost, WriterAlive, Fenced, StorageFault, OSError; nothing is changed then but
        the claim of the epoch.
        """
        make_directories(layout.orchestration, layout.segments, layout.epochs)
        if opening.is_exclusive:
            check_no_writer(layout)
        floor = max(opening.floor_epoch, load_newest_epoch(layout))
        with contextlib.ExitStack() as stack:
            log = cls(layout, acquire_epoch(layout, opening.holder, floor))
            stack.callback(log.abandon)
            recovered = recover(layout, lambda record: visit(record.recorded), accept_loss=opening.accept_loss)
            for recorded in log._begin_segment(recovered, opening.holder):
                visit(recorded)
            stack.pop_all()
        return log

    @property
    def pending(self) -> int:
        """Records that wait for `commit`."""
        return len(self._lines)

    @property
    def committed_bytes(self) -> int:
        """Of the active segment."""
        return self._offset

    def append(self, event: Event, ts: int, *, key: str = "", cause: int = 0) -> Recorded:
        """Chain one event of its own, in memory. `ts` in microseconds. Raises Unencodable, LogPoisoned."""
        return self.append_group((event,), ts, key=key, cause=cause)[0]

    def append_group(self, events: Sequence[Event], ts: int, *, key: str = "", cause: int = 0) -> list[Recorded]:
        """Chain events that hold together: recovery keeps all or none. Without `cause` the first causes the rest.

        Raises Unencodable, with nothing appended; LogPoisoned.
        """
        self._check_usable()
        h, seq = self._h, self.seq
        ts = max(ts, self._ts)
        lines: list[bytes] = []
        blobs: list[bytes] = []
        group: list[Recorded] = []
        for event in events:
            seq += 1
            data = encode_data(event)
            recorded = Recorded(event, seq, ts, self.epoch, key, cause or (group[0].seq if group else 0))
            line, h = encode(recorded, h, tx=len(events) - len(group) - 1, data=data)
            group.append(recorded)
            lines.append(line)
            if data.blob is not None:
                blobs.append(data.blob)
        self._lines += lines
        self._blobs += blobs
        self._h, self.seq, self._ts = h, seq, ts
        return group

    def commit(self) -> int:
        """Make all that was appended durable, look at the fence, and return the committed seq.

        Raises VolumeFull, with the batch kept for another try; Fenced and LogPoisoned, after which the log is dead.
        """
        self._check_usable()
        if not self._lines:
            return self.committed_seq
        batch = b"".join(self._lines)
        started = time.perf_counter()
        self._write(batch)
        written = time.perf_counter()
        try:
            os.fdatasync(self._fd)
        except OSError as error:
            raise self._poisoned("sync", error) from error
        synced = time.perf_counter()
        if not os.fstat(self._fd).st_nlink:
            raise self._poisoned("look at our own file", FileNotFoundError(errno.ENOENT, "somebody removed it"))
        self._check_still_highest()
        self.times = CommitTimes(len(self._lines), len(batch), written - started, synced - written)
        self._settle(len(batch))
        return self.committed_seq

    def seal(self) -> Recorded:
        """Commit, and write and sync the last record of the segment; `close` comes next. Raises as `commit` does."""
        count = self.seq + 2 - self._first
        sealed = self.append(LogSealed(first=self._first, count=count), time.time_ns() // 1000)
        self.commit()
        if self._head is not None:
            self._head.sync()
        self._poison = "it is sealed"
        return sealed

    def close(self) -> None:
        """Seal the segment, unless that is done or no longer allowed, and let the files go. Raises as `commit`."""
        try:
            if not self._poison:
                self.seal()
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Let the files go without another write, as a process does that dies."""
        self._poison = self._poison or "it was abandoned"
        if self._fd >= 0:
            os.close(self._fd)
        if self._head is not None:
            self._head.close()
        if self._claim is not None:
            self._claim.release()
        self._fd, self._head, self._claim = -1, None, None

    def _begin_segment(self, recovered: Recovered, holder: Holder) -> list[Recorded]:
        """Write, sync and publish the new segment; return its first records."""
        position, predecessor = recovered.position, recovered.segment
        self.seq, self._h, self._ts = position.seq, position.h, position.ts
        self.log_id, self._first = position.log_id, position.seq + 1
        now = time.time_ns() // 1000
        if predecessor is None:
            self.log_id = secrets.token_hex(16)
            self._h = compute_genesis(self.log_id)
            events: list[Event] = [LogOpened(log_id=self.log_id)]
        else:
            sealing = SegmentOpened(
                previous=predecessor.name,
                previous_bytes=recovered.sealed_bytes,
                previous_sha256=recovered.sealed_sha256,
                holder=str(holder),
            )
            events = [sealing]
            if recovered.tail is not None:
                events.append(quarantine_tail(self.layout, recovered.tail))
        first_records = self.append_group(events, now)
        self._head = HeadFile(self.layout)
        temporary = self.layout.orchestration / f"{TEMPORARY}segment-{self.epoch}"
        self._fd = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        batch = b"".join(self._lines)
        write_all(self._fd, batch, 0)
        os.fsync(self._fd)
        check_fence(self.layout, self.epoch)
        publish_segment(self.layout, Segment(self._first, self.epoch, temporary), predecessor)
        self._check_still_highest()
        self._settle(len(batch))
        return first_records

    def _write(self, batch: bytes) -> None:
        try:
            for blob in self._blobs:
                store_blob(self.layout, blob)
            self._blobs.clear()
            write_all(self._fd, batch, self._offset)
        except OSError as error:
            if error.errno not in FULL:  # these are soft if they come from the write, before the sync
                raise self._poisoned("write", error) from error
            self._take_back(error)
            raise VolumeFull(f"{self.layout.active}: {error.strerror}; {len(self._lines)} records wait") from error

    def _take_back(self, cause: OSError) -> None:
        """Cut a half-written batch off again; nothing of it was synced."""
        try:
            os.ftruncate(self._fd, self._offset)
        except OSError as error:
            raise self._poisoned("truncate", error) from cause

    def _settle(self, size: int) -> None:
        """Count the batch as committed and rewrite the head, which is a hint: failing to is no fault of the log."""
        self._offset += size
        self._lines.clear()
        self.committed_seq, self.committed_h = self.seq, self._h
        if self._head is None:
            return
        try:
            self._head.write(Head(self.seq, self._first, self.epoch, self._offset, self._h))
        except OSError as error:
            _logger.warning("%s: cannot be written: %s", self.layout.head, error.strerror)

    def _check_still_highest(self) -> None:
        try:
            check_fence(self.layout, self.epoch)
        except StorageFault as fault:
            self._poison = str(fault)
            raise
        except OSError as error:
            raise self._poisoned("fence look-up", error) from error

    def _check_usable(self) -> None:
        if self._poison:
            raise LogPoisoned(f"{self.layout.active}: {self._poison}")

    def _poisoned(self, step: str, error: OSError) -> LogPoisoned:
        self._poison = f"the {step} failed ({error.strerror}); restart to recover"
        return LogPoisoned(f"{self.layout.active}: {self._poison}")
