"""CustomResourceDefinitions: what the server fills in, and the resources that they serve.

Owns the way from a CRD object to its `Resource`s, one for each served version, with their schemas, scales and printer
columns. Pure: the server stores the CRD and swaps the resources in. What a definition must not be is in
definition_rules.py.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Collection
from typing import Any

from watchbill_local.server.errors import Cause, forbidden, invalid_value
from watchbill_local.server.jsonpath import parse_jsonpath, split_simple_path
from watchbill_local.server.resource import Resource, Row, Scale
from watchbill_local.server.schema import Schema
from watchbill_local.server.times import age_of, parse_time
from watchbill_local.server.values import Obj, copy_value, dig, format_json, name_go_type

CRD_FINALIZER = "customresourcecleanup.apiextensions.k8s.io"
_GO_TYPES = {"boolean": "bool", "integer": "number", "number": "number"}
_NAME_COLUMN = (
    "Name must be unique within a namespace. Is required when creating resources, although some resources may allow a "
    "client to request the generation of an appropriate name automatically. Name is primarily intended for creation "
    "idempotence and configuration definition. Cannot be updated. More info: "
    "https://kubernetes.io/docs/concepts/overview/working-with-objects/names#names"
)
_AGE = {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}
_ACCEPTED = {
    "NamesAccepted": {"reason": "NoConflicts", "message": "no conflicts found"},
    "Established": {"reason": "InitialNamesAccepted", "message": "the initial names have been accepted"},
}
#: The names that may be in use, in the order in which upstream looks at them.
_NAMES = ("plural", "singular", "shortNames", "kind", "listKind")
_NOT_ACCEPTED = {"reason": "NotAccepted", "message": "not all names are accepted"}
_TERMINATING = {"reason": "InstanceDeletionInProgress", "message": "CustomResource deletion is in progress"}


def build_resources(definition: Obj) -> list[Resource]:
    """Return the resources that a sound definition serves, in the order of its versions; none if it may not."""
    if not is_established(definition):
        return []
    served = [each for each in definition["spec"]["versions"] if each.get("served")]
    resources = [_build_resource(definition, version) for version in served]
    if not definition["metadata"].get("deletionTimestamp"):
        return resources
    return [dataclasses.replace(each, check=functools.partial(_refuse_new, each)) for each in resources]


def is_established(definition: Obj) -> bool:
    """Whether a definition may serve its kind: all of its names were free."""
    conditions = dig(definition, "status", "conditions", default=[])
    return not any(each["type"] == "Established" and each["status"] == "False" for each in conditions)


def rank_version(version: str) -> tuple[Any, ...]:
    """Return the sort key by which Kubernetes prefers versions: v2, v1, v1beta1, v1alpha1, then the rest by name."""
    match = re.fullmatch(r"v(\d+)(?:(alpha|beta)(\d+))?", version)
    if match is None:
        return (3, version)
    stage = {None: 0, "beta": 1, "alpha": 2}[match[2]]
    return (stage, -int(match[1]), -int(match[3] or 0))


def list_names(names: Obj) -> set[tuple[str, bool]]:
    """Return all names of a definition; True beside those of kinds, which are apart from those of resources."""
    resources = [names.get("plural"), names.get("singular"), *(names.get("shortNames") or [])]
    kinds = [names.get("kind"), names.get("listKind")]
    return {(name, False) for name in resources if name} | {(name, True) for name in kinds if name}


def fill_crd(value: Obj, old: Obj | None, now: str, taken: Collection[tuple[str, bool]] = ()) -> None:
    """Fill in singular and list kind and, as the naming controller would, the status.

    `taken`: the names that other definitions of the group have; one that wants any of them is not served.
    """
    spec = value.setdefault("spec", {})
    names = spec.setdefault("names", {})
    kind = names.get("kind") or ""
    names.setdefault("singular", kind.lower())
    if kind:
        names.setdefault("listKind", f"{kind}List")
    spec.setdefault("conversion", {"strategy": "None"})
    status = copy_value((old or {}).get("status") or {})
    conflicts = {key: name for key in _NAMES for name in _as_list(names.get(key)) if (name, "ind" in key) in taken}
    accepted = {key: name for key, name in names.items() if key not in conflicts}
    status["acceptedNames"] = copy_value({"plural": "", "kind": "", **accepted})
    stored = [version.get("name") for version in spec.get("versions") or [] if version.get("storage")]
    status["storedVersions"] = list(dict.fromkeys([*(status.get("storedVersions") or []), *stored]))
    conditions = {each["type"]: each for each in status.get("conditions") or []}
    for condition, why in (_refuse_names(conflicts) if conflicts else _ACCEPTED).items():
        found = {"type": condition, "status": "False" if conflicts else "True", "lastTransitionTime": now, **why}
        is_same = conditions.get(condition, {}).get("status") == found["status"]
        conditions[condition] = conditions[condition] if is_same else found
    value["status"] = {**status, "conditions": list(conditions.values())}


def _as_list(names: Any) -> list[str]:
    return names if isinstance(names, list) else [names]


def _refuse_names(conflicts: dict[str, str]) -> dict[str, Obj]:
    """Return the conditions of a definition whose names are in use; upstream tells the last of them."""
    key, name = list(conflicts.items())[-1]
    conflict = {"reason": f"{key[0].upper()}{key[1:]}Conflict", "message": f'"{name}" is already in use'}
    return {"NamesAccepted": conflict, "Established": _NOT_ACCEPTED}


def add_termination(definition: Obj, now: str) -> Obj:
    """Return a definition that says of itself that its objects are being deleted."""
    status = definition.get("status") or {}
    others = [each for each in status.get("conditions") or [] if each["type"] != "Terminating"]
    condition = {"type": "Terminating", "status": "True", "lastTransitionTime": now, **_TERMINATING}
    return {**definition, "status": {**status, "conditions": [*others, condition]}}


def build_columns(printed: list[Obj]) -> list[Obj]:
    """Return the columnDefinitions of a Table: Name, then those of the CRD, or Age when it has none."""
    name = {"name": "Name", "type": "string", "format": "name", "priority": 0, "description": _NAME_COLUMN}
    columns: list[Obj] = [name]
    for each in printed or [_AGE]:
        description = f"Custom resource definition column (in JSONPath format): {each['jsonPath']}"
        columns.append({"format": "", "description": description, "priority": 0, **each})
    return [{key: value for key, value in column.items() if key != "jsonPath"} for column in columns]


def build_row(printed: list[Obj]) -> Row:
    """Return the row function that belongs to `build_columns`."""
    cells = [(parse_jsonpath(each["jsonPath"]), each["type"]) for each in printed or [_AGE]]

    def row(value: Obj, now: float) -> list[Any]:
        return [value["metadata"]["name"], *[_build_cell(next(iter(find(value)), None), to, now) for find, to in cells]]

    return row


def _build_cell(found: Any, kind: str, now: float) -> Any:
    """Return a cell of a column's type, null when what was found is of another one."""
    if kind == "string":
        return found if found is None or isinstance(found, str) else format_json(found)
    if kind == "date" and isinstance(found, str):
        return "<invalid>" if parse_time(found) is None else age_of(found, now)
    if name_go_type(found) != _GO_TYPES.get(kind):
        return None
    return int(found) if kind == "integer" else found


