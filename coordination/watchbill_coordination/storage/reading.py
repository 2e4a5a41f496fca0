"""Reading the log without being its writer.

Owns the verified walk over records: checksum, chain, seq without gaps, epoch of the segment, atomic groups whole.
Invariant: a reader sees only complete groups, in order, within the lengths that successors sealed; bytes beyond a seal
were never acknowledged and are not looked at. What the head says was acknowledged is read, or the reader is told that
it cannot be: never left out in silence. Takes no lock and writes nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import BinaryIO

from watchbill_coordination.codec.records import (
    MAX_LINE,
    CorruptRecord,
    LoadBlob,
    Record,
    compute_genesis,
    decode,
    read_header,
)
from watchbill_coordination.core.events import LogOpened, Recorded
from watchbill_coordination.storage.blobs import load_blob
from watchbill_coordination.storage.faults import AcknowledgedLost, LogCorrupt
from watchbill_coordination.storage.head import Head, load_head
from watchbill_coordination.storage.layout import Layout
from watchbill_coordination.storage.segments import Link, load_chain, open_segment


@dataclass(slots=True)
class Position:
    """How far a walk has come: behind the last complete group."""

    log_id: str = ""
    seq: int = 0
    h: bytes = b""
    ts: int = 0
    ep: int = 0


class SegmentWalk:
    """One walk over one segment, from `position` on, which it moves.

    After `groups` has ended, `end` is the offset behind the last complete group, `sha256` the digest of the bytes
    before it, and `damage` says what is wrong at `damage_offset`, where `damage_seq` was expected, or is empty.
    """

    def __init__(self, link: Link, position: Position, load: LoadBlob | None) -> None:
        self.link = link
        self.position = position
        self.end = 0
        self.damage = ""
        self.damage_offset = 0
        self.damage_seq = 0
        self._load = load
        self._digest = hashlib.sha256()

    @property
    def sha256(self) -> str:
        """Of the bytes up to `end`."""
        return self._digest.hexdigest()

    def groups(self) -> Iterator[list[Record]]:
        """Yield each complete group, verified. Ends at the sealed length, at the end, or before the first damage.

        May be called again to go on from `end`, when the file has grown.
        """
        self.damage = ""
        with open_segment(self.link.segment) as file:
            file.seek(self.end)
            while group := self._read_group(file):
                lines, records = group
                self._digest.update(lines)
                self.end += len(lines)
                newest = records[-1]
                position = self.position
                position.seq, position.h = newest.recorded.seq, newest.h
                position.ts, position.ep = newest.recorded.ts, newest.recorded.ep
                yield records

    def _read_group(self, file: BinaryIO) -> tuple[bytes, list[Record]] | None:
        """Read the records of one group and their bytes; None where no whole group follows."""
        limit = self.link.sealed_bytes
        seq, h, offset = self.position.seq, self.position.h, self.end
        lines: list[bytes] = []
        records: list[Record] = []
        while not records or records[-1].tx:
            if offset == limit:
                break
            line = file.readline(MAX_LINE + 1)
            if not line:
                break
            try:
                record = self._verify(line, seq, h)
                _check_group(records, record)
            except CorruptRecord as error:
                self.damage, self.damage_offset, self.damage_seq = str(error), offset, seq + 1
                return None
            lines.append(line)
            records.append(record)
            seq, h, offset = seq + 1, record.h, offset + len(line)
        else:
            return b"".join(lines), records
        return None

    def _verify(self, line: bytes, seq: int, h: bytes) -> Record:
        if seq == 0:
            header = read_header(line)
            if header is None or not isinstance(header.event, LogOpened):
                raise CorruptRecord("the log does not begin with LogOpened")
            self.position.log_id = header.event.log_id
            h = compute_genesis(header.event.log_id)
        record = decode(line, h, self._load)
        if record.recorded.seq != seq + 1:
            raise CorruptRecord(f"seq {record.recorded.seq} follows {seq}")
        if record.recorded.ep != self.link.segment.epoch:
            raise CorruptRecord(f"epoch {record.recorded.ep} in a segment of epoch {self.link.segment.epoch}")
        return record


def _check_group(records: list[Record], record: Record) -> None:
    if records and record.tx != records[-1].tx - 1:
        raise CorruptRecord(f"{record.tx} records to come after {records[-1].tx}")


def load_sealed(walk: SegmentWalk) -> Iterator[list[Record]]:
    """Walk a sealed segment whole. Raises LogCorrupt where it differs from what its successor sealed."""
    yield from walk.groups()
    link = walk.link
    if walk.end == link.sealed_bytes and walk.sha256 == link.sealed_sha256:
        return
    reason = walk.damage or f"ends after {walk.end} bytes; {link.sealed_bytes} were sealed"
    offset, seq = (walk.damage_offset, walk.damage_seq) if walk.damage else (walk.end, walk.position.seq + 1)
    raise LogCorrupt(reason, file=link.segment.path, offset=offset, seq=seq)


def load_records(layout: Layout) -> Iterator[Record]:
    """Yield every record in order; at the newest segment's end, stop before a tail that nobody acknowledged.

    Raises LogCorrupt for damage before the newest segment, AcknowledgedLost for acknowledged records that cannot be
    read.
    """
    head = load_head(layout)  # before the walk: a writer that goes on meanwhile is no fault
    position = Position()
    walk = None
    load = partial(load_blob, layout)
    for link in load_chain(layout):
        walk = SegmentWalk(link, position, load)
        groups = walk.groups() if link.sealed_bytes is None else load_sealed(walk)
        for group in groups:
            check_acknowledged(walk, group, head)
            yield from group
    if head is not None and position.seq < head.seq:
        raise build_lost(layout, walk, head)


def check_acknowledged(walk: SegmentWalk, records: list[Record], head: Head | None) -> None:
    """Compare the record that the head acknowledged, if it is among these. Raises LogCorrupt for another one."""
    if head is None or not records[0].recorded.seq <= head.seq <= records[-1].recorded.seq:
        return
    if records[head.seq - records[0].recorded.seq].h != head.h:
        reason = f"record {head.seq} is not the one that event-log.head acknowledged"
        raise LogCorrupt(reason, file=walk.link.segment.path, offset=walk.end, seq=head.seq)


def build_lost(layout: Layout, walk: SegmentWalk | None, head: Head) -> AcknowledgedLost:
    """The fault of a log whose `walk` ended before the head; None: there was nothing to walk over."""
    if walk is None:
        return AcknowledgedLost("the log is gone", file=layout.active, seq=head.seq)
    seq = walk.position.seq + 1
    reason = f"records {seq} to {head.seq} were acknowledged, and are gone or damaged"
    if walk.damage:
        reason = f"{reason}: {walk.damage}"
    offset = walk.damage_offset if walk.damage else walk.end
    return AcknowledgedLost(reason, file=walk.link.segment.path, offset=offset, seq=seq)


def read_log(layout: Layout) -> Iterator[Recorded]:
    """Yield every event of the log with its place. Raises LogCorrupt, AcknowledgedLost, OSError."""
    for record in load_records(layout):
        yield record.recorded
