"""Checks of `metadata` that hold for every kind.

Owns what the server refuses in names, labels, annotations, finalizers and owner references. Pure; the types of the
members are checked before (typed_fields.py).
"""

from __future__ import annotations

from typing import Any

from watchbill_local.server.errors import Cause, invalid_value, too_long
from watchbill_local.server.names import check_label_value, check_name, check_qualified_name
from watchbill_local.server.resource import Resource
from watchbill_local.server.values import Obj

MAX_ANNOTATION_BYTES = 256 * 1024


def check_metadata(resource: Resource, metadata: Obj) -> list[Cause]:
    """Return what is wrong with the metadata of any object, whose members are of the right types by now."""
    name = metadata.get("name")
    causes = [invalid_value("metadata.name", name, why) for why in check_name(name, resource.name_rule)] if name else []
    causes += _check_labels(metadata.get("labels") or {})
    causes += _check_annotations(metadata.get("annotations") or {})
    causes += _check_owners(metadata.get("ownerReferences") or [])
    return causes + [
        invalid_value("metadata.finalizers", finalizer, why)
        for finalizer in metadata.get("finalizers") or []
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
