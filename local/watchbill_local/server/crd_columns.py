"""Table columns of custom resources (`additionalPrinterColumns`).

Owns how a cell of each type is made from what the column's path finds. Pure.
"""

from __future__ import annotations

from typing import Any

from watchbill_local.server.jsonpath import Path, parse_jsonpath
from watchbill_local.server.resource import Row
from watchbill_local.server.times import age_of, parse_time
from watchbill_local.server.values import Obj, format_json

_NAME = {
    "name": "Name",
    "type": "string",
    "format": "name",
    "description": "Name must be unique within a namespace.",
    "priority": 0,
}
_DEFAULT = [{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}]


def build_columns(printed: list[Obj]) -> tuple[dict[str, Any], ...]:
    """Return the columnDefinitions: Name, then those of the CRD, or Age when it has none."""
    return (_NAME, *[_build_column(each) for each in printed or _DEFAULT])


def build_row(printed: list[Obj]) -> Row:
    """Return the row function that belongs to `build_columns`."""
    cells = [(parse_jsonpath(each["jsonPath"]), each["type"]) for each in printed or _DEFAULT]

    def row(value: Obj, now: float) -> list[Any]:
        return [value["metadata"]["name"], *[_build_cell(value, path, kind, now) for path, kind in cells]]

    return row


def _build_column(printed: Obj) -> dict[str, Any]:
    return {
        "name": printed["name"],
        "type": printed["type"],
        "format": printed.get("format", ""),
        "description": printed.get("description")
        or f"Custom resource definition column (in JSONPath format): {printed['jsonPath']}",
        "priority": printed.get("priority", 0),
    }


def _build_cell(value: Obj, path: Path, kind: str, now: float) -> Any:
    """Return a cell: null when nothing is found or the value is not of the column's type."""
    found = path(value)
    if not found:
        return None
    first = found[0]
    is_number = isinstance(first, (int, float)) and not isinstance(first, bool)
    if kind == "string":
        return first if isinstance(first, str) else format_json(first)
    if kind == "date" and isinstance(first, str):
        return "<invalid>" if parse_time(first) is None else age_of(first, now)
    if kind == "integer":
        return int(first) if is_number else None
    if kind == "number":
        return first if is_number else None
    return first if kind == "boolean" and isinstance(first, bool) else None
