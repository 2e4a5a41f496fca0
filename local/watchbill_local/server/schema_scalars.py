"""Checks of single values: enum, pattern, length, limits, formats.

Owns the keywords of a schema that look at one scalar, with upstream's messages. Each check says nothing about values
of a type that it is not for; the type itself is checked elsewhere. Pure.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from typing import Any

from watchbill_local.server.causes import ROOT, invalid_value, too_long, unsupported, wrong_type
from watchbill_local.server.errors import Cause
from watchbill_local.server.schema_formats import FORMATS, INTEGER_RANGES
from watchbill_local.server.values import Obj, format_json

Check = Callable[[Any, str], Cause | None]
"""(value, path of the value) -> what is wrong with it."""


def build_invalid(path: str, value: Any, why: str) -> Cause:
    """Return the cause of a value that breaks a rule."""
    return invalid_value(path, value, f"{path} in body {why}")


def is_number(value: Any) -> bool:
    """Whether a JSON value is a number; true and false are not."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def compile_enum(schema: Obj) -> list[Check]:
    """Return the check of `enum`; 1 and 1.0 are equal, 1 and true are not."""
    allowed = schema.get("enum")
    if not allowed:
        return []
    keys = {_identity(value) for value in allowed}

    def check(value: Any, path: str) -> Cause | None:
        is_allowed = value is not None and _identity(value) in keys
        return None if is_allowed else unsupported(path, value, allowed)

    return [check]


def compile_string_checks(schema: Obj) -> list[Check]:
    """Return the check of a string, which tells the first of: too long, too short, wrong pattern; then its format."""
    longest, shortest, pattern = schema.get("maxLength"), schema.get("minLength"), schema.get("pattern")
    form = compile_pattern(pattern) if pattern else None

    def check(value: Any, path: str) -> Cause | None:
        if not isinstance(value, str):
            return None
        if longest is not None and len(value) > longest:
            return too_long(path, longest)
        if shortest is not None and len(value) < shortest:
            return build_invalid(path, value, f"should be at least {shortest} chars long")
        if form and not form.search(value):
            return build_invalid(path, value, f"should match '{pattern}'")
        return None

    checks: list[Check] = [check] if longest is not None or shortest is not None or form else []
    return checks + _compile_string_format(schema)


def compile_number_checks(schema: Obj) -> list[Check]:
    """Return the checks of a number: its range by format, `multipleOf`, `maximum`, `minimum`."""
    above, below = schema.get("exclusiveMaximum"), schema.get("exclusiveMinimum")
    rules: list[tuple[str, Callable[[Any, Any], bool], str]] = [
        ("multipleOf", _is_no_multiple, "a multiple of"),
        ("maximum", operator.ge if above else operator.gt, "less than" if above else "less than or equal to"),
        ("minimum", operator.le if below else operator.lt, "greater than" if below else "greater than or equal to"),
    ]
    present = [(is_broken, schema[keyword], words) for keyword, is_broken, words in rules if keyword in schema]
    return _compile_range(schema) + [_compile_limit(*rule) for rule in present]


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """Return a pattern of Go's RE2 as one of Python: `$` is the end of the text alone, classes are ASCII.

    Raises re.error for what Python cannot read.
    """
    translated, in_class, position = [], False, 0
    while position < len(pattern):
        sign = pattern[position : position + 2] if pattern[position] == "\\" else pattern[position]
        position += len(sign)
        if sign in "[]":
            in_class = sign == "["
        translated.append(r"\Z" if sign == r"\z" or (sign == "$" and not in_class) else sign)
    return re.compile("".join(translated), re.ASCII)


def _identity(value: Any) -> str:
    """Return a text that is equal for equal values of JSON."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return format_json(value)


def _compile_string_format(schema: Obj) -> list[Check]:
    name = schema.get("format")
    is_formed = FORMATS.get(name or "", bool)

    def check(value: Any, path: str) -> Cause | None:
        if not isinstance(value, str) or is_formed(value):
            return None
        return wrong_type(path, value, f"{path} in body must be of type {name}: {format_json(value)}")

    return [check] if name in FORMATS and schema.get("type") == "string" else []


def _compile_range(schema: Obj) -> list[Check]:
    if schema.get("type") != "integer":
        return []
    name = schema.get("format") or ""
    low, high = INTEGER_RANGES.get(name, INTEGER_RANGES["int64"])
    words = f"with format {name} in" if name in INTEGER_RANGES else "(default format) in"

    def check(value: Any, path: str) -> Cause | None:
        if not is_number(value) or low <= value <= high:
            return None
        return invalid_value(ROOT, "", f"Checked value must be of type integer {words} {path}")

    return [check]


def _is_no_multiple(value: float, factor: float) -> bool:
    return not float(value / factor).is_integer()


def _compile_limit(is_broken: Callable[[Any, Any], bool], limit: float, words: str) -> Check:
    shown = str(int(limit)) if float(limit).is_integer() else repr(limit)  # as Go's %v prints it

    def check(value: Any, path: str) -> Cause | None:
        if not is_number(value) or not is_broken(value, limit):
            return None
        return build_invalid(path, value, f"should be {words} {shown}")

    return check
