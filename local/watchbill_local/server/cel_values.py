"""What a CEL rule sees of a custom resource: the values of JSON as those of CEL, by their schema.

Owns how members are named in rules (`a-b` is `a__dash__b`), which texts are times, durations or bytes (by `format`),
that null members of objects are absent, and that lists of type `set` and `map` are equal whatever their order: the
engine compares lists in order, so one that differs from its old value in order alone is shown in the order of that.
Two such lists of the same object are still compared in order. Pure.
"""

from __future__ import annotations

import base64
import functools
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from watchbill_local.server.schema_validate import MISSING, correlate_items, identify_item
from watchbill_local.server.values import Obj, load_table

_RESERVED = frozenset(load_table("cel.json")["reserved"])
_ESCAPES = {"__": "__underscores__", ".": "__dot__", "-": "__dash__", "/": "__slash__"}
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}


def escape_name(name: str) -> str:
    """Return the identifier by which rules name a member."""
    if name in _RESERVED:
        return f"__{name}__"
    return re.sub(r"__|[.\-/]", lambda match: _ESCAPES[match[0]], name)


def parse_duration(text: str) -> timedelta:
    """Return the duration that Go's format tells, such as `-1h30m`; microseconds are the least that is kept."""
    seconds = sum(float(number) * _UNITS[unit] for number, unit in re.findall(r"([\d.]+)([a-zµ]+)", text))
    return timedelta(seconds=-seconds if text.startswith("-") else seconds)


def _parse_moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


_TEXTS: dict[str, Callable[[str], Any]] = {
    "date": _parse_moment,
    "date-time": _parse_moment,
    "duration": parse_duration,
    "byte": base64.b64decode,
}
_NUMBERS: dict[str, Callable[[float], Any]] = {"integer": int, "number": float}
_escape = functools.lru_cache(maxsize=4096)(escape_name)


def view_value(value: Any, schema: Obj, old: Any = MISSING) -> Any:
    """Return a value as a rule sees it, beside its old value if there is one."""
    if isinstance(value, dict):
        return _view_object(value, schema, old if isinstance(old, dict) else {})
    if isinstance(value, list):
        return _view_list(value, schema, old if isinstance(old, list) else [])
    if isinstance(value, str) and schema.get("type") == "string":
        read = _TEXTS.get(schema.get("format") or "")
        return read(value) if read else value
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return _NUMBERS[schema["type"]](value) if is_number and schema.get("type") in _NUMBERS else value


def _view_object(value: Obj, schema: Obj, old: Obj) -> Obj:
    members, others = schema.get("properties"), schema.get("additionalProperties")
    if not members:
        below = others if isinstance(others, dict) else {}
        return {key: view_value(item, below, old.get(key, MISSING)) for key, item in value.items()}
    return {
        _escape(key): view_value(item, members.get(key) or {}, old.get(key, MISSING))
        for key, item in value.items()
        if item is not None
    }


def _view_list(value: list[Any], schema: Obj, old: list[Any]) -> list[Any]:
    items = schema.get("items") or {}
    if value == old:
        return [view_value(item, items, item) for item in value]
    if schema.get("x-kubernetes-list-type") in ("set", "map") and len(value) == len(old):
        places = {identify_item(item, schema): place for place, item in enumerate(old)}
        if places.keys() == {identify_item(item, schema) for item in value}:
            value = sorted(value, key=lambda item: places[identify_item(item, schema)])
    old_of = correlate_items(old, schema)
    by_place = dict(enumerate(old)) if schema.get("x-kubernetes-list-type") != "map" else {}
    return [view_value(item, items, by_place.get(place, old_of(item))) for place, item in enumerate(value)]
