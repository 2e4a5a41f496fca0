"""What the log says when a new writer comes: everything verified, the tail judged.

Owns the verdict on a log's end. Invariant: nothing that was acknowledged is ever dropped in silence: a tail is put
aside only if no acknowledged and no later whole record can be in it; any other damage raises and names file, offset
and seq. Reads only; putting the tail aside is done by `quarantine_tail`, which adds a file and changes none.
"""

from __future__ import annotations

import hashlib
import itertools
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from watchbill_coordination.codec.records import Record, is_record
from watchbill_coordination.core.events import LogTruncated
from watchbill_coordination.storage.atomic import make_directories, write_atomic
from watchbill_coordination.storage.blobs import load_blob
from watchbill_coordination.storage.faults import AcknowledgedLost, LogCorrupt
from watchbill_coordination.storage.head import Head, load_head
from watchbill_coordination.storage.layout import Layout
from watchbill_coordination.storage.reading import Position, SegmentWalk, load_sealed
from watchbill_coordination.storage.segments import Segment, load_chain, open_segment

Visit = Callable[[Record], object]


@dataclass(frozen=True, slots=True)
class Tail:
    """Bytes behind the last complete group that no one acknowledged."""

    segment: Segment
    offset: int
    content: bytes
    reason: str


@dataclass(frozen=True, slots=True)
class Recovered:
    """A log, read to its end. `segment` is None for a log that does not exist yet."""

    position: Position
    segment: Segment | None = None
    sealed_bytes: int = 0  #: of `segment`, behind the last complete group
    sealed_sha256: str = ""
    tail: Tail | None = None


def recover(layout: Layout, visit: Visit, *, accept_loss: bool = False) -> Recovered:
    """Verify the whole log, hand each record to `visit` in order, and judge the tail.

    Raises LogCorrupt for damage before the tail, AcknowledgedLost for a tail that was acknowledged. With
    `accept_loss` the first damage ends the log, and everything behind it is given up. Raises OSError.
    """
    head = load_head(layout)
    position = Position()
    walk = last = None
    for link in load_chain(layout):
        walk = SegmentWalk(link, position, partial(load_blob, layout))
        groups = walk.groups() if link.sealed_bytes is None or accept_loss else load_sealed(walk)
        for record in itertools.chain.from_iterable(groups):
            visit(record)
            if head is not None and record.recorded.seq == head.seq and record.h != head.h and not accept_loss:
                raise _tell_other_log(layout, walk, head)
        last = walk if walk.end or last is None else last
        if walk.end != link.sealed_bytes:
            break  # the newest, or damage that is accepted
    if walk is None or last is None:
        if head is not None and not accept_loss:
            raise AcknowledgedLost("the log is gone", file=layout.active, seq=head.seq)
        return Recovered(position)
    tail = _load_tail(walk) if last is walk else None
    if not accept_loss:
        _check_tail(walk, tail, head)
    return Recovered(position, last.link.segment, last.end, last.sha256, tail)


def quarantine_tail(layout: Layout, tail: Tail) -> LogTruncated:
    """Copy the tail to `quarantine/`, synced, and return the event that tells of it. Idempotent. Raises OSError."""
    make_directories(layout.quarantine)
    write_atomic(layout.quarantine / f"{tail.segment.name}.{tail.offset}.torn", tail.content)
    return LogTruncated(
        file=tail.segment.name,
        offset=tail.offset,
        length=len(tail.content),
        sha256=hashlib.sha256(tail.content).hexdigest(),
    )


def _load_tail(walk: SegmentWalk) -> Tail | None:
    """Read what lies behind the last complete group; empty lines alone are nothing."""
    with open_segment(walk.link.segment) as file:
        file.seek(walk.end)
        content = file.read()
    if not content.strip(b"\n"):
        return None
    return Tail(walk.link.segment, walk.end, content, walk.damage or "the last group of records is incomplete")


def _check_tail(walk: SegmentWalk, tail: Tail | None, head: Head | None) -> None:
    """Raise unless the tail, if there is one, may be put aside."""
    path, seq = walk.link.segment.path, walk.position.seq + 1
    offset = walk.damage_offset if walk.damage else walk.end
    if head is not None and head.seq >= seq:
        reason = f"records {seq} to {head.seq} were acknowledged, and are gone or damaged"
        if walk.damage:
            reason = f"{reason}: {walk.damage}"
        raise AcknowledgedLost(reason, file=path, offset=offset, seq=seq)
    if tail is not None and walk.damage and _has_record(tail.content, walk.damage_offset - tail.offset):
        raise LogCorrupt(f"{walk.damage}; whole records follow", file=path, offset=offset, seq=walk.damage_seq)


def _has_record(content: bytes, start: int) -> bool:
    """Whether a whole record begins anywhere behind `start`, even in the middle of a line."""
    while (start := content.find(b'{"v":', start)) >= 0:
        end = content.find(b"\n", start) + 1
        if end and is_record(content[start:end]):
            return True
        start += 1
    return False


def _tell_other_log(layout: Layout, walk: SegmentWalk, head: Head) -> LogCorrupt:
    reason = f"record {head.seq} is not the one that {os.path.basename(layout.head)} acknowledged"
    return LogCorrupt(reason, file=walk.link.segment.path, offset=walk.end, seq=head.seq)
