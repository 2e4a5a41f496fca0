"""What a schema in a CustomResourceDefinition must not be: upstream's rules for structural schemas, in its words.

Owns the walk over a schema and the causes that it finds: types, lists, maps, defaults, rules. Pure; whether a schema
can be compiled at all is found by compiling it. What CEL's type checker and its estimate of cost would find is not
looked for.
"""

from __future__ import annotations

import json
import re
from typing import Any

from watchbill_local.server.cel import compile_rule
from watchbill_local.server.errors import Cause, invalid_value, required, unsupported
from watchbill_local.server.schema import PRESERVE, prune
from watchbill_local.server.schema_patterns import compile_pattern
from watchbill_local.server.schema_validate import INT_OR_STRING, MISSING, compile_validator
from watchbill_local.server.values import Obj, copy_value, dig

LIST_TYPE, MAP_KEYS = "x-kubernetes-list-type", "x-kubernetes-list-map-keys"
MAP_TYPE = "x-kubernetes-map-type"
_RULES = "x-kubernetes-validations"
#: How upstream prints a rule: all of its members, by the names that they have in Go.
_RULE_AS_SHOWN = dict.fromkeys(("Rule", "Message", "MessageExpression"), "") | {
    "Reason": None,
    "FieldPath": "",
    "OptionalOldSelf": None,
}
_TYPES = ("array", "boolean", "integer", "number", "object", "string")
_LIST_TYPES = ("atomic", "set", "map")
_REASONS = tuple(f"FieldValue{word}" for word in ("Duplicate", "Forbidden", "Invalid", "Required"))
_COMBINATIONS = ("allOf", "anyOf", "oneOf", "not")
_NOT_IN_COMBINATIONS = ("additionalProperties", "default", "description", "nullable", "title", "type")


def check_schema(schema: Obj, path: str, level: str = "at the root") -> list[Cause]:
    """Return what is wrong with a schema and with those below it."""
    if "$ref" in schema:
        return [_forbid(f"{path}.$ref", "$ref is not supported")]
    kind, causes = schema.get("type"), _check_compilation(schema, path)
    if kind not in _TYPES and (kind or not (schema.get(INT_OR_STRING) or schema.get(PRESERVE))):
        empty = required(f"{path}.type", f"must not be empty {level}")
        causes.append(unsupported(f"{path}.type", kind, _TYPES) if kind else empty)
    if kind == "array" and not schema.get("items"):
        causes.append(required(f"{path}.items", "must be specified"))
    causes += _check_members(schema, path, level) + _check_list(schema, path) + _check_default(schema, path)
    below = {f"properties[{key}]": each for key, each in (schema.get("properties") or {}).items()}
    below |= {place: schema.get(place) for place in ("items", "additionalProperties")}
    for place, each in below.items():
        what = "for specified array items" if place == "items" else "for specified object fields"
        causes += check_schema(each, f"{path}.{place}", what) if isinstance(each, dict) else []
    return causes


def _check_members(schema: Obj, path: str, level: str) -> list[Cause]:
    causes = []
    if "additionalProperties" in schema and level == "at the root":
        causes.append(_forbid(f"{path}.additionalProperties", "must not be used at the root"))
    if schema.get("properties") and schema.get("additionalProperties"):
        why = "additionalProperties and properties are mutual exclusive"
        causes.append(_forbid(f"{path}.additionalProperties", why))
    named = dig(schema, "properties", "metadata", "properties", default={})
    if level == "at the root" and not named.keys() <= {"name", "generateName"}:
        why = "must not specify anything other than name and generateName, but metadata is implicitly specified"
        causes.append(_forbid(f"{path}.properties[metadata]", why))
    if schema.get(PRESERVE) is False:
        causes.append(invalid_value(f"{path}.{PRESERVE}", value=False, detail="must be true or undefined"))
    for name in _COMBINATIONS:
        parts = schema.get(name) or []
        for index, part in enumerate(parts if isinstance(parts, list) else [parts]):
            place = f"{path}.{name}[{index}]" if isinstance(parts, list) else f"{path}.{name}"
            is_number = bool(schema.get(INT_OR_STRING))  # its two types are told by a combination
            found = [key for key in _NOT_IN_COMBINATIONS if part.get(key) and not (is_number and key == "type")]
            causes += [_forbid(f"{place}.{key}", "must be empty to be structural") for key in found]
    if schema.get("uniqueItems"):
        why = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic"
        causes.append(_forbid(f"{path}.uniqueItems", why))
    return causes


