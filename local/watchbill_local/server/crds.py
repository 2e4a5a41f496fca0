"""CustomResourceDefinitions: what the server fills in, and the resources that they serve.

Owns the way from a CRD object to its `Resource`s, one for each served version. What makes a definition unfit stands in
crd_rules.py. Pure: the server stores the CRD and swaps the resources in.
"""

from __future__ import annotations

import re
from typing import Any

from watchbill_local.server.causes import invalid_value
from watchbill_local.server.crd_columns import build_columns, build_row
from watchbill_local.server.errors import Cause
from watchbill_local.server.jsonpath import split_simple_path
from watchbill_local.server.resource import Convert, Resource, Scale
from watchbill_local.server.schema import Schema
from watchbill_local.server.values import Obj, copy_value, dig

CRD_GROUP, CRD_PLURAL = "apiextensions.k8s.io", "customresourcedefinitions"
CRD_FINALIZER = "customresourcecleanup.apiextensions.k8s.io"
MAX_REPLICAS = 2**31 - 1


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
        condition = {"type": kind, "status": "True", "reason": reason, "message": message, "lastTransitionTime": now}
        conditions.setdefault(kind, condition)
    return list(conditions.values())
