"""Reading the log while it grows.

Owns the follower: a reader that keeps its place, goes on from it, and moves to the next segment when a new writer
begins one. Invariant: it tells each event once, in order, and only when it was acknowledged, which the head says; one
that was acknowledged and cannot be read is a fault, and is not waited for.
Takes no lock and writes nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial

from watchbill_coordination.core.events import Recorded
from watchbill_coordination.storage.blobs import load_blob
from watchbill_coordination.storage.faults import LogCorrupt
from watchbill_coordination.storage.head import load_head
from watchbill_coordination.storage.layout import Layout
from watchbill_coordination.storage.reading import Position, SegmentWalk, build_lost, check_acknowledged, load_sealed
from watchbill_coordination.storage.segments import Link, load_chain

FOLLOW_SECONDS = 0.2  #: between two looks


class Follower:
    """A place in the log."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._position = Position()
        self._walk: SegmentWalk | None = None

    def read(self) -> Iterator[Recorded]:
        """Yield what was acknowledged since the last call. Raises LogCorrupt, AcknowledgedLost, OSError."""
        head = load_head(self._layout)
        if head is None or head.seq <= self._position.seq:
            return
        for link in self._links_ahead():
            walk = self._enter(link)
            groups = walk.groups() if link.sealed_bytes is None else load_sealed(walk)
            for group in groups:
                check_acknowledged(walk, group, head)
                yield from (record.recorded for record in group)
                if self._position.seq >= head.seq:
                    return
        raise build_lost(self._layout, self._walk, head)

    def _links_ahead(self) -> list[Link]:
        """The segment that we are in and those behind it."""
        chain = load_chain(self._layout)
        if self._walk is None:
            return chain
        current = self._walk.link.segment
        names = [link.segment.name for link in chain]
        if current.name not in names:
            raise LogCorrupt("the log was replaced by another one", file=current.path, seq=self._position.seq)
        return chain[names.index(current.name) :]

    def _enter(self, link: Link) -> SegmentWalk:
        """Walk that segment, or go on with it; it may have been sealed and renamed meanwhile."""
        if self._walk is None or self._walk.link.segment.name != link.segment.name:
            self._walk = SegmentWalk(link, self._position, partial(load_blob, self._layout))
        self._walk.link = link
        return self._walk


def follow_log(layout: Layout, *, after: int = 0, is_ended: Callable[[], bool] = lambda: False) -> Iterator[Recorded]:
    """Yield the events behind seq `after`, and then each new one once it is acknowledged, until `is_ended` says so.

    Looks every FOLLOW_SECONDS. A writer that comes back with a new segment is followed. Raises LogCorrupt,
    AcknowledgedLost, OSError.
    """
    follower = Follower(layout)
    while True:
        yield from (recorded for recorded in follower.read() if recorded.seq > after)
        if is_ended():
            return
        time.sleep(FOLLOW_SECONDS)
