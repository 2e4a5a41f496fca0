"""The built-in kinds that the server knows.

Owns the way from the table `kinds.json` to `Resource`s: names, scopes, subresources, selectable fields, columns and
defaults are data there; what needs code is named there and stands here, in pod_rules.py, crds.py and kind_cells.py. A
kind that is not in the table does not exist here unless a CustomResourceDefinition brings it.

Far fewer mistakes are refused than upstream refuses. A fill function changes the object that it is given, which is the
caller's own copy; a check only reads.
"""

from __future__ import annotations

import base64
import functools
import json
from dataclasses import fields
from pathlib import Path
from typing import Any

from watchbill_local.server.crds import check_crd, fill_crd
from watchbill_local.server.errors import Cause, invalid_value, too_long
from watchbill_local.server.jsonpath import parse_jsonpath
from watchbill_local.server.kind_cells import CELLS, Cell
from watchbill_local.server.names import check_data_key
from watchbill_local.server.pod_rules import check_pod, fill_pod
from watchbill_local.server.resource import Check, Fill, Resource, Row
from watchbill_local.server.values import Obj, copy_value

MAX_DATA_BYTES = 1024 * 1024
_FIELDS = {field.name for field in fields(Resource)}
_TABLE = Path(__file__).with_name("kinds.json")
_PLAIN_COLUMNS: list[Obj] = [{"name": "Name"}, {"name": "Age"}]


def build_kinds() -> list[Resource]:
    """Return all built-in kinds."""
    return [_build_kind(entry) for entry in json.loads(_TABLE.read_text())]


def fill_namespace(value: Obj, old: Obj | None, now: str) -> None:
    """Label a namespace with its name."""
    metadata = value["metadata"]
    metadata["labels"] = {**(metadata.get("labels") or {}), "kubernetes.io/metadata.name": metadata["name"]}


def fill_secret(value: Obj, old: Obj | None, now: str) -> None:
    """Encode `stringData` into `data`."""
    plain = value.pop("stringData", None) or {}
    if plain:
        encoded = {key: base64.b64encode(str(text).encode()).decode() for key, text in plain.items()}
        value["data"] = {**(value.get("data") or {}), **encoded}


def check_data(value: Obj, old: Obj | None) -> list[Cause]:
    """Refuse keys of a config map or secret that cannot be file names, and data beyond 1 MiB, counted decoded."""
    encoded = "data" if value.get("kind") == "Secret" else "binaryData"
    members = [(field, key, text) for field in ("data", "binaryData") for key, text in (value.get(field) or {}).items()]
    causes = [invalid_value(f"{field}[{key}]", key, why) for field, key, _ in members for why in check_data_key(key)]
    sizes = (len(text.rstrip("=")) * 3 // 4 if field == encoded else len(text.encode()) for field, _, text in members)
    if sum(sizes) > MAX_DATA_BYTES:
        cause = too_long("data", MAX_DATA_BYTES)
        causes.append(cause if value.get("kind") == "Secret" else cause._replace(field=""))
    return causes


_FILLS: dict[str, Fill] = {"definition": fill_crd, "namespace": fill_namespace, "pod": fill_pod, "secret": fill_secret}
_CHECKS: dict[str, Check] = {"data": check_data, "definition": check_crd, "pod": check_pod}


def _build_kind(entry: Obj) -> Resource:
    columns = entry.get("columns", _PLAIN_COLUMNS)
    named = {key: tuple(value) if isinstance(value, list) else value for key, value in entry.items() if key in _FIELDS}
    made: dict[str, Any] = {
        "columns": tuple(_build_column(column) for column in columns),
        "row": _build_row(columns),
        "fill": functools.partial(_fill, entry.get("defaults") or {}, _FILLS.get(entry.get("fill", ""))),
        "check": _CHECKS.get(entry.get("check", "")),
    }
    return Resource(**{"group": "", "version": "v1", **named, **made})


def _build_column(column: Obj) -> Obj:
    name, kind = column["name"], column.get("type", "string")
    form = "name" if name == "Name" else ""
    return {"name": name, "type": kind, "format": form, "description": name, "priority": column.get("priority", 0)}


def _build_row(columns: list[Obj]) -> Row:
    cells = [(_build_cell(column.get("cell", column["name"].lower())), column.get("empty", "")) for column in columns]

    def build_row(value: Obj, now: float) -> list[Any]:
        return [empty if (found := cell(value, now)) in (None, "") else found for cell, empty in cells]

    return build_row


def _build_cell(source: str) -> Cell:
    """Return (object, now) -> cell; a source is a path or the name of a function."""
    if source in CELLS:
        return CELLS[source]
    path = parse_jsonpath(source)
    return lambda value, now: _join(path(value))


def _join(found: list[Any]) -> Any:
    return found[0] if len(found) == 1 else ",".join(map(str, found))


def _fill(defaults: Obj, special: Fill | None, value: Obj, old: Obj | None, now: str) -> None:
    _fill_defaults(value, defaults)
    if special:
        special(value, old, now)


def _fill_defaults(value: Obj, defaults: Obj) -> None:
    """Add members that are absent; an object is filled in member by member, and a list of one object item by item."""
    for key, default in defaults.items():
        if isinstance(default, list) and isinstance(default[0], dict):
            for item in value.get(key) or []:
                _fill_defaults(item, default[0])
        elif value.get(key) is None:
            value[key] = copy_value(default)
        elif isinstance(default, dict):
            _fill_defaults(value[key], default)
