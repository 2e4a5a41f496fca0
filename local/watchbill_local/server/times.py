"""Times as the API writes them and ages as kubectl prints them.

Owns RFC 3339 in both directions and the short human form of a duration. All but `now_iso` are pure.
"""

from __future__ import annotations

from datetime import UTC, datetime

_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_YEAR_DAYS = 365


def now_iso() -> str:
    """Return the present second as the API writes it in metadata: `2026-11-22T12:00:00Z`."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


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
    if whole < 2 * _MINUTE:
        return f"{whole}s"
    minutes, hours, days = whole // _MINUTE, whole // _HOUR, whole // _DAY
    if minutes < 10:
        return _two(minutes, "m", whole % _MINUTE, "s")
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return _two(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    if days < 8:
        return _two(days, "d", hours % 24, "h")
    if days < 2 * _YEAR_DAYS:
        return f"{days}d"
    years = days // _YEAR_DAYS
    return _two(years, "y", days % _YEAR_DAYS, "d") if years < 8 else f"{years}y"


def age_of(timestamp: str | None, now: float) -> str:
    """Return the age at `now` (seconds since the epoch) of a time that the API wrote, or `<unknown>`."""
    moment = parse_time(timestamp) if timestamp else None
    return "<unknown>" if moment is None else human_duration(now - moment)


def _two(big: int, big_unit: str, small: int, small_unit: str) -> str:
    """Return both figures, or the first alone when the second is zero."""
    return f"{big}{big_unit}{small}{small_unit}" if small else f"{big}{big_unit}"