def _check_list(schema: Obj, path: str) -> list[Cause]:
    """Return what is wrong with the type of a list and its keys."""
    kind, keys, items = schema.get(LIST_TYPE), schema.get(MAP_KEYS) or [], schema.get("items") or {}
    causes = []
    if kind is not None and kind not in _LIST_TYPES:
        causes.append(unsupported(f"{path}.{LIST_TYPE}", kind, _LIST_TYPES))
    if kind in _LIST_TYPES and schema.get("type") != "array":
        why = "must be array if x-kubernetes-list-type is specified"
        return [invalid_value(f"{path}.type", schema.get("type"), why)]
    if keys and kind != "map":
        causes.append(required(f"{path}.{LIST_TYPE}", "must be map if x-kubernetes-list-map-keys is non-empty"))
    if kind == "map" and items.get("type") != "object":
        why = "must be object if parent array's x-kubernetes-list-type is map"
        return [invalid_value(f"{path}.items.type", items.get("type"), why)]
    if kind == "set" and items.get("type") == "object" and items.get(MAP_TYPE) != "atomic":
        why = "must be atomic as item of a list with x-kubernetes-list-type=set"
        causes.append(invalid_value(f"{path}.items.{MAP_TYPE}", items.get(MAP_TYPE), why))
    if kind == "map" and not keys:
        causes.append(required(f"{path}.{MAP_KEYS}", "must not be empty if x-kubernetes-list-type is map"))
    for key in keys if kind == "map" else ():
        member = dig(items, "properties", key)
        if member is None:
            why = "entries must all be names of item properties"
            causes.append(invalid_value(f"{path}.{MAP_KEYS}", keys, why))
        elif key not in (items.get("required") or ()) and "default" not in member:
            why = "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property"
            causes.append(required(f"{path}.items.properties[{key}].default", why))
    return causes


def _check_default(schema: Obj, path: str) -> list[Cause]:
    """Return what the schema itself finds wrong with its default."""
    if schema.get("default") is None:
        return []
    value, field = copy_value(schema["default"]), f"{path}.default"
    if prune(value, schema):
        return [invalid_value(field, schema["default"], "must not have unknown fields")]
    causes: list[Cause] = []
    try:
        compile_validator(schema)(value, MISSING, "", causes)
    except (re.error, TypeError):
        return []  # told of elsewhere
    return [cause._replace(field=field) for cause in causes]


def _check_compilation(schema: Obj, path: str) -> list[Cause]:
    causes = []
    try:
        compile_pattern(schema.get("pattern") or "")
    except re.error as error:
        detail = f"must be a valid regular expression, but isn't: {error}"
        causes.append(invalid_value(f"{path}.pattern", schema["pattern"], detail))
    for index, rule in enumerate(schema.get(_RULES) or []):
        causes += _check_rule(rule, f"{path}.{_RULES}[{index}]", schema)
    return causes


def _check_rule(rule: Obj, path: str, schema: Obj) -> list[Cause]:
    if not (rule.get("rule") or "").strip():
        return [required(f"{path}.rule", "rule is not specified")]
    causes = []
    if rule.get("reason") not in (None, *_REASONS):
        causes.append(unsupported(f"{path}.reason", rule["reason"], _REASONS))
    if "\n" in (rule.get("message") or ""):
        causes.append(invalid_value(f"{path}.message", rule["message"], "must not contain line breaks"))
    place: Any = schema
    for part in (rule.get("fieldPath") or "").lstrip(".").split("."):
        place = dig(place, "properties", part) if part else place
    if place is None:
        causes.append(invalid_value(f"{path}.fieldPath", rule["fieldPath"], "must be a valid path"))
    try:
        compile_rule(rule, schema, is_root=f"openAPIV3Schema.{_RULES}" in path)
    except ValueError as error:
        report = str(error).partition("': ")[2] or str(error)
        printed = {name: rule.get(name[0].lower() + name[1:], other) for name, other in _RULE_AS_SHOWN.items()}
        shown = json.dumps(printed, ensure_ascii=False, separators=(",", ":"))
        for sign in "<>&":
            shown = shown.replace(sign, f"\\u{ord(sign):04x}")
        found = f"Invalid value: {shown}: compilation failed: {report}"
        causes.append(Cause("FieldValueInvalid", f"{path}.rule", found))
    return causes


def _forbid(field: str, why: str) -> Cause:
    return Cause("FieldValueForbidden", field, f"Forbidden: {why}")
