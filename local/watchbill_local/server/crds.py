"""CustomResourceDefinitions: what the server fills in, what it refuses, and the resources that they serve.

Owns the way from a CRD object to its `Resource`s, one for each served version, with their printer columns, and the
checks without which its objects could not be served as upstream would serve them, in upstream's words. Pure: the server
stores the CRD and swaps the resources in.
"""

from __future__ import annotations

import functools
import re
from typing import Any

from watchbill_local.server.errors import Cause, bad_request, invalid_value, required, unsupported
from watchbill_local.server.jsonpath import parse_jsonpath, split_simple_path
from watchbill_local.server.names import check_dns1035, check_subdomain
from watchbill_local.server.resource import Resource, Row, Scale
from watchbill_local.server.schema import Schema
from watchbill_local.server.schema_rules import check_schema
from watchbill_local.server.times import age_of, parse_time
from watchbill_local.server.values import Obj, copy_value, dig, format_json, name_go_type

CRD_FINALIZER = "customresourcecleanup.apiextensions.k8s.io"
_GO_TYPES = {"boolean": "bool", "integer": "number", "number": "number"}
_STRATEGIES = ("None", "Webhook")
_APPROVAL, _APPROVAL_ADDRESS = "api-approved.kubernetes.io", "https://github.com/kubernetes/enhancements/pull/1111"
_SCOPES = ("Cluster", "Namespaced")
_COLUMN_TYPES = ("boolean", "date", "integer", "number", "string")
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


def check_crd(value: Obj, old: Obj | None) -> list[Cause]:
    """Return what is wrong with a definition, or with its change from `old`. Raises a 400 for a misshapen schema."""
    spec = value.get("spec") or {}
    causes = _check_names(value, spec) + _check_versions(spec.get("versions") or [])
    causes += _check_status(spec, (old or {}).get("status") or {})
    before = (old or {}).get("spec") or spec
    for path in (("group",), ("scope",), ("names", "kind"), ("names", "plural")):
        if dig(before, *path) != dig(spec, *path):
            causes.append(invalid_value(f"spec.{'.'.join(path)}", dig(spec, *path), "field is immutable"))
    return causes


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


def _check_names(value: Obj, spec: Obj) -> list[Cause]:
    names, group, scope = spec.get("names") or {}, spec.get("group") or "", spec.get("scope")
    texts: list[tuple[str, str | None, Any]] = [("group", group, _check_group)]
    texts += [(f"names.{key}", names.get(key), check_dns1035) for key in ("plural", "singular")]
    texts += [(f"names.{key}", names.get(key), _check_kind) for key in ("kind", "listKind")]
    texts += [(f"names.shortNames[{i}]", text, check_dns1035) for i, text in enumerate(names.get("shortNames") or [])]
    causes = [required(f"spec.{field}") for field, text, _ in texts if not text]
    causes += [invalid_value(f"spec.{field}", text, why) for field, text, find in texts if text for why in find(text)]
    name = value["metadata"].get("name")
    if name != f"{names.get('plural', '')}.{group}":
        causes.append(invalid_value("metadata.name", name, 'must be spec.names.plural+"."+spec.group'))
    if names.get("kind") and names.get("listKind") == names["kind"]:
        why = "kind and listKind may not be the same"
        causes.append(invalid_value("spec.names.listKind", names["kind"], why))
    strategy = dig(spec, "conversion", "strategy")
    if strategy not in _STRATEGIES:
        causes.append(unsupported("spec.conversion.strategy", strategy, _STRATEGIES))
    if group.endswith((".k8s.io", ".kubernetes.io")) and _APPROVAL not in (value["metadata"].get("annotations") or {}):
        why = f'protected groups must have approval annotation "{_APPROVAL}", see {_APPROVAL_ADDRESS}'
        causes.append(required(f"metadata.annotations[{_APPROVAL}]", why))
    if scope not in _SCOPES:
        causes.append(unsupported("spec.scope", scope, _SCOPES) if scope else required("spec.scope"))
    return causes


def _check_group(text: str) -> list[str]:
    return check_subdomain(text) or ([] if "." in text else ["should be a domain with at least one dot"])


def _check_kind(text: str) -> list[str]:
    return [f"may have mixed case, but should otherwise match: {why}" for why in check_dns1035(text.lower())]


