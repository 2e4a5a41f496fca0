"""The types of fields, as Go's decoder would insist on them.

The real server decodes built-in kinds into structs, so rules, defaults and columns there never meet a number where a
list should be. Here the same is had by a walk over the fields that this server looks at; what it does not look at is
kept as it is. The fields are the table kind_types.json: a shape is the name of a Go type, a list of one shape (an
empty one: of anything), members by name (`*`: all members of a map), or `@name` for a shared shape.

Invariant: an object that passed `decode_fields` can be read by any rule of its kind without a check of types. Null
is absence, as in Go: such members are removed.
"""

from __future__ import annotations

from typing import Any

from watchbill_local.server.errors import Named, Undecodable
from watchbill_local.server.values import Obj, load_table, name_go_type

_TABLE = load_table("kind_types.json")
_SHARED: Obj = _TABLE["shared"]
_KINDS: Obj = _TABLE["kinds"]
_TYPES: dict[str, tuple[type, ...]] = {"string": (str,), "int64": (int,), "bool": (bool,), "float64": (int, float)}


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
        words = f"{name_go_type(value)} into Go struct field {struct}.{path} of type {_name_shape(shape)}"
        raise Undecodable(named.kind, named.version, f"json: cannot unmarshal {words}")
    if isinstance(value, dict) and shape:
        _decode_members(named, value, shape, path)
    for item in value if isinstance(value, list) and shape else ():
        _decode(named, item, shape[0], path)


def _decode_members(named: Named, value: Obj, shape: Obj, path: str) -> None:
    for key in list(value) if "*" in shape else [key for key in shape if key in value]:
        member = shape[key] if key in shape else shape["*"]
        if value[key] is not None:
            inner = path if "*" in shape else f"{path}.{key}" if path else key  # Go does not name the key of a map
            _decode(named, value[key], member, inner)
        elif member == "string" and "*" in shape:
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
