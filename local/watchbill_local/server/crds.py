"""CustomResourceDefinitions: what the server fills in, and the resources that they serve.

Owns the way from a CRD object to its `Resource`s, one for each served version, with their printer columns. What makes a
definition unfit stands in crd_rules.py. Pure: the server stores the CRD and swaps the resources in.
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

CRD_GROUP, CRD_PLURAL = "apiextensions.k8s.io", "customresourcedefinitions"
CRD_FINALIZER = "customresourcecleanup.apiextensions.k8s.io"
MAX_REPLICAS = 2**31 - 1
_GO_TYPES = {"boolean": "bool", "integer": "number", "number": "number"}
_AGE = {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}
_ACCEPTED = {
    "NamesAccepted": {"reason": "NoConflicts", "message": "no conflicts found"},
    "Established": {"reason": "InitialNamesAccepted", "message": "the initial names have been accepted"},
}


def build_resources(definition: Obj) -> list[Resource]:
    """Return the resources that a sound definition serves, in the order of its versions."""
    spec = definition["spec"]
    served = [version for version in spec["versions"] if version.get("served")]
    best = min((version["name"] for version in served), key=rank_version, default=None)
    return [_build_resource(definition, version, is_preferred=version["name"] == best) for version in served]


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


def check_scale(value: Obj, scale: Scale) -> list[Cause]:
    """Return what is wrong with the numbers that the scale subresource reads."""
    causes = []
    for path in (scale.spec_replicas, scale.status_replicas):
        replicas = dig(value, *split_simple_path(path))
        if isinstance(replicas, int) and not 0 <= replicas <= MAX_REPLICAS:
            words = "a non-negative integer" if replicas < 0 else f"less than or equal to {MAX_REPLICAS}"
            causes.append(invalid_value(path, replicas, f"should be {words}"))
    return causes


def build_columns(printed: list[Obj]) -> list[Obj]:
    """Return the columnDefinitions of a Table: Name, then those of the CRD, or Age when it has none."""
    name = {"name": "Name", "type": "string", "format": "name", "priority": 0}
    columns: list[Obj] = [{**name, "description": "Name must be unique within a namespace."}]
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


def _build_resource(definition: Obj, version: Obj, *, is_preferred: bool) -> Resource:
    spec, names = definition["spec"], definition["spec"]["names"]
    group, subresources = spec["group"], version.get("subresources") or {}
    stored = next((each["name"] for each in spec["versions"] if each.get("storage")), version["name"])
    is_stored = version["name"] == stored
    printed, raw = version.get("additionalPrinterColumns") or [], subresources.get("scale")
    paths: list[Any] = [(raw or {}).get(f"{name}Path") for name in ("specReplicas", "statusReplicas", "labelSelector")]
    scale = Scale(*paths) if raw is not None else None
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
        schema=Schema(dig(version, "schema", "openAPIV3Schema")),
        is_preferred=is_preferred,
        from_storage=None if is_stored else functools.partial(_convert, f"{group}/{version['name']}"),
        to_storage=None if is_stored else functools.partial(_convert, f"{group}/{stored}"),
        is_storage_version=is_stored,
        scale=scale,
        check=(lambda value, old: check_scale(value, scale)) if scale else None,
        warning=warning if version.get("deprecated") else None,
    )


def _convert(api_version: str, value: Obj) -> Obj:
    """Return what conversion strategy None makes of an object: the same under another version."""
    return {**value, "apiVersion": api_version}
