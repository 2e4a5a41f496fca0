"""The types of fields, as Go's decoder would insist on them.

The real server decodes built-in kinds into structs, so rules, defaults and columns there never meet a number where a
list should be. Here the same is had by a walk over the fields that this server looks at; what it does not look at is
kept as it is. Owns the walk and the shapes of all kinds' metadata; those of the kinds are in kind_types.py.

Invariant: an object that passed `decode_fields` can be read by any rule of its kind without a check of types. Null
is absence, as in Go: such members are removed.
"""

from __future__ import annotations

from typing import Any

from watchbill_local.server.errors import Named, bad_request
from watchbill_local.server.kind_types import KIND_TYPES, METADATA, Shape
from watchbill_local.server.values import Obj, name_go_type

_GO_NAMES: dict[type, str] = {str: "string", int: "int64", bool: "bool", float: "float64"}


def decode_fields(named: Named, obj: Obj) -> None:
    """Check the types of an object's fields, and remove nulls, in place. Raises a 400 in the words of Go's decoder."""
    _decode(named, obj, {"metadata": METADATA}, "")
    shape = KIND_TYPES.get((named.group, named.kind))
    if shape is not None:
        _decode(named, obj, shape, "")


def _decode(named: Named, value: Any, shape: Shape, path: str) -> None:
    if isinstance(shape, type):
        if not _is_of(value, shape):
            raise _wrong_type(named, value, _GO_NAMES[shape], path)
    elif isinstance(shape, list):
        if not isinstance(value, list):
            raise _wrong_type(named, value, "[]" + (_name_shape(shape[0]) if shape else "interface {}"), path)
        for item in value if shape else ():
            _decode(named, item, shape[0], path)
    else:
        _decode_object(named, value, shape, path)


def _decode_object(named: Named, value: Any, shape: dict[str, Shape], path: str) -> None:
    """Check the members that `shape` names; `*` stands for all members of a map."""
    if not isinstance(value, dict):
        raise _wrong_type(named, value, "map[string]" + _name_shape(shape["*"]) if "*" in shape else "struct", path)
    for key in list(value) if "*" in shape else shape.keys() & value.keys():
        member = shape[key] if key in shape else shape["*"]
        if value[key] is not None:
            _decode(named, value[key], member, f"{path}.{key}" if path else key)
        elif member is str and "*" in shape:
            value[key] = ""  # Go reads null in a map of strings as an empty one
        else:
            del value[key]


def _is_of(value: Any, wanted: type) -> bool:
    """Whether a JSON value has a type; a bool is no number, and a whole number is a float too."""
    if isinstance(value, bool):
        return wanted is bool
    return isinstance(value, (int, float) if wanted is float else wanted)


def _name_shape(shape: Shape) -> str:
    return _GO_NAMES[shape] if isinstance(shape, type) else "struct"


def _wrong_type(named: Named, value: Any, wanted: str, path: str) -> Exception:
    kind = named.kind
    return bad_request(
        f'{kind} in version "{named.version}" cannot be handled as a {kind}: json: cannot unmarshal '
        f"{name_go_type(value)} into Go struct field {kind}.{path} of type {wanted}"
    )
