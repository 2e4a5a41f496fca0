"""What a model passes to a tool, read within bounds.

Owns the checks on arguments. Invariant: a value that is returned has its type and keeps its limit; anything else is a
ToolError that names the argument, says what is wrong with it and what would be right. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

SHOWN = 60  #: characters of a wrong value that are repeated


class ToolError(Exception):
    """The tool does not do it. The text is for the model: what happened and what to do next."""


class Arguments:
    """The arguments of one use of a tool."""

    def __init__(self, raw: Mapping[str, Any]) -> None:
        self._raw = raw

    def text(self, name: str, limit: int, *, default: str | None = None) -> str:
        """Return a text of at most `limit` characters; without a default it must be there and not be blank."""
        value = self._raw.get(name)
        if value is None and default is not None:
            return default
        if not isinstance(value, str):
            raise ToolError(f"{name} is {_show(value)}: give a text.")
        if default is None and not value.strip():
            raise ToolError(f"{name} is empty: give a text.")
        if len(value) > limit:
            raise ToolError(f"{name} has {len(value):,} characters: give at most {limit:,}.")
        if not _is_unicode(value):
            raise ToolError(f"{name} holds half of a surrogate pair: give Unicode text.")
        return value

    def whole(self, name: str, low: int, high: int) -> int | None:
        """Return a whole number from `low` to `high`, or None when it is not there."""
        value = self._raw.get(name)
        if value is None:
            return None
        if not isinstance(value, int | float) or isinstance(value, bool) or value != value // 1:
            raise ToolError(f"{name} is {_show(value)}: give a whole number from {low:,} to {high:,}.")
        if not low <= value <= high:
            raise ToolError(f"{name} is {_show(value)}: give a number from {low:,} to {high:,}.")
        return int(value)

    def choice(self, name: str, known: Sequence[str], default: str) -> str:
        """Return one of the known words, whatever its case."""
        value = self.text(name, SHOWN, default=default).strip().lower()
        if value not in known:
            raise ToolError(f"{name} is {_show(value)}: give {' or '.join(known)}.")
        return value

    def texts(self, name: str, count: int, limit: int) -> tuple[str, ...]:
        """Return a list of at most `count` texts without repetitions; none when it is not there."""
        value = self._raw.get(name)
        if value is None:
            return ()
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise ToolError(f"{name} is {_show(value)}: give a list of texts.")
        if len(value) > count:
            raise ToolError(f"{name} has {len(value):,} members: give at most {count:,}.")
        for item in value:
            if not 1 <= len(item) <= limit or not _is_unicode(item):
                raise ToolError(f"{name} holds {_show(item)}: each has 1 to {limit} characters of Unicode.")
        return tuple(dict.fromkeys(value))

    def mapping(self, name: str) -> Mapping[str, Any]:
        """Return an object; an empty one when it is not there."""
        value = self._raw.get(name)
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise ToolError(f"{name} is {_show(value)}: give an object.")
        return value


def _is_unicode(text: str) -> bool:
    """Whether no half of a surrogate pair stands in it; JSON can spell one."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _show(value: object) -> str:
    """Repeat a wrong value, shortened."""
    if value is None:
        return "missing"
    text = repr(value[: SHOWN + 1] if isinstance(value, str | list) else value)
    return text if len(text) <= SHOWN else text[:SHOWN] + "…"
