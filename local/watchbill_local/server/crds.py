"""CustomResourceDefinitions: what they must hold, what the server fills in, and the resources that they serve.

Owns the way from a CRD object to its `Resource`s, one for each served version. Pure: the server stores the CRD and
swaps the resources in.
"""

from __future__ import annotations

import re
from typing import Any

from watchbill_local.server.crd_columns import build_columns, build_row
from watchbill_local.server.crd_schemas import check_structural
from watchbill_local.server.errors import Cause
from watchbill_local.server.jsonpath import parse_jsonpath
from watchbill_local.server.names import check_label
from watchbill_local.server.resource import Resource, Scale
from watchbill_local.server.schema import Schema
from watchbill_local.server.values import Obj, copy_value

CRD_GROUP, CRD_PLURAL = "apiextensions.k8s.io", "customresourcedefinitions"
CRD_FINALIZER = "customresourcecleanup.apiextensions.k8s.io"
_SCOPES = ("Cluster", "Namespaced")


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
        for field in ("group", "scope"):
            if old["spec"].get(field) != spec.get(field):
                text = f'Invalid value: "{spec.get(field)}": field is immutable'
                causes.append(Cause("FieldValueInvalid", f"spec.{field}", text))
    return causes


def _build_resource(definition: Obj, version: Obj, *, is_preferred: bool) -> Resource:
    spec, names = definition["spec"], definition["spec"]["names"]
    subresources = version.get("subresources") or {}
    printed = version.get("additionalPrinterColumns") or []
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
        is_storage_version=bool(version.get("storage")),
        scale=_build_scale(subresources.get("scale")),
        warning=_build_warning(spec["group"], names["kind"], version),
    )


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
    names, group = spec.get("names") or {}, spec.get("group")
    causes = [] if group else [Cause("FieldValueRequired", "spec.group", "Required value")]
    for key in ("plural", "singular", "kind", "listKind"):
        text = names.get(key)
        if not text:
            causes.append(Cause("FieldValueRequired", f"spec.names.{key}", "Required value"))
            continue
        field = f"spec.names.{key}"
        causes += [
            Cause("FieldValueInvalid", field, f'Invalid value: "{text}": {problem}')
            for problem in check_label(text.lower())
        ]
    name = value["metadata"].get("name")
    if name != f"{names.get('plural')}.{group}":
        text = f'Invalid value: "{name}": must be spec.names.plural+"."+spec.group'
        causes.append(Cause("FieldValueInvalid", "metadata.name", text))
    scope = spec.get("scope")
    if not scope:
        causes.append(Cause("FieldValueRequired", "spec.scope", "Required value"))
    elif scope not in _SCOPES:
        text = f'Unsupported value: "{scope}": supported values: "Cluster", "Namespaced"'
        causes.append(Cause("FieldValueNotSupported", "spec.scope", text))
    return causes


def _check_versions(versions: list[Obj]) -> list[Cause]:
    causes = []
    if sum(1 for version in versions if version.get("storage")) != 1:
        text = "Invalid value: must have exactly one version marked as storage version"
        causes.append(Cause("FieldValueInvalid", "spec.versions", text))
    for index, version in enumerate(versions):
        path = f"spec.versions[{index}]"
        root = (version.get("schema") or {}).get("openAPIV3Schema")
        if root is None:
            text = "Required value: schemas are required"
            causes.append(Cause("FieldValueRequired", f"{path}.schema.openAPIV3Schema", text))
            continue
        where = "spec.validation.openAPIV3Schema" if len(versions) == 1 else f"{path}.schema.openAPIV3Schema"
        causes += check_structural(root, where) + _check_paths(version, path)
    return causes


def _check_paths(version: Obj, path: str) -> list[Cause]:
    causes = []
    for index, printed in enumerate(version.get("additionalPrinterColumns") or []):
        text = printed.get("jsonPath") or ""
        try:
            parse_jsonpath(text)
        except ValueError as error:
            field = f"{path}.additionalPrinterColumns[{index}].jsonPath"
            causes.append(Cause("FieldValueInvalid", field, f'Invalid value: "{text}": {error}'))
    return causes
