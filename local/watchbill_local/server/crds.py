"""CustomResourceDefinitions: what they must hold, what the server fills in, and the resources that they serve.

Owns the way from a CRD object to its `Resource`s, one for each served version. Pure: the server stores the CRD and
swaps the resources in.
"""

from __future__ import annotations

import re
from typing import Any

from watchbill_local.server.causes import invalid_value, required, unsupported
from watchbill_local.server.crd_columns import build_columns, build_row
from watchbill_local.server.crd_schemas import check_structural
from watchbill_local.server.errors import Cause
from watchbill_local.server.jsonpath import parse_jsonpath, split_simple_path
from watchbill_local.server.names import check_dns1035, check_subdomain
from watchbill_local.server.resource import Convert, Resource, Scale
from watchbill_local.server.schema import Schema
from watchbill_local.server.values import Obj, copy_value, dig

CRD_GROUP, CRD_PLURAL = "apiextensions.k8s.io", "customresourcedefinitions"
CRD_FINALIZER = "customresourcecleanup.apiextensions.k8s.io"
MAX_REPLICAS = 2**31 - 1
_SCOPES = ("Cluster", "Namespaced")
_COLUMN_TYPES = ("boolean", "date", "integer", "number", "string")
_SELECTABLE = (
    "must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed."
)


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
    status["conditions"] = _fill_conditions(status.get("conditions") or [], now)
    value["status"] = status


def check_crd(value: Obj, old: Obj | None) -> list[Cause]:
    """Return what is wrong with a definition, or with its change from `old`."""
    spec = value.get("spec") or {}
    causes = _check_names(value, spec) + _check_versions(spec.get("versions") or [])
    if old is not None:
        changed = [field for field in ("group", "scope") if old["spec"].get(field) != spec.get(field)]
        causes += [invalid_value(f"spec.{field}", spec.get(field), "field is immutable") for field in changed]
    return causes


def check_scale(value: Obj, scale: Scale) -> list[Cause]:
    """Return what is wrong with the numbers that the scale subresource reads."""
    causes = []
    for path in (scale.spec_replicas, scale.status_replicas):
        replicas = dig(value, *split_simple_path(path), default=0)
        if isinstance(replicas, int) and replicas < 0:
            causes.append(invalid_value(path, replicas, "should be a non-negative integer"))
        elif isinstance(replicas, int) and replicas > MAX_REPLICAS:
            causes.append(invalid_value(path, replicas, f"should be less than or equal to {MAX_REPLICAS}"))
    return causes


def _build_resource(definition: Obj, version: Obj, *, is_preferred: bool) -> Resource:
    spec, names = definition["spec"], definition["spec"]["names"]
    stored = next((each["name"] for each in spec["versions"] if each.get("storage")), version["name"])
    is_stored = version["name"] == stored
    subresources = version.get("subresources") or {}
    printed = version.get("additionalPrinterColumns") or []
    scale = _build_scale(subresources.get("scale"))
    return Resource(
        group=spec["group"],
        version=version["name"],
        plural=names["plural"],
        kind=names["kind"],
        namespaced=spec["scope"] == "Namespaced",
        singular=names.get("singular") or names["kind"].lower(),
        list_kind=names.get("listKind") or f"{names['kind']}List",
        short_names=tuple(names.get("shortNames") or ()),
        categories=tuple(names.get("categories") or ()),
        subresources=tuple(name for name in ("scale", "status") if name in subresources),
        field_selectors=frozenset(each["jsonPath"].lstrip(".") for each in version.get("selectableFields") or []),
        columns=build_columns(printed),
        row=build_row(printed),
        has_generation=True,
        crd=definition["metadata"]["name"],
        schema=Schema((version.get("schema") or {}).get("openAPIV3Schema")),
        is_preferred=is_preferred,
        from_storage=None if is_stored else _build_conversion(f"{spec['group']}/{version['name']}"),
        to_storage=None if is_stored else _build_conversion(f"{spec['group']}/{stored}"),
        is_storage_version=is_stored,
        scale=scale,
        check=(lambda value, old: check_scale(value, scale)) if scale else None,
        warning=_build_warning(spec["group"], names["kind"], version),
    )


def _build_conversion(api_version: str) -> Convert:
    """Return the conversion of strategy None: the same object under another version."""
    return lambda value: {**value, "apiVersion": api_version}


def _build_scale(raw: Obj | None) -> Scale | None:
    if raw is None:
        return None
    return Scale(
        spec_replicas=raw["specReplicasPath"],
        status_replicas=raw["statusReplicasPath"],
        selector=raw.get("labelSelectorPath"),
    )


def _build_warning(group: str, kind: str, version: Obj) -> str | None:
    if not version.get("deprecated"):
        return None
    return version.get("deprecationWarning") or f"{group}/{version['name']} {kind} is deprecated"


def _fill_conditions(present: list[Obj], now: str) -> list[Obj]:
    accepted = {
        "NamesAccepted": ("NoConflicts", "no conflicts found"),
        "Established": ("InitialNamesAccepted", "the initial names have been accepted"),
    }
    conditions = {each["type"]: each for each in present}
    for kind, (reason, message) in accepted.items():
        condition = {
            "type": kind,
            "status": "True",
            "reason": reason,
            "message": message,
            "lastTransitionTime": now,
        }
        conditions.setdefault(kind, condition)
    return list(conditions.values())