def _build_resource(definition: Obj, version: Obj) -> Resource:
    spec, names = definition["spec"], definition["spec"]["names"]
    group, subresources = spec["group"], version.get("subresources") or {}
    printed, raw = version.get("additionalPrinterColumns") or [], subresources.get("scale")
    paths: list[Any] = [(raw or {}).get(f"{name}Path") for name in ("specReplicas", "statusReplicas", "labelSelector")]
    scale = Scale(*paths) if raw is not None else None
    stored = next(each for each in spec["versions"] if each.get("storage"))
    warning = version.get("deprecationWarning") or f"{group}/{version['name']} {names['kind']} is deprecated"
    return Resource(
        group=group,
        version=version["name"],
        plural=names["plural"],
        kind=names["kind"],
        namespaced=spec["scope"] == "Namespaced",
        singular=names.get("singular") or "",
        list_kind=names.get("listKind") or "",
        short_names=tuple(names.get("shortNames") or ()),
        categories=tuple(names.get("categories") or ()),
        subresources=tuple(name for name in ("scale", "status") if name in subresources),
        field_selectors=frozenset(each["jsonPath"].lstrip(".") for each in version.get("selectableFields") or []),
        columns=tuple(build_columns(printed)),
        row=build_row(printed),
        has_generation=True,
        crd=definition["metadata"]["name"],
        schema=_build_schema(version),
        stored_as=(f"{group}/{stored['name']}", _build_schema(stored)) if stored is not version else None,
        scale=scale,
        check=functools.partial(_check_scale, scale) if scale else None,
        warning=warning if version.get("deprecated") else None,
    )


def _refuse_new(resource: Resource, value: Obj, old: Obj | None) -> list[Cause]:
    """Refuse a new object of a kind whose objects are being deleted; of a change nothing is said. Raises a 403."""
    if old is None:
        why = "create not allowed while custom resource definition is terminating"
        raise forbidden(resource, value["metadata"].get("name", ""), why)
    return resource.check(value, old) if resource.check else []


def _build_schema(version: Obj) -> Schema:
    return Schema(dig(version, "schema", "openAPIV3Schema"))


def _check_scale(scale: Scale, value: Obj, old: Obj | None) -> list[Cause]:
    """Return what is wrong with the number of replicas, besides what the schema says of it."""
    path, found = scale.spec_replicas, value
    *parents, last = split_simple_path(path)
    for key in parents:
        found = found.get(key) or {}
        if not isinstance(found, dict):
            return [_misread(path, found, "map[string]interface{}")]
    replicas = found.get(last, 0)
    if not isinstance(replicas, int):
        return [_misread(path, replicas, "int64")]
    if replicas < 0:
        return [invalid_value(path, replicas, "should be a non-negative integer")]
    limit = 2**31 - 1
    return [invalid_value(path, replicas, f"should be less than or equal to {limit}")] if replicas > limit else []


def _misread(path: str, found: Any, wanted: str) -> Cause:
    """Return the cause for a value that is not of the Go type that it should be."""
    kind = {str: "string", bool: "bool", float: "float64", list: "[]interface {}"}.get(
        type(found), "map[string]interface {}"
    )
    shown = (
        format_json(found)
        if isinstance(found, (bool, dict, list))
        else f"{found:g}"
        if isinstance(found, float)
        else found
    )
    return invalid_value(path, 0, f"{path} accessor error: {shown} is of the type {kind}, expected {wanted}")
