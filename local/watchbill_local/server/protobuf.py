"""Kubernetes' protobuf bodies, as kubectl and client-go send them for built-in kinds, turned into JSON values.

Owns the envelope (four magic bytes and a `runtime.Unknown` that names the type) and the walk over the bytes by the
table protobuf.json: for each message its fields by number, as JSON name, type, and how the field is held: `list`,
`map` (from strings), `inline` (its members stand beside it), `self` (the message is nothing but this field), `zero`
(left out when it is zero, as Go's `omitempty` does), or nothing (kept as it comes). Numbers that the table does not
have are passed over, as Go passes over the fields of a newer client.

Invariant: what comes out is the JSON that the same client would have sent, but for nulls and empty structs, which say
nothing. Bytes of any kind end in a value or in a ValueError; nothing is answered in this form.
"""

from __future__ import annotations

import base64
import functools
import struct
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import orjson

from watchbill_local.server.values import Obj, load_table

PROTOBUF = "application/vnd.kubernetes.protobuf"
MAGIC = b"k8s\x00"

#: Messages within messages; upstream's own limit for JSON is of this order.
DEEPEST = 100

#: What is on the wire: a number, 8 bytes, a run of bytes, or 4 bytes.
Wire = int | bytes


class NoEnvelopeError(ValueError):
    """The bytes are no protobuf body of Kubernetes at all, or they name no type."""


class UnknownTypeError(ValueError):
    """The body is of a type that is not known here; the message is upstream's."""


def parse_protobuf(raw: bytes) -> Obj:
    """Return the object of a body, with `apiVersion` and `kind`. Raises ValueError, of the two kinds above or plain."""
    if not raw.startswith(MAGIC):
        raise NoEnvelopeError("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")
    try:
        unknown = dict(_split(raw[len(MAGIC) :]))
        names = dict(_split(_bytes_of(unknown.get(1, b""))))
        api_version, kind = (_bytes_of(names.get(number, b"")).decode() for number in (1, 2))
    except ValueError as error:
        raise NoEnvelopeError(str(error)) from None
    if not unknown:
        raise NoEnvelopeError("empty body")
    if kind not in _load_messages():
        raise UnknownTypeError(f'no kind "{kind}" is registered for version "{api_version}"')
    return {"apiVersion": api_version, "kind": kind, **_parse_message(kind, _bytes_of(unknown.get(2, b"")), DEEPEST)}


@functools.cache
def _load_messages() -> Obj:
    """Return the fields of every message; read when the first body comes."""
    messages: Obj = load_table("protobuf.json")
    return messages


def _parse_message(name: str, raw: bytes, depth: int) -> Any:
    """Return one message as JSON, at most `depth` messages deep."""
    if name in _SPECIAL:
        return _SPECIAL[name](dict(_split(raw)))
    if depth == 0:
        raise ValueError("exceeded max depth")
    fields: Obj = _load_messages()[name]
    made: Any = {}
    for number, wire in _split(raw):
        key, kind, how = fields.get(str(number), ("", "", "unknown"))
        if how == "unknown":
            continue
        if how == "map":
            entry = dict(_split(_bytes_of(wire)))
            value = _parse_value(kind, entry.get(2, 0 if kind in ("int", "bool") else b""), depth)
            made.setdefault(key, {})[_bytes_of(entry.get(1, b"")).decode()] = value
            continue
        value = _parse_value(kind, wire, depth)
        if how == "self":
            made = value
        elif how == "list":
            made.setdefault(key, []).append(value)
        elif how == "inline":
            made.update(value)
        elif value or how != "zero":
            made[key] = value
    return made


def _parse_value(kind: str, wire: Wire, depth: int) -> Any:
    """Return what a field of a type holds."""
    if kind in ("int", "bool"):
        number = _number_of(wire)
        return bool(number) if kind == "bool" else number - (number >> 63 << 64)
    raw = _bytes_of(wire)
    if kind == "string":
        return raw.decode()
    if kind == "bytes":
        return base64.b64encode(raw).decode()
    if kind == "double":
        return _parse_double(raw)
    return _parse_message(kind, raw, depth - 1)


def _parse_double(raw: bytes) -> float:
    if len(raw) != 8:
        raise ValueError("wrong wireType for a double")
    number: float = struct.unpack("<d", raw)[0]
    return int(number) if number.is_integer() else number


def _parse_time(fields: dict[int, Wire], form: str = "%Y-%m-%dT%H:%M:%SZ") -> str | None:
    """Return a time as the API writes it, None for Go's zero time, which is an empty message."""
    if not fields:
        return None
    seconds, nanos = (_parse_value("int", fields.get(number, 0), 0) for number in (1, 2))
    try:
        return datetime.fromtimestamp(seconds, UTC).replace(microsecond=nanos // 1000).strftime(form)
    except (OverflowError, OSError) as error:
        raise ValueError(f"not a time: {error}") from None


def _parse_int_or_string(fields: dict[int, Wire]) -> int | str:
    number: int = _parse_value("int", fields.get(2, 0), 0)
    return _bytes_of(fields.get(3, b"")).decode() if fields.get(1) else number


#: Messages with a JSON form of their own.
_SPECIAL: dict[str, Callable[[dict[int, Wire]], Any]] = {
    "Time": _parse_time,
    "MicroTime": functools.partial(_parse_time, form="%Y-%m-%dT%H:%M:%S.%fZ"),
    "Quantity": lambda fields: _bytes_of(fields.get(1, b"0")).decode(),
    "IntOrString": _parse_int_or_string,
    **dict.fromkeys(
        ("JSON", "FieldsV1", "RawExtension"), lambda fields: orjson.loads(_bytes_of(fields.get(1, b"null")))
    ),
}


def _number_of(wire: Wire) -> int:
    if isinstance(wire, int):
        return wire
    raise ValueError("wrong wireType for a number")


def _bytes_of(wire: Wire) -> bytes:
    if isinstance(wire, bytes):
        return wire
    raise ValueError("wrong wireType for a run of bytes")


def _split(raw: bytes) -> Iterator[tuple[int, Wire]]:
    """Yield the fields of a message by number, in the order in which they come."""
    at, end = 0, len(raw)
    while at < end:
        tag, at = _parse_varint(raw, at)
        wire_type, length = tag & 7, 0
        if wire_type == 0:
            number, at = _parse_varint(raw, at)
            yield tag >> 3, number
            continue
        if wire_type == 2:
            length, at = _parse_varint(raw, at)
        elif wire_type in (1, 5):
            length = 8 if wire_type == 1 else 4
        else:
            raise ValueError(f"proto: illegal wireType {wire_type}")
        if at + length > end:
            raise ValueError("unexpected EOF")
        yield tag >> 3, raw[at : at + length]
        at += length


def _parse_varint(raw: bytes, at: int) -> tuple[int, int]:
    """Return the number that begins at a place, and the place after it."""
    number = 0
    for shift in range(0, 64, 7):
        if at >= len(raw):
            raise ValueError("unexpected EOF")
        byte = raw[at]
        at += 1
        number |= (byte & 127) << shift
        if byte < 128:
            return number & (1 << 64) - 1, at
    raise ValueError("proto: integer overflow")
