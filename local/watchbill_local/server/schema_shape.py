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
_OBJECT_META_NAMES = """
name generateName namespace selfLink uid resourceVersion generation creationTimestamp deletionTimestamp
deletionGracePeriodSeconds labels annotations ownerReferences finalizers managedFields
"""
_OBJECT_META = set(_OBJECT_META_NAMES.split())


def prune(value: Any, schema: Obj, path: str = "", *, is_root: bool = False) -> list[str]:
    """Remove the members that `schema` does not name and return their paths (`spec.foo`, `spec.items[0].bar`)."""
    unknown: list[str] = []
    if isinstance(value, dict):
        has_meta = is_root or bool(schema.get(EMBEDDED))
        for key in list(value):
            here = child_path(path, key)
            if has_meta and key in _TYPE_META:
                unknown += _prune_metadata(value[key], here) if key == "metadata" else []
                continue
            below = find_member_schema(schema, key)
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
    """Remove null members that are neither nullable nor have a default: null counts as absent."""
    if isinstance(value, dict):
        for key in list(value):
            below = find_member_schema(schema, key)
            if not isinstance(below, dict):
                continue
            if _is_absent(value[key], below) and below.get("default") is None:
                del value[key]
            else:
                drop_nulls(value[key], below)
    elif isinstance(value, list) and isinstance(schema.get("items"), dict):
        for item in value:
            drop_nulls(item, schema["items"])


def fill_defaults(value: Any, schema: Obj) -> None:
    """Put defaults where members are absent, or null though not nullable, also within defaults just filled in."""
    if isinstance(value, dict):
        for key, below in (schema.get("properties") or {}).items():
            default = below.get("default")
            if default is not None and (key not in value or _is_absent(value[key], below)):
                value[key] = copy_value(default)
        for key in value:
            member = find_member_schema(schema, key)
            if isinstance(member, dict):
                fill_defaults(value[key], member)
    elif isinstance(value, list) and isinstance(schema.get("items"), dict):
        for index, item in enumerate(value):
            if _is_absent(item, schema["items"]) and "default" in schema["items"]:
                value[index] = copy_value(schema["items"]["default"])
            fill_defaults(value[index], schema["items"])


def find_member_schema(schema: Obj, key: str) -> Obj | bool:
    """Return the schema of a member, True when it is kept as it is, False when it is unknown."""
    properties = schema.get("properties") or {}
    if key in properties:
        below: Obj = properties[key]
        return below
    others = schema.get("additionalProperties")
    if isinstance(others, dict):
        return others
    return others is True or bool(schema.get(PRESERVE))


def _is_absent(value: Any, schema: Obj) -> bool:
    return value is None and not schema.get("nullable")


def _prune_metadata(metadata: Any, path: str) -> list[str]:
    unknown = [key for key in metadata if key not in _OBJECT_META] if isinstance(metadata, dict) else []
    for key in unknown:
        del metadata[key]
    return [child_path(path, key) for key in unknown]