def _check_status(spec: Obj, status: Obj) -> list[Cause]:
    """Return what is wrong with the versions that are or were stored."""
    names = [version.get("name") for version in spec.get("versions") or []]
    if not any(version.get("storage") for version in spec.get("versions") or []):
        return [invalid_value("status.storedVersions", None, "must have at least one stored version")]
    causes = []
    for index, name in enumerate(status.get("storedVersions") or []):
        if name not in names:
            until = (
                f"must remain in spec.versions until a storage migration ensures no data remains persisted in {name}"
            )
            before = f"missing from spec.versions; {name} was previously a storage version, and {until}"
            why = f"{before} and removes {name} from status.storedVersions"
            causes.append(invalid_value(f"status.storedVersions[{index}]", name, why))
    return causes


def _check_versions(versions: list[Obj]) -> list[Cause]:
    names = [version.get("name") or "" for version in versions]
    causes = []
    if len(set(names)) != len(names):
        causes.append(invalid_value("spec.versions", versions, "must contain unique version names"))
    if [bool(version.get("storage")) for version in versions].count(True) != 1:
        detail = "must have exactly one version marked as storage version"
        causes.append(invalid_value("spec.versions", versions, detail))
    for index, version in enumerate(versions):
        path = f"spec.versions[{index}]"
        root, is_only = dig(version, "schema", "openAPIV3Schema"), len(versions) == 1
        where = "spec.validation.openAPIV3Schema" if is_only else f"{path}.schema.openAPIV3Schema"
        causes += [invalid_value(f"{path}.name", names[index], why) for why in check_dns1035(names[index])]
        causes += [required(f"{path}.schema.openAPIV3Schema")] if root is None else _check_schema(root, where)
        # upstream moves what all versions share to the top level
        causes += _check_columns_and_paths(version, "spec" if is_only else path)
    return causes


def _check_schema(root: Obj, where: str) -> list[Cause]:
    """Return what is wrong with a schema; what does not compile must not be stored."""
    try:
        causes = check_schema(root, where)
        if root.get("type") not in (None, "object"):
            causes.append(invalid_value(f"{where}.type", root["type"], "must be object at the root"))
        if not causes:
            Schema(root)
    except (AttributeError, KeyError, TypeError) as error:  # of a wrong shape, which Go's decoder would refuse
        raise bad_request(f"CustomResourceDefinition cannot be handled: cannot unmarshal {where}: {error}") from error
    return causes


def _check_columns_and_paths(version: Obj, top: str) -> list[Cause]:
    scale = dig(version, "subresources", "scale")
    keys = () if scale is None else ("specReplicasPath", "statusReplicasPath")
    paths = [(f"{top}.subresources.scale.{key}", scale.get(key)) for key in keys]
    causes = []
    for index, each in enumerate(version.get("selectableFields") or []):
        field, place = f"{top}.selectableFields[{index}].jsonPath", dig(version, "schema", "openAPIV3Schema")
        paths.append((field, each.get("jsonPath")))
        for part in (each.get("jsonPath") or "").lstrip(".").split("."):
            place = dig(place, "properties", part)
        if place is None:
            why = "is an invalid path: does not refer to a valid field"
            causes.append(invalid_value(field, each.get("jsonPath"), why))
    for index, printed in enumerate(version.get("additionalPrinterColumns") or []):
        field, kind = f"{top}.additionalPrinterColumns[{index}]", printed.get("type")
        paths.append((f"{field}.JSONPath", printed.get("jsonPath")))
        causes += [] if printed.get("name") else [required(f"{field}.name")]
        if kind not in _COLUMN_TYPES:
            causes.append(invalid_value(f"{field}.type", kind, f"must be one of {','.join(_COLUMN_TYPES)}"))
    return causes + [cause for field, text in paths for cause in _check_path(field, text)]


def _check_path(field: str, text: str | None) -> list[Cause]:
    if not text:
        return [required(field)]
    if not text.startswith("."):
        return [invalid_value(field, text, "must be a simple json path starting with .")]
    try:
        parse_jsonpath(text)
    except ValueError as error:
        return [invalid_value(field, text, str(error))]
    part = {"specReplicasPath": ".spec", "statusReplicasPath": ".status"}.get(field.rpartition(".")[2], "")
    return [] if text.startswith(part) else [invalid_value(field, text, f"should be a json path under {part}")]
