"""CustomResourceDefinitions: what the server fills in, and the resources that they serve.

Owns the way from a CRD object to its `Resource`s, one for each served version, with their schemas, scales and printer
columns. Pure: the server stores the CRD and swaps the resources in. What a definition must not be is in
definition_rules.py.
"""

from __future__ import annotations

import functools
import re
from typing import Any

from watchbill_local.server.errors import Cause, invalid_value
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


def build_resources(definition: Obj) -> list[Resource]:
    """Return the resources that a sound definition serves, in the order of its versions."""
    return [_build_resource(definition, version) for version in definition["spec"]["versions"] if version.get("served")]


def rank_version(version: str) -> tuple[Any, ...]:
    """Return the sort key by which Kubernetes prefers versions: v2, v1, v1beta1, v1alpha1, then the rest by name."""
    match = re.fullmatch(r"v(\d+)(?:(alpha|beta)(\d+))?", version)
    if match is None:
        return (3, version)
    stage = {None: 0, "beta": 1, "alpha": 2}[match[2]]
    return (stage, -int(match[1]), -int(match[3] or 0))


def fill_crd(value: Obj, old: Obj | None, now: str) -> None:
    """Fill in singular and list kind and, as the naming controller would, the status of an accepted definition."""
    spec = value.setdefault("spec", {})
    names = spec.setdefault("names", {})
    kind = names.get("kind") or ""
    names.setdefault("singular", kind.lower())
    if kind:
        names.setdefault("listKind", f"{kind}List")
    spec.setdefault("conversion", {"strategy": "None"})
    status = copy_value((old or {}).get("status") or {})
    status["acceptedNames"] = copy_value(names)
    stored = [version.get("name") for version in spec.get("versions") or [] if version.get("storage")]
    status["storedVersions"] = list(dict.fromkeys([*(status.get("storedVersions") or []), *stored]))
    conditions = {each["type"]: each for each in status.get("conditions") or []}
    for condition, why in _ACCEPTED.items():
        conditions.setdefault(condition, {"type": condition, "status": "True", "lastTransitionTime": now, **why})
    value["status"] = {**status, "conditions": list(conditions.values())}


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
