"""What a structural schema makes of an object before it is checked: prune, drop nulls, fill in defaults.

Owns the three steps that change an object, in the order in which upstream takes them. All change the given value in
place: it must be the caller's own copy, never one that is stored.
"""

from __future__ import annotations

from typing import Any

from watchbill_local.server.values import Obj, child_path, copy_value

PRESERVE = "x-kubernetes-preserve-unknown-fields"
EMBEDDED = "x-kubernetes-embedded-resource"
_TYPE_META = ("apiVersion", "kind", "metadata")


def prune(value: Any, schema: Obj, path: str = "", *, is_root: bool = False) -> list[str]:
    """Remove the members that `schema` does not name and return their paths (`spec.foo`, `spec.items[0].bar`)."""
    unknown: list[str] = []
    if isinstance(value, dict):
        keeps_meta = is_root or bool(schema.get(EMBEDDED))
        for key in list(value):
            if keeps_meta and key in _TYPE_META:
                continue
            below = _member_schema(schema, key)
            here = child_path(path, key)
            if isinstance(below, dict):
                unknown += prune(value[key], below, here)
            elif not below:
                unknown.append(here)
                del value[key]
    elif isinstance(value, list) and isinstance(schema.get("items"), dict):
        for index, item in enumerate(value):
            unknown += prune(item, schema["items"], f"{path}[{index}]")
    return unknown


def drop_nulls(value: Any, schema: Obj) -> None:
    """Treat null for a member that has a default and is not nullable as absent, so that the default applies."""
    if isinstance(value, dict):
        for key in list(value):
            below = _member_schema(schema, key)
            if not isinstance(below, dict):
                continue
            if value[key] is None and not below.get("nullable") and not below.get(PRESERVE):
                del value[key]
            else:
                drop_nulls(value[key], below)
    elif isinstance(value, list) and isinstance(schema.get("items"), dict):
        for item in value:
            drop_nulls(item, schema["items"])


def fill_defaults(value: Any, schema: Obj) -> None:
    """Add what is absent and has a default, at every depth that exists or comes into being by a default."""
    if isinstance(value, dict):
        properties: Obj = schema.get("properties") or {}
        for key, below in properties.items():
            if key not in value and "default" in below:
                value[key] = copy_value(below["default"])
            if key in value:
                fill_defaults(value[key], below)
        others = schema.get("additionalProperties")
        if isinstance(others, dict):
            for key in value.keys() - properties.keys():
                fill_defaults(value[key], others)
    elif isinstance(value, list) and isinstance(schema.get("items"), dict):
        for item in value:
            fill_defaults(item, schema["items"])


def _member_schema(schema: Obj, key: str) -> Obj | bool:
    """Return the schema of a member, True when it is kept as it is, False when it is unknown."""
    properties = schema.get("properties") or {}
    if key in properties:
        below: Obj = properties[key]
        return below
    others = schema.get("additionalProperties")
    if isinstance(others, dict):
        return others
    return others is True or bool(schema.get(PRESERVE))
