"""Files of the log: their names, which of them count, and how a new one is published.

Owns `event-log.jsonl` and `segments/`. A segment is one file, `<first seq>-<epoch>`; the newest lies under two names,
`event-log.jsonl` and `segments/<name>.open`, a sealed one under `segments/<name>.jsonl`. Invariant: a segment keeps a
name in `segments/` from its publication on, so a deposed writer that renames over `event-log.jsonl` unnames nothing;
and the header of each segment seals one predecessor, so the chain back from the highest epoch is the log, and a file
outside of it was never acknowledged. Never changes the content of a published file.
"""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from watchbill_coordination.codec.records import MAX_LINE, read_header
from watchbill_coordination.core.events import LogOpened, SegmentOpened
from watchbill_coordination.storage.atomic import TEMPORARY, sync_directory
from watchbill_coordination.storage.faults import LogCorrupt
from watchbill_coordination.storage.layout import Layout

_NAME = re.compile(r"(\d{20})-(\d+)\.(jsonl|open)")


@dataclass(frozen=True, slots=True)
class Segment:
    """One file of the log."""

    first: int  #: seq of its first record
    epoch: int
    path: Path

    @property
    def name(self) -> str:
        """File name when sealed."""
        return f"{self.first:020d}-{self.epoch}.jsonl"


@dataclass(frozen=True, slots=True)
class Link:
    """A segment as its successor sealed it; the last of a chain is not sealed."""

    segment: Segment
    sealed_bytes: int | None = None
    sealed_sha256: str = ""


def load_chain(layout: Layout) -> list[Link]:
    """Return the segments that make up the log, oldest first; empty if there is no log.

    Goes back from the highest epoch by the headers. Raises LogCorrupt for a header that cannot be read or a segment
    that is missing.
    """
    by_name = {segment.name: segment for segment in load_segments(layout)}
    if not by_name:
        return []
    newest = max(by_name.values(), key=lambda segment: (segment.epoch, segment.first))
    chain = [Link(newest)]
    while not isinstance(header := _load_header(chain[-1].segment), LogOpened):
        current = chain[-1].segment
        previous = by_name.get(header.previous)
        if previous is None or previous.first >= current.first:
            reason = f"its predecessor {header.previous} is missing"
            raise LogCorrupt(reason, file=current.path, offset=0, seq=current.first)
        chain.append(Link(previous, header.previous_bytes, header.previous_sha256))
    chain.reverse()
    return chain


def load_segments(layout: Layout) -> list[Segment]:
    """Return every file that says it is a segment, one a name."""
    found: dict[str, Segment] = {}
    with contextlib.suppress(FileNotFoundError):
        for file in sorted(os.listdir(layout.segments), reverse=True):  # .open before .jsonl, which then wins
            if match := _NAME.fullmatch(file):
                segment = Segment(int(match[1]), int(match[2]), layout.segments / file)
                found[segment.name] = segment
    active = load_active(layout)
    if active is not None:
        found.setdefault(active.name, active)
    return list(found.values())


def load_newest_epoch(layout: Layout) -> int:
    """Return the highest epoch that has a segment, 0 if there is none: the floor where claims were lost."""
    return max((segment.epoch for segment in load_segments(layout)), default=0)


def open_segment(segment: Segment) -> BinaryIO:
    """Open the file for reading, also if its writer's successor gave it its sealed name meanwhile. Raises OSError."""
    try:
        return open(segment.path, "rb")
    except FileNotFoundError:
        return open(segment.path.with_name(segment.name), "rb")


def load_active(layout: Layout) -> Segment | None:
    """Return what lies under `event-log.jsonl`; None if nothing lies there or it does not begin with a record."""
    try:
        with open(layout.active, "rb") as file:
            place = read_header(file.readline(MAX_LINE + 1))
    except FileNotFoundError:
        return None
    return None if place is None else Segment(place.seq, place.ep, layout.active)


def publish_segment(layout: Layout, new: Segment, predecessor: Segment | None) -> Segment:
    """Give the written and synced file its names, and its predecessor its sealed one; all durable on return.

    Each step may be the last before a crash: the next claimant finds the new segment or not, never neither name.
    Raises OSError.
    """
    lasting = Segment(new.first, new.epoch, layout.segments / f"{Path(new.name).stem}.open")
    os.link(new.path, lasting.path)
    if predecessor is not None:
        seal_name(layout, predecessor)
    sync_directory(layout.segments)
    os.rename(new.path, layout.active)
    sync_directory(layout.orchestration)
    return lasting


def name_active(layout: Layout, newest: Segment) -> None:
    """Let `event-log.jsonl` be the newest segment again. Idempotent. Raises OSError."""
    if layout.active.exists() and os.path.samefile(layout.active, newest.path):
        return
    temporary = layout.orchestration / f"{TEMPORARY}active-{os.getpid()}"
    os.link(newest.path, temporary)
    os.rename(temporary, layout.active)
    sync_directory(layout.orchestration)


def seal_name(layout: Layout, segment: Segment) -> None:
    """Give a segment the name that it has when sealed. Idempotent. Raises OSError."""
    sealed = layout.segments / segment.name
    try:
        os.link(segment.path, sealed)
    except FileExistsError:
        pass
    except FileNotFoundError:
        if not sealed.exists():  # else another claimant was faster
            raise
    with contextlib.suppress(FileNotFoundError):
        os.unlink(sealed.with_suffix(".open"))


def _load_header(segment: Segment) -> LogOpened | SegmentOpened:
    with open_segment(segment) as file:
        place = read_header(file.readline(MAX_LINE + 1))
    if place is None or not isinstance(place.event, LogOpened | SegmentOpened):
        raise LogCorrupt("the first line is not the header of a segment", file=segment.path, seq=segment.first)
    return place.event
