"""Times as the API writes them and ages as kubectl prints them.

Owns RFC 3339 in both directions and the short human form of a duration. All but `now_iso` are pure.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "y": 31_536_000}
#: (seconds below which the step holds, first unit, second unit).
_STEPS: tuple[tuple[float, str, str], ...] = (
    *((120, "s", ""), (600, "m", "s"), (10_800, "m", ""), (28_800, "h", "m"), (172_800, "h", ""), (691_200, "d", "h")),
    *((63_072_000, "d", ""), (252_288_000, "y", "d"), (math.inf, "y", "")),
)


def now_iso() -> str:
    """Return the present second as the API writes it in metadata: `2026-11-22T12:00:00Z`."""
    return format_time(datetime.now(UTC).timestamp())


def format_time(seconds: float) -> str:
    """Return a moment (seconds since the epoch) as the API writes it in metadata."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_time(text: str) -> float | None:
    """Return seconds since the epoch, or None when `text` is no RFC 3339 time."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment.timestamp() if moment.tzinfo else None


def human_duration(seconds: float) -> str:
    """Return a duration as kubectl's AGE column shows it: 59s, 3m20s, 5h, 2d4h, 3y12d; two figures at most."""
    whole = int(seconds)
    if whole < 0:
        return "0s" if whole >= -1 else "<invalid>"
    first, second = next((first, second) for limit, first, second in _STEPS if whole < limit)
    count, rest = divmod(whole, _UNITS[first])
    more = rest // _UNITS[second] if second else 0
    return f"{count}{first}{more}{second}" if more else f"{count}{first}"


def age_of(timestamp: str | None, now: float) -> str:
    """Return the age at `now` (seconds since the epoch) of a time that the API wrote, or `<unknown>`."""
    moment = parse_time(timestamp) if timestamp else None
    return "<unknown>" if moment is None else human_duration(now - moment)
