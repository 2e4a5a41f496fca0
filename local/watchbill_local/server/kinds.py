"""The built-in kinds that the server knows.

Owns the way from the table `kinds.json` to `Resource`s: names, scopes, subresources, selectable fields, columns and
defaults are data there, and the rules and cells that need code are named there and stand in kind_rules.py, pod_rules.py
and kind_cells.py. A kind that is not in the table does not exist here unless a CustomResourceDefinition brings it.
"""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

from watchbill_local.server import kind_rules
from watchbill_local.server.crd_rules import check_crd
from watchbill_local.server.crds import fill_crd
from watchbill_local.server.jsonpath import parse_jsonpath
from watchbill_local.server.kind_cells import CELLS, build_age
from watchbill_local.server.pod_rules import check_pod, fill_pod
from watchbill_local.server.resource import Check, Fill, Resource, Row
from watchbill_local.server.values import Obj, copy_value

FIELDS = {field.name for field in fields(Resource)}
TABLE = Path(__file__).with_name("kinds.json")
PLAIN_COLUMNS: list[Obj] = [{"name": "Name"}, {"name": "Age"}]

FILLS: dict[str, Fill] = {
    "definition": fill_crd,
    "namespace": kind_rules.fill_namespace,
    "pod": fill_pod,
    "secret": kind_rules.fill_secret,
    "service": kind_rules.fill_service,
}
CHECKS: dict[str, Check] = {
    "claim": kind_rules.check_claim,
    "data": kind_rules.check_data,
    "definition": check_crd,
    "event": kind_rules.check_event,
    "lease": kind_rules.check_lease,
    "pod": check_pod,
}


def build_kinds() -> list[Resource]:
    """Return all built-in kinds."""
    table: list[Obj] = json.loads(TABLE.read_text())
    stored = {(entry.get("group", ""), entry["plural"]): entry for entry in table}
    return [_build_kind(entry, stored) for entry in table]


def _build_kind(entry: Obj, stored: dict[tuple[str, str], Obj]) -> Resource:
    """Return one kind; a view shows the objects of a kind in another group, by that kind's columns and rules."""
    view_of = entry.get("storage_group")
    columns = (entry if view_of is None else stored[view_of, entry["plural"]]).get("columns", PLAIN_COLUMNS)
    row = _build_row(columns)
    plain = {key: tuple(value) if isinstance(value, list) else value for key, value in entry.items()}
    made: dict[str, Any] = {
        "group": plain.get("group", ""),
        "version": "v1",
        "columns": tuple(_build_column(column) for column in columns),
        "row": row,
        "fill": _build_fill(entry),
        "check": CHECKS.get(entry.get("check", "")),
    }
    if view_of is not None:
        made |= {"row": lambda value, now: row(kind_rules.build_core_event(value), now), "is_storage_version": False}
        made |= {"from_storage": kind_rules.build_new_event, "to_storage": kind_rules.build_core_event}
    named: dict[str, Any] = {key: value for key, value in plain.items() if key in FIELDS}
    return Resource(**{**named, **made})


def _build_column(column: Obj) -> Obj:
    name, is_name = column["name"], column["name"] == "Name"
    return {
        "name": name,
        "type": column.get("type", "string"),
        "format": "name" if is_name else "",
        "description": name,
        "priority": column.get("priority", 0),
    }


def _build_row(columns: list[Obj]) -> Row:
    cells = [(_build_cell(column), column.get("empty", "")) for column in columns]

    def build_row(value: Obj, now: float) -> list[Any]:
        found = [cell(value, now) for cell, _ in cells]
        return [empty if item in (None, "") else item for item, (_, empty) in zip(found, cells, strict=True)]

    return build_row


def _build_cell(column: Obj) -> Any:
    """Return (object, now) -> cell; a cell is a path, the name of a function, or by default the name or the age."""
    source = column.get("cell")
    if source is None:
        return build_age if column["name"] == "Age" else lambda value, now: value["metadata"]["name"]
    if source in CELLS:
        return CELLS[source]
    path = parse_jsonpath(source)
    return lambda value, now: next(iter(path(value)), None)


def _build_fill(entry: Obj) -> Fill | None:
    defaults, special = entry.get("defaults"), FILLS.get(entry.get("fill", ""))
    if not defaults:
        return special

    def fill(value: Obj, old: Obj | None, now: str) -> None:
        _fill_defaults(value, defaults)
        if special:
            special(value, old, now)

    return fill


def _fill_defaults(value: Obj, defaults: Obj) -> None:
    """Add members that are absent; a default that is an object is filled in member by member."""
    for key, default in defaults.items():
        if value.get(key) is None:
            value[key] = copy_value(default)
        elif isinstance(default, dict):
            _fill_defaults(value[key], default)
