"""One value, one sequence of bytes: canonical JSON.

Owns the spelling that checksums and byte-identical projections rest on: UTF-8, sorted keys, no blanks, no escapes
but those that JSON demands. Invariant: equal values give equal bytes, and what was encoded decodes to an equal value.
Never writes what other readers of JSON cannot hold: no NaN or infinity, no lone surrogate, no integer beyond 2^53.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from json.encoder import encode_basestring
from typing import Any

MAX_INTEGER = 2**53

_LONG_NUMBER = re.compile(rb"\d{16}")


class Unencodable(ValueError):
    """The value has no canonical form; the caller refuses whatever asked for it."""


def _plain(value: object) -> object:
    """Let read-only mappings through as objects; everything else is unknown to JSON."""
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} has no form in JSON")


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


_ENCODER = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, separators=(",", ":"), sort_keys=True, default=_plain, check_circular=False
)
_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


def encode_canonical(value: object) -> bytes:
    """Return the bytes of `value`: JSON without blanks, keys sorted. Raises Unencodable."""
    try:
        encoded = _ENCODER.encode(value).encode()
    except (ValueError, TypeError, RecursionError) as error:
        raise Unencodable(str(error)) from error
    if _LONG_NUMBER.search(encoded) and _has_big_integer(value):
        raise Unencodable(f"an integer lies beyond {MAX_INTEGER}")
    return encoded


def encode_text(text: str) -> bytes:
    """Return the bytes of one string, as `encode_canonical` spells it. Raises Unencodable."""
    try:
        return encode_basestring(text).encode()
    except UnicodeEncodeError as error:
        raise Unencodable(str(error)) from error


def decode_json(encoded: bytes) -> Any:
    """Parse one JSON value. Raises ValueError for anything that `encode_canonical` could not have meant."""
    return _DECODER.decode(encoded.decode())


def _has_big_integer(value: object) -> bool:
    """Whether any integer in `value` cannot be held by a reader that uses doubles."""
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, int) and abs(item) > MAX_INTEGER:
            return True
        if isinstance(item, Mapping):
            pending.extend(item.values())
        elif isinstance(item, list | tuple):
            pending.extend(item)
    return False
