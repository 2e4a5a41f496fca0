"""Checks of `metadata` that hold for every kind.

Owns what the server refuses in names, labels, annotations, finalizers and owner references. Pure; returns causes, and
raises a 400 only where a value has a type that Go's decoder would refuse.
"""

from __future__ import annotations

from typing import Any

from watchbill_local.server.errors import ApiError, Cause, bad_request
from watchbill_local.server.names import check_label_value, check_name, check_qualified_name
from watchbill_local.server.resource import Resource
from watchbill_local.server.values import Obj, name_go_type

MAX_ANNOTATION_BYTES = 256 * 1024


def check_metadata(resource: Resource, metadata: Obj) -> list[Cause]:
    """Return what is wrong with the metadata of any object. Raises a 400 where a type is wrong."""
    causes: list[Cause] = []
    name = _typed(resource, metadata, "name", str, "string")
    if name:
        causes += [_invalid("metadata.name", name, text) for text in check_name(name, resource.name_rule)]
    causes += _check_labels(_string_map(resource, metadata, "labels"))
    causes += _check_annotations(_string_map(resource, metadata, "annotations"))
    for index, finalizer in enumerate(_strings(resource, metadata, "finalizers")):
        field = f"metadata.finalizers[{index}]"
        causes += [_invalid(field, finalizer, text) for text in check_qualified_name(finalizer)]
    return causes + _check_owners(_typed(resource, metadata, "ownerReferences", list, "[]v1.OwnerReference") or [])


def _invalid(field: str, value: str, why: str) -> Cause:
    return Cause("FieldValueInvalid", field, f'Invalid value: "{value}": {why}')


def _check_labels(labels: dict[str, str]) -> list[Cause]:
    causes: list[Cause] = []
    for key, value in labels.items():
        causes += [_invalid("metadata.labels", key, text) for text in check_qualified_name(key)]
        causes += [_invalid("metadata.labels", value, text) for text in check_label_value(value)]
    return causes


def _check_annotations(annotations: dict[str, str]) -> list[Cause]:
    field = "metadata.annotations"
    causes = [_invalid(field, key, text) for key in annotations for text in check_qualified_name(key.lower())]
    total = sum(len(key.encode()) + len(value.encode()) for key, value in annotations.items())
    if total > MAX_ANNOTATION_BYTES:
        text = f"Too long: may not be more than {MAX_ANNOTATION_BYTES} bytes"
        causes.append(Cause("FieldValueTooLong", field, text))
    return causes


def _check_owners(owners: list[Any]) -> list[Cause]:
    causes = []
    for index, owner in enumerate(owners):
        for key in ("apiVersion", "kind", "name", "uid"):
            if not owner.get(key):
                field = f"metadata.ownerReferences[{index}].{key}"
                causes.append(_invalid(field, "", f"{key} must not be empty"))
    if sum(1 for owner in owners if owner.get("controller")) > 1:
        text = "Invalid value: Only one reference can have Controller set to true"
        causes.append(Cause("FieldValueInvalid", "metadata.ownerReferences", text))
    return causes


def _typed(resource: Resource, metadata: Obj, key: str, wanted: type, go_type: str) -> Any:
    value = metadata.get(key)
    if value is not None and not isinstance(value, wanted):
        raise _undecodable(resource, key, value, go_type)
    return value


def _string_map(resource: Resource, metadata: Obj, key: str) -> dict[str, str]:
    members = _typed(resource, metadata, key, dict, "map[string]string") or {}
    for value in members.values():
        if not isinstance(value, str):
            raise _undecodable(resource, key, value, "string")
    return dict(members)


def _strings(resource: Resource, metadata: Obj, key: str) -> list[str]:
    items = _typed(resource, metadata, key, list, "[]string") or []
    for item in items:
        if not isinstance(item, str):
            raise _undecodable(resource, key, item, "string")
    return list(items)


def _undecodable(resource: Resource, key: str, value: Any, go_type: str) -> ApiError:
    return bad_request(
        f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}: json: cannot '
        f"unmarshal {name_go_type(value)} into Go struct field ObjectMeta.metadata.{key} of type {go_type}"
    )
