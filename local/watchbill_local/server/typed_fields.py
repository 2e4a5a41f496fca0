"""The types of fields, as Go's decoder would insist on them.

The real server decodes built-in kinds into structs, so rules, defaults and columns there never meet a number where a
list should be. Here the same is had by a walk over the fields that this server looks at; what it does not look at is
kept as it is. The fields are the table kind_types.json: a shape is the name of a Go type, a list of one shape (an
empty one: of anything), members by name (`*`: all members of a map), or `@name` for a shared shape.

Invariant: an object that passed `decode_fields` can be read by any rule of its kind without a check of types. Null
is absence, as in Go: such members are removed; quantities are written in their one form.
"""

from __future__ import annotations

import re
from typing import Any

from watchbill_local.server.errors import Named, Undecodable
from watchbill_local.server.quantities import format_quantity, is_quantity
from watchbill_local.server.resource import Resource
from watchbill_local.server.times import parse_time
from watchbill_local.server.values import Obj, load_table, name_go_type

_TABLE = load_table("kind_types.json")
_SHARED: Obj = _TABLE["shared"]
_KINDS: Obj = _TABLE["kinds"]
_TYPES: dict[str, tuple[type, ...]] = {"string": (str,), "int64": (int,), "bool": (bool,), "float64": (int, float)}
_TYPES |= {"bytes": (str,), "time": (str,), "microtime": (str,), "quantity": (str, int, float)}
_BASE64 = re.compile(r"[A-Za-z0-9+/]*={0,2}")
_DAY = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d"
_LAYOUTS = {
    "time": ("2006-01-02T15:04:05Z07:00", rf"{_DAY}(\.\d+)?(Z|[+-]\d\d:\d\d)"),
    "microtime": ("2006-01-02T15:04:05.000000Z07:00", rf"{_DAY}\.\d{{6}}(Z|[+-]\d\d:\d\d)"),
}
#: Types of texts that are read as something else.
_READ = {"bytes", "quantity", *_LAYOUTS}


def decode_fields(named: Named, obj: Obj) -> None:
    """Check the types of an object's fields, and remove nulls, in place. Raises a 400 in the words of Go's decoder."""
    _decode(named, obj, {"metadata": "@metadata"}, "")
    shape = _KINDS.get(f"{named.group}/{named.kind}" if named.group else named.kind)
    if shape is not None:
        _decode(named, obj, shape, "")


def _decode(named: Named, value: Any, shape: Any, path: str) -> None:
    if isinstance(shape, str) and shape.startswith("@"):
        shape = _SHARED[shape[1:]]
    wanted: tuple[type, ...] = _TYPES[shape] if isinstance(shape, str) else (type(shape),)
    if not isinstance(value, wanted) or (isinstance(value, bool) and shape != "bool"):  # a bool is an int to Python
        struct = "ObjectMeta" if path.startswith("metadata.") else named.kind
        path = path.removeprefix("metadata.") if isinstance(named, Resource) and named.crd else path
        words = f"{name_go_type(value)} into Go struct field {struct}.{path} of type {_name_shape(shape)}"
        raise Undecodable(named.kind, named.version, f"json: cannot unmarshal {words}")
    if isinstance(shape, str) and shape in _READ and (why := _find_misreading(shape, value)):
        raise Undecodable(named.kind, named.version, why)
    if isinstance(value, dict) and shape:
        _decode_members(named, value, shape, path)
    for item in value if isinstance(value, list) and shape else ():
        _decode(named, item, shape[0], path)


def _find_misreading(shape: str, value: Any) -> str | None:
    """Return why Go cannot read a text as what its type means, None where it can."""
    if shape == "bytes" and (len(value) % 4 or not _BASE64.fullmatch(value)):
        prefix = re.match(r"[A-Za-z0-9+/]*", value)
        return f"illegal base64 data at input byte {len(prefix[0]) if prefix else 0}"
    if shape == "quantity" and not is_quantity(str(value)):
        return "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
    if shape in _LAYOUTS and value:
        layout, form = _LAYOUTS[shape]
        is_time = re.fullmatch(form, value) is not None and parse_time(value) is not None
        return None if is_time else f'parsing time "{value}" as "{layout}": cannot parse "{value}" as "2006"'
    return None


def _decode_members(named: Named, value: Obj, shape: Obj, path: str) -> None:
    for key in list(value) if "*" in shape else [key for key in shape if key in value]:
        member = shape[key] if key in shape else shape["*"]
        if value[key] is not None:
            inner = path if "*" in shape else f"{path}.{key}" if path else key  # Go does not name the key of a map
            _decode(named, value[key], member, inner)
            if member == "quantity":
                value[key] = format_quantity(str(value[key]))
        elif member in ("string", "bytes") and "*" in shape:
            value[key] = ""  # Go reads null in a map of strings as an empty one
        else:
            del value[key]


def _name_shape(shape: Any) -> str:
    """Return the Go type of a shape as far as messages tell it."""
    if isinstance(shape, list):
        return f"[]{_name_shape(shape[0]) if shape else 'interface {}'}"
    if isinstance(shape, dict) and "*" in shape:
        return f"map[string]{_name_shape(shape['*'])}"
    return shape if shape in ("string", "int64", "bool", "float64") else "struct"
