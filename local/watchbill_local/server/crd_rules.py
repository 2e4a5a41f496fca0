"""What a CustomResourceDefinition must hold.

Owns the checks of names, versions, printer columns, subresources and selectable fields, in upstream's words; those of
the schemas stand in crd_schemas.py. Pure.
"""

from __future__ import annotations

from typing import Any

from watchbill_local.server.causes import invalid_value, required, unsupported
from watchbill_local.server.crd_schemas import check_structural
from watchbill_local.server.errors import Cause, bad_request
from watchbill_local.server.jsonpath import parse_jsonpath, split_simple_path
from watchbill_local.server.names import check_dns1035, check_subdomain
from watchbill_local.server.schema import Schema
from watchbill_local.server.values import Obj, dig

_SCOPES = ("Cluster", "Namespaced")
_COLUMN_TYPES = ("boolean", "date", "integer", "number", "string")


def check_crd(value: Obj, old: Obj | None) -> list[Cause]:
    """Return what is wrong with a definition, or with its change from `old`."""
    spec = value.get("spec") or {}
    causes = _check_names(value, spec) + _check_versions(spec.get("versions") or [])
    if old is not None:
        changed = [field for field in ("group", "scope") if old["spec"].get(field) != spec.get(field)]
        causes += [invalid_value(f"spec.{field}", spec.get(field), "field is immutable") for field in changed]
    return causes


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
        causes += [required(f"{path}.schema.openAPIV3Schema")] if root is None else []
        causes += _check_schema(root, where) if root is not None else []
        scale = dig(version, "subresources", "scale")
        for key in ("specReplicasPath", "statusReplicasPath") if scale is not None else ():
            causes += _check_path(f"{top}.subresources.scale.{key}", scale.get(key))
        causes += _check_columns(version, top) + _check_selectable(version, root or {}, top)
    return causes


def _check_schema(root: Obj, where: str) -> list[Cause]:
    """Return what is wrong with a schema. Raises a 400 for one of a wrong shape, as Go's decoder does."""
    try:
        causes = check_structural(root, where)
        if not causes:
            Schema(root)  # what does not compile must not be stored
        return causes
    except (AttributeError, KeyError, TypeError) as error:
        kind = "CustomResourceDefinition"
        words = f'{kind} in version "v1" cannot be handled as a {kind}: json: cannot unmarshal {where}'
        raise bad_request(f"{words}: {error}") from error


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


def _check_selectable(version: Obj, root: Obj, path: str) -> list[Cause]:
    causes = []
    for index, entry in enumerate(version.get("selectableFields") or []):
        field, text = f"{path}.selectableFields[{index}].jsonPath", entry.get("jsonPath") or ""
        schema: Any = root
        for key in split_simple_path(text):
            schema = dig(schema, "properties", key)
        if not isinstance(schema, dict):
            causes.append(invalid_value(field, text, "is an invalid path: does not refer to a valid field"))
    return causes
