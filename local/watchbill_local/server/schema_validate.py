"""Structural schemas compiled to validators.

Owns the rules of OpenAPI v3 as Kubernetes applies them to custom resources, with upstream's messages. A schema is
compiled once into nested functions, since every write is checked. Keywords and formats are the table keywords.json.
Pure: a validator only reads the value and adds to the list of causes that it is given. An
unknown format says nothing about a value, as upstream has it.

Ratcheting: what is wrong in a part that an update leaves as it was is not told, so that objects stored under a milder
schema can still be changed elsewhere. A part has an old value where it can be correlated: members by name, items of
list maps by their keys; items of other lists only as part of the whole list.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable
from typing import Any

from watchbill_local.server.errors import Cause, invalid_value, required, too_long, too_many, unsupported
from watchbill_local.server.schema_patterns import compile_pattern
from watchbill_local.server.times import parse_time
from watchbill_local.server.values import Obj, child_path, format_json, load_table

#: (value, old value or MISSING, path of the value, causes to add to).
Validator = Callable[[Any, Any, str, list[Cause]], None]
#: (value, path of the value) -> what is wrong with it.
Check = Callable[[Any, str], Cause | None]

#: Stands for the old value where there is none.
MISSING: Any = object()

_WRONG_TYPE = "FieldValueTypeInvalid"
_TABLE = load_table("keywords.json")
OBJECT_META: list[str] = _TABLE["metadata"]
INT_OR_STRING = "x-kubernetes-int-or-string"
_TYPE_NAMES = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}
_FORMATS_OF_TYPES = {"integer": "int64", "number": "double"}
_INTEGER_BITS = {"int32": 31, "int64": 63}
#: (limit, types of the values that it is for, whether a value or size breaks it, what it demands).
_Limit = tuple[Any, list[str], Callable[[Any, Any], bool], str]
_COMBINATIONS: dict[str, tuple[Callable[[int, int], bool], str]] = {
    "anyOf": (lambda good, total: good > 0, "must validate at least one schema (anyOf)"),
    "oneOf": (lambda good, total: good == 1, "must validate one and only one schema (oneOf). Found {found}"),
    "allOf": (lambda good, total: good == total, "must validate all the schemas (allOf){none}"),
    "not": (lambda good, total: good == 0, "must not validate the schema (not)"),
}
_FORMATS: dict[str, Callable[[str], Any]] = {
    name: re.compile(form).fullmatch for name, form in _TABLE["formats"].items()
}
_FORMATS["date-time"] = lambda text: "T" in text.upper() and parse_time(text) is not None
_KNOWN_FORMATS = {*_FORMATS, *_INTEGER_BITS, "float", "double"}


_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    **{name: getattr(operator, name) for name in ("gt", "ge", "lt", "le")},
    "no match": lambda text, pattern: compile_pattern(pattern).search(text) is None,
    "no multiple": lambda number, unit: not float(number / unit).is_integer(),
}


def compile_validator(schema: Obj) -> Validator:
    """Return the validator of a schema. Raises re.error or TypeError for one that makes no sense."""
    limits, descend = _find_limits(schema), _compile_below(schema)
    checks = [each for each in (_compile_type(schema), _compile_format(schema), _compile_enum(schema)) if each]
    combine = _compile_combinations(schema) if schema.keys() & _COMBINATIONS.keys() else None

    def validate(value: Any, old: Any, path: str, causes: list[Cause]) -> None:
        start = len(causes)
        causes += [cause for check in checks if (cause := check(value, path))]
        if limits:
            causes += _check_limits(value, path, limits)
        if combine:
            causes += combine(value, path)
        if isinstance(value, (dict, list)):
            descend(value, old, path, causes)
        if len(causes) > start and old is not MISSING and value == old:
            del causes[start:]

    return validate


def correlate_items(old: Any, schema: Obj) -> Callable[[Any], Any]:
    """Return a function from an item of a list to its old value, MISSING where it cannot be correlated."""
    if not (isinstance(old, list) and schema.get("x-kubernetes-list-type") == "map"):
        return lambda item: MISSING
    before = {identify_item(item, schema): item for item in old}
    return lambda item: before.get(identify_item(item, schema), MISSING)


def _compile_type(schema: Obj) -> Check:
    wanted = ("integer", "string") if schema.get(INT_OR_STRING) else (schema.get("type"),)
    allowed = {*wanted, "integer"} if "number" in wanted else {*wanted}
    is_free, takes_whole = wanted == (None,), "integer" in wanted
    nullable, known_format = bool(schema.get("nullable")), schema.get("format") in _KNOWN_FORMATS

    def check(value: Any, path: str) -> Cause | None:
        got = _TYPE_NAMES.get(type(value), "null")
        if got in allowed or is_free or (value is None and nullable):
            return None
        if takes_whole and got == "number" and value.is_integer():
            return None
        expected = ",".join(each or "" for each in wanted)
        if known_format and got not in ("string", "array", "null"):  # upstream names the format, and that of the value
            expected, got = schema["format"], _FORMATS_OF_TYPES.get(got, "")
        return invalid_value(path, got, f'{path} in body must be of type {expected}: "{got}"', reason=_WRONG_TYPE)

    return check


def _find_limits(schema: Obj) -> list[_Limit]:
    limits = {**schema}
    for name, strict in (("maximum", "exclusiveMaximum"), ("minimum", "exclusiveMinimum")):
        if limits.pop(strict, False) and name in limits:
            limits[strict] = limits.pop(name)
    present = [(limits[name], *row) for name, row in _TABLE["limits"].items() if limits.get(name) is not None]
    if not all(isinstance(limit, str if broken == "no match" else (int, float)) for limit, _, broken, _ in present):
        raise TypeError("a limit is not of the type that its keyword asks for")
    compile_pattern(limits.get("pattern") or "")
    return [(limit, kinds, _OPERATORS[broken], words) for limit, kinds, broken, words in present]


def _check_limits(value: Any, path: str, limits: list[_Limit]) -> Iterable[Cause]:
    """Yield the limits that a value breaks; of a string only the first."""
    kind, size = _TYPE_NAMES.get(type(value)), len(value) if isinstance(value, (str, list, dict)) else value
    for limit, kinds, is_broken, words in limits:
        if kind not in kinds or not is_broken(value if isinstance(limit, str) else size, limit):
            continue
        shown = int(limit) if isinstance(limit, float) and limit.is_integer() else limit  # as Go's %v prints it
        if words:
            found = value if kind == "string" else size
            yield invalid_value(path, found, f"{path} in body should {words.format(shown)}")
        else:
            yield too_long(path, limit) if kind == "string" else too_many(path, size, limit)
        if kind == "string":
            return


def _compile_format(schema: Obj) -> Check | None:
    """Return the check of a string's format or an integer's range."""
    kind, name = schema.get("type"), str(schema.get("format") or "")
    is_formed = _FORMATS.get(name, bool)
    end = 2 ** _INTEGER_BITS.get(name, 63)
    words = f"with format {name}" if name in _INTEGER_BITS else "(default format)"

    def check(value: Any, path: str) -> Cause | None:
        if kind == "string" and isinstance(value, str) and not is_formed(value):
            detail = f"{path} in body must be of type {name}: {format_json(value)}"
            return invalid_value(path, value, detail, reason=_WRONG_TYPE)
        if kind == "integer" and isinstance(value, (int, float)) and not (-end <= value < end and value == int(value)):
            return invalid_value("", "", f"Checked value must be of type integer {words} in {path}")
        return None

    return check if kind == "integer" or (kind == "string" and name in _FORMATS) else None


def _compile_enum(schema: Obj) -> Check | None:
    """Return the check of `enum`; 1 and 1.0 are equal, 1 and true are not."""
    allowed: list[Any] = schema.get("enum") or []
    keys = {identify_item(value) for value in allowed}

    def check(value: Any, path: str) -> Cause | None:
        is_allowed = value is not None and identify_item(value) in keys
        return None if is_allowed else unsupported(path, value, allowed)

    return check if allowed else None


def _compile_below(schema: Obj) -> Validator:
    """Return the validator of members and items."""
    members = {key: compile_validator(below) for key, below in (schema.get("properties") or {}).items()}
    others, items = (
        compile_validator(schema[name]) if isinstance(schema.get(name), dict) else None
        for name in ("additionalProperties", "items")
    )
    needed = schema.get("required") or []

    def descend(value: Any, old: Any, path: str, causes: list[Cause]) -> None:
        if isinstance(value, dict):
            before = old if isinstance(old, dict) else {}
            for key, item in value.items():
                validate = members.get(key, others)
                if validate:
                    validate(item, before.get(key, MISSING), child_path(path, key), causes)
            causes += [required(child_path(path, key)) for key in needed if key not in value]
        elif items:
            old_of = correlate_items(old, schema)
            for index, item in enumerate(value):
                items(item, old_of(item), f"{path}[{index}]", causes)
            causes += _find_equal_items(value, schema, path)

    return descend


def _compile_combinations(schema: Obj) -> Callable[[Any, str], list[Cause]]:
    """Return the check of anyOf, oneOf, allOf and not; it tells too what is wrong with the nearest alternative.

    Upstream tells the path in the text alone.
    """
    present = {name: schema[name] for name in _COMBINATIONS if schema.get(name)}
    parts = {
        name: [compile_validator(each) for each in ([raw] if name == "not" else raw)] for name, raw in present.items()
    }

    def check(value: Any, path: str) -> list[Cause]:
        told = []
        for name, validators in parts.items():
            results: list[list[Cause]] = [[] for _ in validators]
            for validate, causes in zip(validators, results, strict=True):
                validate(value, MISSING, path, causes)
            good, (is_enough, words) = results.count([]), _COMBINATIONS[name]
            if not is_enough(good, len(results)):
                none, found = ("", f"{good} valid alternatives") if good else (". None validated", "none valid")
                nearest: list[Cause] = min(results, key=len)
                told.append(invalid_value("", "", f'"{path}" {words.format(none=none, found=found)}'))
                told += [cause for each in results for cause in each] if name == "allOf" else nearest
        return told

    return check


def identify_item(value: Any, schema: Obj | None = None) -> str:
    """Return a text that is equal for equal values; of an item of a list map (`schema`) only its keys count."""
    keys = (schema or {}).get("x-kubernetes-list-map-keys")
    if keys:
        value = {key: value[key] for key in keys if key in value} if isinstance(value, dict) else {}
    return format_json(int(value) if isinstance(value, float) and value.is_integer() else value)


def _find_equal_items(items: list[Any], schema: Obj, path: str) -> list[Cause]:
    """Return the items that lists of type `set` and `map` hold twice; each is told once, at its second place."""
    if schema.get("x-kubernetes-list-type") not in ("set", "map"):
        return []
    places: dict[str, list[int]] = {}
    for index, item in enumerate(items):
        places.setdefault(identify_item(item, schema), []).append(index)
    twice = [(shown, indexes[1]) for shown, indexes in places.items() if len(indexes) > 1]
    return [Cause("FieldValueDuplicate", f"{path}[{index}]", f"Duplicate value: {shown}") for shown, index in twice]
