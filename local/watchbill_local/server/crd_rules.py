"""What a CustomResourceDefinition must hold.

Owns the checks of names, versions, schemas, printer columns and the paths of subresources, in upstream's words: those
without which its objects could not be served as upstream would serve them. Pure.
"""

from __future__ import annotations

import re
from typing import Any

from watchbill_local.server.cel import compile_rule
from watchbill_local.server.errors import Cause, bad_request, invalid_value, required, unsupported
from watchbill_local.server.jsonpath import parse_jsonpath
from watchbill_local.server.names import check_dns1035, check_subdomain
from watchbill_local.server.schema import PRESERVE, Schema
from watchbill_local.server.schema_validate import INT_OR_STRING, compile_pattern
from watchbill_local.server.values import Obj, dig

_SCOPES = ("Cluster", "Namespaced")
_COLUMN_TYPES = ("boolean", "date", "integer", "number", "string")
_TYPES = ("array", "boolean", "integer", "number", "object", "string")
_RULES = "x-kubernetes-validations"


def check_crd(value: Obj, old: Obj | None) -> list[Cause]:
    """Return what is wrong with a definition, or with its change from `old`. Raises a 400 for a misshapen schema."""
    spec = value.get("spec") or {}
    causes = _check_names(value, spec) + _check_versions(spec.get("versions") or [])
    changed = [field for field in ("group", "scope") if old and old["spec"].get(field) != spec.get(field)]
    return causes + [invalid_value(f"spec.{field}", spec.get(field), "field is immutable") for field in changed]


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
    if scope not in _SCOPES:
        causes.append(unsupported("spec.scope", scope, _SCOPES) if scope else required("spec.scope"))
    return causes


def _check_group(text: str) -> list[str]:
    return check_subdomain(text) or ([] if "." in text else ["should be a domain with at least one dot"])


def _check_kind(text: str) -> list[str]:
    return [f"may have mixed case, but should otherwise match: {why}" for why in check_dns1035(text.lower())]


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
        causes = _check_node(root, where, "at the root")
        if not causes:
            Schema(root)
    except (AttributeError, KeyError, TypeError) as error:  # of a wrong shape, which Go's decoder would refuse
        kind = "CustomResourceDefinition"
        words = f'{kind} in version "v1" cannot be handled as a {kind}: json: cannot unmarshal {where}'
        raise bad_request(f"{words}: {error}") from error
    return causes


def _check_node(schema: Obj, path: str, level: str) -> list[Cause]:
    """Return what is wrong with a schema and with those below it."""
    kind, causes = schema.get("type"), _check_compilation(schema, path)
    if kind not in _TYPES and (kind or not (schema.get(INT_OR_STRING) or schema.get(PRESERVE))):
        empty = required(f"{path}.type", f"must not be empty {level}")
        causes.append(unsupported(f"{path}.type", kind, _TYPES) if kind else empty)
    if kind == "array" and not schema.get("items"):
        causes.append(required(f"{path}.items", "must be specified"))
    below = [(f"properties[{key}]", each, "object fields") for key, each in (schema.get("properties") or {}).items()]
    below += [("items", schema.get("items"), "array items")]
    below += [("additionalProperties", schema.get("additionalProperties"), "object fields")]
    for place, each, what in below:
        causes += _check_node(each, f"{path}.{place}", f"for specified {what}") if isinstance(each, dict) else []
    return causes


def _check_compilation(schema: Obj, path: str) -> list[Cause]:
    causes = []
    try:
        compile_pattern(schema.get("pattern") or "")
    except re.error as error:
        detail = f"must be a valid regular expression, but isn't: {error}"
        causes.append(invalid_value(f"{path}.pattern", schema["pattern"], detail))
    for index, rule in enumerate(schema.get(_RULES) or []):
        try:
            compile_rule({"rule": "", **rule})
        except ValueError as error:
            report = str(error).partition("': ")[2] or str(error)
            causes.append(invalid_value(f"{path}.{_RULES}[{index}].rule", rule, f"compilation failed: {report}"))
    return causes


def _check_columns_and_paths(version: Obj, top: str) -> list[Cause]:
    scale = dig(version, "subresources", "scale")
    keys = () if scale is None else ("specReplicasPath", "statusReplicasPath")
    paths = [(f"{top}.subresources.scale.{key}", scale.get(key)) for key in keys]
    for index, each in enumerate(version.get("selectableFields") or []):
        paths.append((f"{top}.selectableFields[{index}].jsonPath", each.get("jsonPath")))
    causes = []
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
    return []
