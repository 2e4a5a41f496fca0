"""What can be told of a CEL rule without running it: unknown functions and fields.

Owns the checks at the installation of a CRD that keep a rule which can never work from being stored, in cel-go's
words and with its position. Far from a type check: what is not surely wrong passes. Pure.
"""

from __future__ import annotations

import re

from watchbill_local.server.cel_engine import cel
from watchbill_local.server.cel_functions import FUNCTIONS
from watchbill_local.server.schema_shape import PRESERVE
from watchbill_local.server.values import Obj

_NATIVE = {
    *("size", "contains", "startsWith", "endsWith", "matches", "has", "int", "uint", "double", "string", "bytes"),
    *("dyn", "type", "timestamp", "duration", "getFullYear", "getMonth", "getDate", "getDayOfMonth", "getDayOfWeek"),
    *("getDayOfYear", "getHours", "getMinutes", "getSeconds", "getMilliseconds", "hasValue", "value", "orValue"),
    *("or", "optional.of", "optional.none", "optional.ofNonZeroValue"),
}
_STRING = re.compile(r"""'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*\"""")
_FIELD_PATH = re.compile(r"(?<![\w.])(?:self|oldSelf)((?:\.[A-Za-z_]\w*+(?!\s*\())+)")
_BOUND = re.compile(r"\.(?:all|exists|exists_one|existsOne|map|filter)\(\s*(\w+)\s*,")
_VARIABLES = ("self", "oldSelf", "bool", "list", "map", "null_type", "optional_type")
_ROOT_MEMBERS: Obj = {
    "apiVersion": {"type": "string"},
    "kind": {"type": "string"},
    "metadata": {"type": "object", "properties": {"name": {"type": "string"}, "generateName": {"type": "string"}}},
}


def find_mistake(source: str, schema: Obj, *, is_root: bool) -> str | None:
    """Return what is wrong with a rule on values of `schema`, None when nothing is surely wrong."""
    try:
        program = cel.compile(source)
    except ValueError as error:
        return str(error).partition("': ")[2] or str(error)
    plain = _STRING.sub(lambda match: " " * len(match[0]), source)
    for name in program.functions():
        if re.fullmatch(r"[A-Za-z_][\w.]*", name) and name not in _NATIVE and name not in FUNCTIONS:
            position = re.search(rf"\b{re.escape(name)}\s*\(", plain)
            return _point_at(source, position.end() - 1 if position else 0, _undeclared(name))
    bound = {*_BOUND.findall(plain), *_VARIABLES, *_NATIVE}
    for name in program.variables():
        if name not in bound:
            place = re.search(rf"(?<![\w.]){name}\b", plain)
            return _point_at(source, place.start() if place else 0, _undeclared(name))
    top = {**schema, "properties": {**(schema.get("properties") or {}), **_ROOT_MEMBERS}} if is_root else schema
    for match in _FIELD_PATH.finditer(plain):
        position_of_field = _find_unknown_field(match, top)
        if position_of_field is not None:
            field = plain[position_of_field + 1 : match.end()].partition(".")[0]
            return _point_at(source, position_of_field, f"undefined field '{field}'")
    return None


def _undeclared(name: str) -> str:
    return f"undeclared reference to '{name}' (in container '')"


def _find_unknown_field(match: re.Match[str], schema: Obj) -> int | None:
    """Return the place of the first member that the schema rules out, walking as far as it is sure."""
    position = match.start(1)
    for key in match[1].split(".")[1:]:
        properties, others = schema.get("properties"), schema.get("additionalProperties")
        if isinstance(others, dict):
            schema = others
        elif not properties or schema.get(PRESERVE) or "__" in key:
            return None
        elif key not in properties:
            return position
        else:
            schema = properties[key]
        position += len(key) + 1
    return None


def _point_at(source: str, position: int, problem: str) -> str:
    line = source.count("\n", 0, position) + 1
    start = source.rfind("\n", 0, position) + 1
    text = source[start:].partition("\n")[0]
    column = position - start
    return f"ERROR: <input>:{line}:{column + 1}: {problem}\n | {text}\n | {'.' * column}^"