def _check_names(value: Obj, spec: Obj) -> list[Cause]:
    names, group, scope = spec.get("names") or {}, spec.get("group") or "", spec.get("scope")
    causes = [] if group else [required("spec.group")]
    problems = check_subdomain(group) if group else []
    if group and not problems and "." not in group:
        problems = ["should be a domain with at least one dot"]
    causes += [invalid_value("spec.group", group, problem) for problem in problems]
    for key in ("plural", "singular", "kind", "listKind"):
        text = names.get(key) or ""
        prefix = "may have mixed case, but should otherwise match: " if key in ("kind", "listKind") else ""
        causes += [] if text else [required(f"spec.names.{key}")]
        problems = check_dns1035(text.lower() if prefix else text) if text else []
        causes += [invalid_value(f"spec.names.{key}", text, prefix + problem) for problem in problems]
    for index, text in enumerate(names.get("shortNames") or []):
        causes += [invalid_value(f"spec.names.shortNames[{index}]", text, each) for each in check_dns1035(text)]
    if names.get("kind") and names.get("kind") == names.get("listKind"):
        causes.append(invalid_value("spec.names.listKind", names["kind"], "kind and listKind may not be the same"))
    name = value["metadata"].get("name")
    if name != f"{names.get('plural', '')}.{group}":
        causes.append(invalid_value("metadata.name", name, 'must be spec.names.plural+"."+spec.group'))
    if scope not in _SCOPES:
        causes.append(unsupported("spec.scope", scope, _SCOPES) if scope else required("spec.scope"))
    return causes


def _check_versions(versions: list[Obj]) -> list[Cause]:
    names = [version.get("name") for version in versions]
    causes = []
    if len(set(names)) != len(names):
        causes.append(invalid_value("spec.versions", versions, "must contain unique version names"))
    if sum(1 for version in versions if version.get("storage")) != 1:
        detail = "must have exactly one version marked as storage version"
        causes.append(invalid_value("spec.versions", versions, detail))
    for index, version in enumerate(versions):
        path = f"spec.versions[{index}]"
        root = (version.get("schema") or {}).get("openAPIV3Schema")
        top = "spec" if len(versions) == 1 else path  # upstream moves what all versions share to the top level
        where = "spec.validation.openAPIV3Schema" if len(versions) == 1 else f"{path}.schema.openAPIV3Schema"
        causes += [
            invalid_value(f"{path}.name", version.get("name"), each) for each in check_dns1035(names[index] or "")
        ]
        causes += [required(f"{path}.schema.openAPIV3Schema", "schemas are required")] if root is None else []
        causes += check_structural(root, where) if root is not None else []
        causes += _check_columns(version, top) + _check_subresources(version, top)
        causes += _check_selectable(version, root or {}, top)
    return causes


def _check_columns(version: Obj, path: str) -> list[Cause]:
    causes = []
    for index, printed in enumerate(version.get("additionalPrinterColumns") or []):
        field, kind = f"{path}.additionalPrinterColumns[{index}]", printed.get("type")
        causes += [] if printed.get("name") else [required(f"{field}.name")]
        if kind not in _COLUMN_TYPES:
            causes.append(invalid_value(f"{field}.type", kind, f"must be one of {','.join(_COLUMN_TYPES)}"))
        causes += _check_path(f"{field}.JSONPath", printed.get("jsonPath"))
    return causes


def _check_path(field: str, text: str | None) -> list[Cause]:
    if not text:
        return [required(field)]
    if not text.startswith("."):
        return [invalid_value(field, text, "must be a simple json path starting with .")]
    try:
        parse_jsonpath(text)
    except ValueError as error:
        return [invalid_value(field, text, str(error))]
    return []


def _check_subresources(version: Obj, path: str) -> list[Cause]:
    scale = (version.get("subresources") or {}).get("scale")
    if scale is None:
        return []
    causes = []
    for key, part in (("specReplicasPath", ".spec"), ("statusReplicasPath", ".status")):
        field, text = f"{path}.subresources.scale.{key}", scale.get(key)
        causes += _check_path(field, text)
        if text and text.startswith(".") and not text.startswith(f"{part}."):
            causes.append(invalid_value(field, text, f"should be a json path under {part}"))
    return causes


def _check_selectable(version: Obj, root: Obj, path: str) -> list[Cause]:
    causes = []
    for index, entry in enumerate(version.get("selectableFields") or []):
        field, text = f"{path}.selectableFields[{index}].jsonPath", entry.get("jsonPath") or ""
        schema: Any = root
        for key in split_simple_path(text):
            schema = dig(schema, "properties", key)
        if not isinstance(schema, dict):
            causes.append(invalid_value(field, text, "is an invalid path: does not refer to a valid field"))
        elif schema.get("type") not in ("string", "boolean", "integer"):
            causes.append(invalid_value(field, text, _SELECTABLE))
    return causes
