"""What a CustomResourceDefinition must not be, besides its schemas (schema_rules.py).

Owns upstream's rules for names, versions, scopes, columns and paths, and for what of a definition may change, in
upstream's words. Pure: reads the definition alone.
"""

from __future__ import annotations

from typing import Any

from watchbill_local.server.errors import Cause, bad_request, invalid_value, required, unsupported
from watchbill_local.server.jsonpath import parse_jsonpath
from watchbill_local.server.names import check_dns1035, check_subdomain
from watchbill_local.server.schema import Schema
from watchbill_local.server.schema_rules import check_schema
from watchbill_local.server.values import Obj, dig

_SCOPES = ("Cluster", "Namespaced")
_STRATEGIES = ("None", "Webhook")
_COLUMN_TYPES = ("boolean", "date", "integer", "number", "string")
_APPROVAL, _APPROVAL_ADDRESS = "api-approved.kubernetes.io", "https://github.com/kubernetes/enhancements/pull/1111"


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
