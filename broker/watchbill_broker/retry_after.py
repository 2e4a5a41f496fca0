"""How long the model's API wants to be left alone.

Owns the reading of `retry-after` and of the rate limits' reset times. Invariant: the answer is a number of seconds
from 0 to LONGEST_SECONDS, or None where nothing was said. Pure: takes `now`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from watchbill_broker.headers import Fields, find_field

LONGEST_SECONDS = 7 * 86400.0
PREFIX = b"anthropic-ratelimit-"
LIMITS = (b"requests", b"tokens", b"input-tokens", b"output-tokens")
WAITING = frozenset({429, 503, 529})


def find_retry_after(status: int, fields: Fields, now: float) -> float | None:
    """Seconds to wait after an answer, or None. `now` is seconds since the epoch."""
    if status not in WAITING:
        return None
    told = find_field(fields, b"retry-after")
    seconds = _parse_delay(told, now) if told is not None else None
    if seconds is None and status == 429:
        seconds = _find_reset(fields, now)
    return None if seconds is None else min(max(seconds, 0.0), LONGEST_SECONDS)


def _parse_delay(value: bytes, now: float) -> float | None:
    """Seconds, or a date of HTTP."""
    try:
        text = value.decode("ascii").strip()
        if text.replace(".", "", 1).isdigit():
            return float(text)
        return parsedate_to_datetime(text).timestamp() - now
    except (ValueError, OverflowError):
        return None


def _find_reset(fields: Fields, now: float) -> float | None:
    """Until the last of the exhausted limits is reset: those of an API key, or the one of a subscription."""
    resets = []
    if find_field(fields, PREFIX + b"unified-status") == b"rejected":
        resets.append(find_field(fields, PREFIX + b"unified-reset"))
    exhausted = [limit for limit in LIMITS if find_field(fields, PREFIX + limit + b"-remaining") == b"0"]
    resets.extend(find_field(fields, PREFIX + limit + b"-reset") for limit in exhausted)
    waits = [wait for reset in resets if reset is not None and (wait := _parse_moment(reset, now)) is not None]
    return max(waits, default=None)


def _parse_moment(value: bytes, now: float) -> float | None:
    """Seconds since the epoch, or a date of RFC 3339."""
    try:
        text = value.decode("ascii").strip()
        if text.isdigit():
            return float(text) - now
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - now
    except (ValueError, OverflowError):
        return None
