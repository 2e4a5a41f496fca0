"""Checks of `metadata` that hold for every kind.

Owns what the server refuses in names, labels, annotations, finalizers and owner references. Pure; the types of the
members are checked before (typed_fields.py).
"""

from __future__ import annotations

from typing import Any

from watchbill_local.server.errors import Cause, invalid_value, required, too_long
from watchbill_local.server.names import check_label_value, check_name, check_qualified_name
from watchbill_local.server.resource import Resource
from watchbill_local.server.values import Obj

MAX_ANNOTATION_BYTES = 256 * 1024
_UNQUALIFIED = "name is neither a standard finalizer name nor is it fully qualified"


def check_metadata(resource: Resource, metadata: Obj) -> list[Cause]:
    """Return what is wrong with the metadata of any object, whose members are of the right types by now."""
    name, labels, annotations = metadata.get("name"), metadata.get("labels") or {}, metadata.get("annotations") or {}
    missing = [] if name else [required("metadata.name", "name or generateName is required")]
    checked = [("name", name, check_name(name, resource.name_rule))] if name else []
    checked += [("labels", key, check_qualified_name(key)) for key in labels]
    checked += [("labels", value, check_label_value(value)) for value in labels.values()]
    checked += [("annotations", key, check_qualified_name(key.lower())) for key in annotations]
    checked += [("generateName", base, _check_base(resource, base)) for base in [metadata.get("generateName")] if base]
    checked += [("finalizers", each, check_qualified_name(each)) for each in metadata.get("finalizers") or []]
    if not resource.group:  # the core group alone
        named = [(f"finalizers[{index}]", each) for index, each in enumerate(metadata.get("finalizers") or [])]
        checked += [
            (field, each, [_UNQUALIFIED]) for field, each in named if "/" not in each and is_plain_finalizer(each)
        ]
    causes = missing + [
        invalid_value(f"metadata.{field}", text, why) for field, text, found in checked for why in found
    ]
    if sum(len(key.encode()) + len(value.encode()) for key, value in annotations.items()) > MAX_ANNOTATION_BYTES:
        causes.append(too_long("metadata.annotations", MAX_ANNOTATION_BYTES))
    return causes + _check_owners(metadata.get("ownerReferences") or [])


def is_plain_finalizer(text: str) -> bool:
    """Whether a finalizer has no domain and is none of Kubernetes."""
    is_qualified = "/" in text and not check_qualified_name(text)
    return not is_qualified and text not in ("orphan", "foregroundDeletion", "kubernetes")


def _check_base(resource: Resource, base: str) -> list[str]:
    """Return what is wrong with `generateName`, which may end as a name may go on."""
    return check_name(base[:-1] + "a" if base.endswith(("-", ".")) else base, resource.name_rule)


def _check_owners(owners: list[Any]) -> list[Cause]:
    field, words = "metadata.ownerReferences", {"apiVersion": "version must not be empty"}
    causes = [
        invalid_value(field, owner, "/v1, Kind=Event is disallowed from being an owner")
        for owner in owners
        if (owner.get("apiVersion"), owner.get("kind")) == ("v1", "Event")
    ]
    leading = [f"{owner.get('kind')}/{owner.get('name')}" for owner in owners if owner.get("controller")]
    if len(leading) > 1:
        why = 'Only one reference can have Controller set to true. Found "true" in references for'
        causes.append(invalid_value(field, owners, f"{why} {leading[0]} and {leading[1]}"))
    return causes + [
        invalid_value(f"{field}.{key}", "", words.get(key, "must not be empty"))
        for owner in owners
        for key in ("apiVersion", "kind", "name", "uid")
        if not owner.get(key)
    ]
