"""Checks of the schemas inside a CRD: structural rules, defaults that validate, CEL rules that can work.

Owns what makes a schema unfit to serve objects, in upstream's words. Pure.
"""

from __future__ import annotations

import json
import re
from typing import Any

from watchbill_local.server.causes import forbidden_value, invalid_value, required, unsupported
from watchbill_local.server.cel_static import find_mistake
from watchbill_local.server.errors import Cause
from watchbill_local.server.schema_scalars import compile_pattern
from watchbill_local.server.schema_shape import PRESERVE
from watchbill_local.server.schema_validate import INT_OR_STRING, MISSING, compile_validator
from watchbill_local.server.values import Obj, dig

_TYPES = ("array", "boolean", "integer", "number", "object", "string")
_REASONS = ("FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired")
_RULES = "x-kubernetes-validations"
_UNSUPPORTED = ("id", "additionalItems", "patternProperties", "definitions", "dependencies", "$ref")
_UNIQUE = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic"
_WHERE = {"root": "at the root", "item": "for specified array items", "field": "for specified object fields"}


def check_structural(root: Obj, path: str) -> list[Cause]:
    """Return what is wrong with the schema of a version; `path` is its place in the CRD."""
    return _check_node(root, path, "root")


def _check_node(schema: Obj, path: str, level: str) -> list[Cause]:
    causes = _check_shape(schema, path, level)
    for key, below in (schema.get("properties") or {}).items():
        causes += _check_node(below, f"{path}.properties[{key}]", "field")
    if isinstance(schema.get("items"), dict):
        causes += _check_node(schema["items"], f"{path}.items", "item")
    if isinstance(schema.get("additionalProperties"), dict):
        causes += _check_node(schema["additionalProperties"], f"{path}.additionalProperties", "field")
    if causes:
        return causes
    return _check_rules(schema, path, is_root=level == "root") + _check_default(schema, path)


def _check_shape(schema: Obj, path: str, level: str) -> list[Cause]:
    kind = schema.get("type")
    is_untyped = not kind and not schema.get(INT_OR_STRING) and not schema.get(PRESERVE)
    both = "additionalProperties and properties are mutual exclusive"
    rules = [
        (is_untyped, required(f"{path}.type", f"must not be empty {_WHERE[level]}")),
        (kind and kind not in _TYPES, unsupported(f"{path}.type", kind, _TYPES)),
        (kind == "array" and not schema.get("items"), required(f"{path}.items", "must be specified")),
        (
            schema.get("properties") and "additionalProperties" in schema,
            forbidden_value(f"{path}.additionalProperties", both),
        ),
        (schema.get("uniqueItems"), forbidden_value(f"{path}.uniqueItems", _UNIQUE)),
        (
            level == "root" and kind not in (None, "object"),
            invalid_value(f"{path}.type", kind, "must be object at the root"),
        ),
    ]
    causes = [cause for is_broken, cause in rules if is_broken]
    causes += [forbidden_value(f"{path}.{key}", f"{key} is not supported") for key in _UNSUPPORTED if key in schema]
    causes += _check_pattern(schema["pattern"], path) if schema.get("pattern") else []
    return causes + _check_list_type(schema, path)


def _check_pattern(pattern: str, path: str) -> list[Cause]:
    try:
        compile_pattern(pattern)
    except re.error as error:
        detail = f"must be a valid regular expression, but isn't: {error}"
        return [invalid_value(f"{path}.pattern", pattern, detail)]
    return []


def _check_list_type(schema: Obj, path: str) -> list[Cause]:
    name, keys_name = "x-kubernetes-list-type", "x-kubernetes-list-map-keys"
    kind, keys = schema.get(name), schema.get(keys_name)
    properties = dig(schema, "items", "properties", default={})
    is_foreign = kind == "map" and any(key not in properties for key in keys or [])
    kinds, named = ("atomic", "set", "map"), "entries must all be names of item properties"
    rules = [
        (kind and kind not in kinds, unsupported(f"{path}.{name}", kind, kinds)),
        (kind and schema.get("type") != "array", required(f"{path}.type", f"must be array if {name} is specified")),
        (keys and kind != "map", required(f"{path}.{name}", f"must be map if {keys_name} is non-empty")),
        (kind == "map" and not keys, required(f"{path}.{keys_name}", f"must not be empty if {name} is map")),
        (is_foreign, invalid_value(f"{path}.{keys_name}", keys, named)),
    ]
    return [cause for is_broken, cause in rules if is_broken]


def _check_rules(schema: Obj, path: str, *, is_root: bool) -> list[Cause]:
    causes = []
    for index, rule in enumerate(schema.get(_RULES) or []):
        where = f"{path}.{_RULES}[{index}]"
        if rule.get("reason", "FieldValueInvalid") not in _REASONS:
            causes.append(unsupported(f"{where}.reason", rule["reason"], _REASONS))
        if not (rule.get("rule") or "").strip():
            causes.append(required(f"{where}.rule", "rule is not specified"))
        for key, words in (
            ("rule", "compilation failed"),
            ("messageExpression", "messageExpression compilation failed"),
        ):
            mistake = find_mistake(rule[key], schema, is_root=is_root) if (rule.get(key) or "").strip() else None
            if mistake:
                text = f"Invalid value: {_show_rule(rule)}: {words}: {mistake}"
                causes.append(Cause("FieldValueInvalid", f"{where}.{key}", text))
    return causes


def _show_rule(rule: Obj) -> str:
    """Return a rule as Go's JSON encoder shows its internal form."""
    names = ("rule", "message", "messageExpression", "reason", "fieldPath", "optionalOldSelf")
    empty: dict[str, Any] = dict.fromkeys(names, "") | {"reason": None, "optionalOldSelf": None}
    text = json.dumps(
        {name[0].upper() + name[1:]: rule.get(name, empty[name]) for name in names}, separators=(",", ":")
    )
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def _check_default(schema: Obj, path: str) -> list[Cause]:
    if "default" not in schema:
        return []
    causes: list[Cause] = []
    compile_validator(schema)(schema["default"], MISSING, "", causes)
    where = f"{path}.default"
    return [
        Cause(cause.reason, f"{where}.{cause.field}" if cause.field != "<nil>" else where, cause.message)
        for cause in causes
    ]
