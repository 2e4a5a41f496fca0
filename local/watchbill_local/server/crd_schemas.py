"""Checks of the schemas inside a CRD: structural rules, defaults that validate, CEL that compiles.

Owns what makes a schema unfit to serve objects, in upstream's words. Pure.
"""

from __future__ import annotations

import re

import cel

from watchbill_local.server.errors import Cause
from watchbill_local.server.schema_shape import PRESERVE
from watchbill_local.server.schema_validate import INT_OR_STRING, MISSING, compile_validator
from watchbill_local.server.values import Obj, format_json


def check_structural(root: Obj, path: str) -> list[Cause]:
    """Return what is wrong with the schema of a version; `path` is its place in the CRD."""
    causes = []
    if root.get("type") != "object":
        text = f"Invalid value: {format_json(root.get('type', ''))}: must be object at the root"
        causes.append(Cause("FieldValueInvalid", f"{path}.type", text))
    return causes + _check_node(root, path)


def _check_node(schema: Obj, path: str) -> list[Cause]:
    causes = _check_shape(schema, path) + _check_rules(schema, path)
    if "pattern" in schema:
        causes += _check_pattern(schema["pattern"], path)
    if "default" in schema and not causes:
        causes += _check_default(schema, path)
    for key, below in (schema.get("properties") or {}).items():
        causes += _check_node(below, f"{path}.properties[{key}]")
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            causes += _check_node(schema[key], f"{path}.{key}")
    return causes


def _check_shape(schema: Obj, path: str) -> list[Cause]:
    causes = []
    if not (schema.get("type") or schema.get(INT_OR_STRING) or schema.get(PRESERVE)):
        text = "Required value: must not be empty for specified object fields"
        causes.append(Cause("FieldValueRequired", f"{path}.type", text))
    if schema.get("type") == "array" and not schema.get("items"):
        causes.append(Cause("FieldValueRequired", f"{path}.items", "Required value: must be specified"))
    if schema.get("properties") and schema.get("additionalProperties"):
        text = "Forbidden: additionalProperties and properties are mutual exclusive"
        causes.append(Cause("FieldValueForbidden", f"{path}.additionalProperties", text))
    return causes


def _check_rules(schema: Obj, path: str) -> list[Cause]:
    causes = []
    for index, rule in enumerate(schema.get("x-kubernetes-validations") or []):
        for key in ("rule", "messageExpression"):
            source = rule.get(key)
            if not source:
                continue
            try:
                cel.compile(source)
            except ValueError as error:
                field = f"{path}.x-kubernetes-validations[{index}].{key}"
                text = f"Invalid value: {format_json(source)}: compilation failed: {error}"
                causes.append(Cause("FieldValueInvalid", field, text))
    return causes


def _check_pattern(pattern: str, path: str) -> list[Cause]:
    try:
        re.compile(pattern)
    except re.error as error:
        text = f"Invalid value: {format_json(pattern)}: must be a valid regular expression, but isn't: {error}"
        return [Cause("FieldValueInvalid", f"{path}.pattern", text)]
    return []


def _check_default(schema: Obj, path: str) -> list[Cause]:
    causes: list[Cause] = []
    compile_validator(schema)(schema["default"], MISSING, "", causes)
    return [Cause(cause.reason, f"{path}.default", cause.message) for cause in causes]
