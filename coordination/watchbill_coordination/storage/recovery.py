"""What the log says when a new writer comes: everything verified, the tail judged.

Owns the verdict on a log's end. Invariant: nothing that was acknowledged is ever dropped in silence: a tail is put
aside only if no acknowledged and no later whole record can be in it; any other damage raises and names file, offset
and seq. Reads only; putting the tail aside is done by `quarantine_tail`, which adds a file and changes none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from watchbill_coordination.codec.records import Record, is_record
from watchbill_coordination.core.events import LogTruncated
from watchbill_coordination.storage.atomic import make_directories, write_atomic
from watchbill_coordination.storage.blobs import load_blob
from watchbill_coordination.storage.faults import LogCorrupt
from watchbill_coordination.storage.head import Head, load_head
from watchbill_coordination.storage.layout import Layout
from watchbill_coordination.storage.reading import (
    Position,
    SegmentWalk,
    build_lost,
    check_acknowledged,
    load_sealed,
)
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
        for group in groups:
            for record in group:
                visit(record)
            if not accept_loss:
                check_acknowledged(walk, group, head)
        last = walk if walk.end or last is None else last
        if walk.end != link.sealed_bytes:
            break  # the newest, or damage that is accepted
    if walk is None or last is None:
        if head is not None and not accept_loss:
            raise build_lost(layout, None, head)
        return Recovered(position)
    tail = _load_tail(walk) if last is walk else None
    if not accept_loss:
        _check_tail(layout, walk, tail, head)
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


def _check_tail(layout: Layout, walk: SegmentWalk, tail: Tail | None, head: Head | None) -> None:
    """Raise unless the tail, if there is one, may be put aside."""
    if head is not None and head.seq > walk.position.seq:
        raise build_lost(layout, walk, head)
    if tail is not None and walk.damage and _has_record(tail.content, walk.damage_offset - tail.offset):
        reason, path = f"{walk.damage}; whole records follow", walk.link.segment.path
        raise LogCorrupt(reason, file=path, offset=walk.damage_offset, seq=walk.damage_seq)


def _has_record(content: bytes, start: int) -> bool:
    """Whether a whole record begins anywhere behind `start`, even in the middle of a line."""
    while (start := content.find(b'{"v":', start)) >= 0:
        end = content.find(b"\n", start) + 1
        if end and is_record(content[start:end]):
            return True
        start += 1
    return False
