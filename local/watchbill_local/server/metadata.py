"""Checks of `metadata` that hold for every kind.

Owns what the server refuses in names, labels, annotations, finalizers and owner references. Pure; returns causes, and
raises a 400 only where a value has a type that Go's decoder would refuse.
"""

from __future__ import annotations

from typing import Any

from watchbill_local.server.causes import invalid_value, too_long
from watchbill_local.server.errors import Cause, bad_request
from watchbill_local.server.names import check_label_value, check_name, check_qualified_name
from watchbill_local.server.resource import Resource
from watchbill_local.server.values import Obj, name_go_type

MAX_ANNOTATION_BYTES = 256 * 1024


def check_metadata(resource: Resource, metadata: Obj) -> list[Cause]:
    """Return what is wrong with the metadata of any object. Raises a 400 where a type is wrong."""
    name = _typed(resource, metadata, "name", str, "string")
    owners = _typed(resource, metadata, "ownerReferences", list, "[]v1.OwnerReference") or []
    finalizers = _typed(resource, metadata, "finalizers", list, "[]string") or []
    for finalizer in finalizers:
        _typed(resource, {"finalizers": finalizer}, "finalizers", str, "string")
    causes = [invalid_value("metadata.name", name, why) for why in check_name(name, resource.name_rule)] if name else []
    causes += _check_labels(_string_map(resource, metadata, "labels"))
    causes += _check_annotations(_string_map(resource, metadata, "annotations"))
    causes += _check_owners(owners)
    return causes + [
        invalid_value("metadata.finalizers", finalizer, why)
        for finalizer in finalizers
        for why in check_qualified_name(finalizer)
    ]


def _check_labels(labels: dict[str, str]) -> list[Cause]:
    field = "metadata.labels"
    causes = [invalid_value(field, key, why) for key in labels for why in check_qualified_name(key)]
    return causes + [invalid_value(field, value, why) for value in labels.values() for why in check_label_value(value)]


def _check_annotations(annotations: dict[str, str]) -> list[Cause]:
    field = "metadata.annotations"
    causes = [invalid_value(field, key, why) for key in annotations for why in check_qualified_name(key.lower())]
    total = sum(len(key.encode()) + len(value.encode()) for key, value in annotations.items())
    return causes if total <= MAX_ANNOTATION_BYTES else [*causes, too_long(field, MAX_ANNOTATION_BYTES)]


def _check_owners(owners: list[Any]) -> list[Cause]:
    words = {"apiVersion": "version must not be empty"}
    field = "metadata.ownerReferences"
    causes = [
        invalid_value(f"{field}[{index}].{key}", "", words.get(key, "must not be empty"))
        for index, owner in enumerate(owners)
        for key in ("apiVersion", "kind", "name", "uid")
        if not owner.get(key)
    ]
    controllers = [f"{owner.get('kind')}/{owner.get('name')}" for owner in owners if owner.get("controller")]
    if len(controllers) > 1:
        found = f'Found "true" in references for {controllers[0]} and {controllers[1]}'
        detail = f"Only one reference can have Controller set to true. {found}"
        causes.append(invalid_value(field, owners, detail))
    return causes


def _typed(resource: Resource, metadata: Obj, key: str, wanted: type, go_type: str) -> Any:
    """Return a member; raise the 400 of Go's decoder when it is of another type."""
    value = metadata.get(key)
    if value is None or isinstance(value, wanted):
        return value
    raise bad_request(
        f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}: json: cannot '
        f"unmarshal {name_go_type(value)} into Go struct field ObjectMeta.metadata.{key} of type {go_type}"
    )


def _string_map(resource: Resource, metadata: Obj, key: str) -> dict[str, str]:
    members = _typed(resource, metadata, key, dict, "map[string]string") or {}
    for value in members.values():
        _typed(resource, {key: value}, key, str, "string")
    return dict(members)
