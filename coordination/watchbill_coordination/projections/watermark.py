"""How far a projection has read, and the frame that all of them share.

Owns the first members of every projection: format version, the log it was derived from, and the record up to which.
Invariant: bytes are a function of state and watermark alone: sorted keys, no clock, no host; so a projection that was
deleted and built again is equal to the last byte.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from watchbill_coordination.codec.canonical import decode_json, encode_canonical

VERSION = 1


@dataclass(frozen=True, slots=True)
class Watermark:
    """A place in one log."""

    log_id: str
    ep: int  #: epoch of that record
    seq: int
    h: str  #: 32 hex digits, of that record


def build_file(watermark: Watermark, members: Mapping[str, Any], lists: Mapping[str, Iterable[bytes]]) -> bytes:
    """Return a projection: the frame on the first line, `members`, and each list with one encoded value a line."""
    frame = {"ep": watermark.ep, "log_id": watermark.log_id, "v": VERSION}
    frame["watermark"] = {"h": watermark.h, "seq": watermark.seq}
    parts = [encode_canonical(frame)[:-1]]
    parts += [b",\n" + encode_canonical(name) + b":" + encode_canonical(value) for name, value in members.items()]
    for name, lines in lists.items():
        body = b",\n".join(lines)
        parts.append(b",\n" + encode_canonical(name) + b":[" + (b"\n" + body + b"\n" if body else b"") + b"]")
    parts.append(b"}\n")
    return b"".join(parts)


def parse_watermark(content: bytes) -> Watermark | None:
    """Read the frame of a projection; None where there is none. Understands JSON files and `project-state.md`."""
    text = content.partition(b"-->")[0].removeprefix(b"<!-- ") if content.startswith(b"<!-- ") else content
    try:
        frame = decode_json(text)
        place = frame["watermark"]
        return Watermark(str(frame["log_id"]), int(frame["ep"]), int(place["seq"]), str(place["h"]))
    except (ValueError, KeyError, TypeError):
        return None


def format_time(seconds: float | None) -> str | None:
    """Spell a time for people: UTC, milliseconds; None for none."""
    if seconds is None or seconds <= 0:
        return None
    return datetime.fromtimestamp(round(seconds, 3), UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
