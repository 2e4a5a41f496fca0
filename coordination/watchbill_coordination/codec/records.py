"""One event, one line: the records of the log.

Owns the format on disk, version 1: members in fixed order, then a trailer of 56 bytes:

    {"v":1,"seq":7,"ts":…,"ep":2,"type":"TaskQueued","task":"…","cause":5,"tx":0,"data":{…},"h":"…","c":"…"}

`c` (8 hex) is the CRC-32 of the body (the line without trailer, closed by `}`) and says which line is bad; `h` (32
hex) is the first half of SHA-256 over the previous record's `h` and the body, and proves that nothing was lost,
inserted or swapped.
A line is verified by computing its trailer anew and comparing bytes, so not even a changed letter case passes.
`task`, `agent` and `key` are left out where they are empty. `tx` counts the records still to come of one atomic group.
Never touches a file: data over 64 KiB is handed back as a blob for the caller to store first.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any

from watchbill_coordination.codec.canonical import Unencodable, decode_json, encode_canonical, encode_text
from watchbill_coordination.core.event_types import EVENT_TYPES
from watchbill_coordination.core.events import Event, Recorded

VERSION = 1
MAX_LINE = 1 << 20  #: bytes, newline included
MAX_INLINE = 64 << 10  #: bytes of `data`; more goes to a blob
MAX_BLOB = 8 << 20  #: bytes of `data` that are accepted at all
TRAILER = 56  #: bytes, newline included
BLOB = "$blob"  #: the one member of `data` that names a blob by its SHA-256

LoadBlob = Callable[[str], bytes]


class CorruptRecord(ValueError):
    """The line is not what a writer wrote at this place; the message says in which way."""


class NewerFormat(Exception):
    """The line is whole, but written by a newer version. The caller stops and writes nothing."""


@dataclass(frozen=True, slots=True)
class Record:
    """A verified line."""

    recorded: Recorded
    tx: int  #: records still to come of the same atomic group
    h: bytes  #: 16 bytes; the chain up to and with this record


@dataclass(frozen=True, slots=True)
class Data:
    """The encoded `data` of one event, and the blob that it stands for, if it is too long for a line."""

    encoded: bytes
    blob: bytes | None = None


def compute_genesis(log_id: str) -> bytes:
    """Return the `h` that the first record of that log is chained to."""
    return hashlib.sha256(log_id.encode()).digest()[:16]


def encode_data(event: Event) -> Data:
    """Encode all fields of `event` but task and agent. Raises Unencodable."""
    names = _DATA_NAMES[type(event).__name__]
    encoded = encode_canonical({name: getattr(event, name) for name in names})
    if len(encoded) <= MAX_INLINE:
        return Data(encoded)
    if len(encoded) > MAX_BLOB:
        raise Unencodable(f"{len(encoded)} bytes of data; at most {MAX_BLOB} are kept")
    return Data(encode_canonical({BLOB: hashlib.sha256(encoded).hexdigest()}), encoded)


def encode(recorded: Recorded, previous_h: bytes, *, tx: int = 0, data: Data | None = None) -> tuple[bytes, bytes]:
    """Return the line and its `h`. Raises Unencodable, also for a line longer than MAX_LINE."""
    event = recorded.event
    body = b'{"v":1,"seq":%d,"ts":%d,"ep":%d,"type":"%b"%b%b%b,"cause":%d,"tx":%d,"data":%b}' % (
        recorded.seq,
        recorded.ts,
        recorded.ep,
        type(event).__name__.encode(),
        _encode_member(b"task", getattr(event, "task", "")),
        _encode_member(b"agent", getattr(event, "agent", "")),
        _encode_member(b"key", recorded.key),
        recorded.cause,
        tx,
        (data or encode_data(event)).encoded,
    )
    if len(body) - 1 + TRAILER > MAX_LINE:
        raise Unencodable(f"a line of {len(body) - 1 + TRAILER} bytes; at most {MAX_LINE} are kept")
    trailer, h = compute_trailer(body, previous_h)
    return body[:-1] + trailer, h


def compute_trailer(body: bytes, previous_h: bytes) -> tuple[bytes, bytes]:
    """Return the 56 bytes that must follow the body, and the `h` in them."""
    h = hashlib.sha256(previous_h + body).digest()[:16]
    return b',"h":"%b","c":"%08x"}\n' % (h.hex().encode(), zlib.crc32(body)), h


def is_record(line: bytes) -> bool:
    """Whether a writer wrote this line, as far as it can be told without its predecessor."""
    body = line[:-TRAILER] + b"}"
    return len(line) > TRAILER and line.endswith(b'"c":"%08x"}\n' % zlib.crc32(body))


def decode(line: bytes, previous_h: bytes, load_blob: LoadBlob | None = None) -> Record:
    """Verify the line against its predecessor's `h` and read it.

    Raises CorruptRecord for wrong bytes, NewerFormat for a version, type or shape that this program does not know.
    """
    body = line[:-TRAILER] + b"}"
    trailer, h = compute_trailer(body, previous_h)
    if line[-TRAILER:] != trailer:
        raise CorruptRecord(_tell_mismatch(line))
    try:
        members = decode_json(body)
        if members["v"] != VERSION:
            raise NewerFormat(f"format version {members['v']}; this program reads version {VERSION}")
        recorded = Recorded(
            event=_decode_event(members, load_blob),
            seq=members["seq"],
            ts=members["ts"],
            ep=members["ep"],
            key=members.get("key", ""),
            cause=members["cause"],
        )
        return Record(recorded, members["tx"], h)
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptRecord(f"whole, but no record: {error!r}") from error


def read_header(line: bytes) -> Recorded | None:
    """Read the first line of a segment before its predecessor is known; None if it is not whole.

    It is checked by its checksum alone: whoever goes on from it verifies the chain.
    """
    if not is_record(line):
        return None
    try:
        members = decode_json(line)
        event = _decode_event(members, None)
        return Recorded(event=event, seq=members["seq"], ts=members["ts"], ep=members["ep"])
    except (ValueError, KeyError, TypeError):
        return None


def _encode_member(name: bytes, value: str) -> bytes:
    return b',"%b":%b' % (name, encode_text(value)) if value else b""


def _tell_mismatch(line: bytes) -> str:
    if not line.endswith(b"\n"):
        return "the line has no end"
    if not is_record(line):
        return "the checksum does not fit the line"
    return "the line is whole, but does not follow its predecessor (lost, inserted, swapped or foreign)"


def _decode_event(members: Mapping[str, Any], load_blob: LoadBlob | None) -> Event:
    """Build the event, with unknown members of `data` left out: a newer writer may have added them."""
    name = members["type"]
    event_type = EVENT_TYPES.get(name)
    if event_type is None:
        raise NewerFormat(f"event type {name} at seq {members['seq']}; a newer version of Watchbill wrote this log")
    data = members["data"]
    if BLOB in data:
        if load_blob is None:
            raise CorruptRecord("the data lies in a blob, and no blobs are at hand")
        data = decode_json(load_blob(data[BLOB]))
    known = {field: data[field] for field in _DATA_NAMES[name] if field in data}
    for subject in _SUBJECTS[name]:
        known[subject] = members.get(subject, "")
    missing = [field for field in _REQUIRED[name] if field not in known]
    if missing:
        raise CorruptRecord(f"{name} without {', '.join(missing)}")
    return event_type(**known)


_SUBJECTS: Mapping[str, tuple[str, ...]] = {
    name: tuple(f.name for f in fields(cls) if f.name in ("task", "agent")) for name, cls in EVENT_TYPES.items()
}
_DATA_NAMES: Mapping[str, tuple[str, ...]] = {
    name: tuple(sorted(f.name for f in fields(cls) if f.name not in ("task", "agent")))
    for name, cls in EVENT_TYPES.items()
}
_REQUIRED: Mapping[str, tuple[str, ...]] = {
    name: tuple(f.name for f in fields(cls) if f.default is MISSING and f.default_factory is MISSING)
    for name, cls in EVENT_TYPES.items()
}
