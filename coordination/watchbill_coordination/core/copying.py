"""A frozen value again, with some fields changed.

Owns the one shortcut that the fold takes: it does what `dataclasses.replace` does in less than half the time, since
each event replaces members of two dozen fields. Only for frozen dataclasses with slots and without `__post_init__`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from operator import attrgetter
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")


class Shape(NamedTuple):
    """How to read all fields of a class at once, and to set each on a new instance."""

    read: Callable[[Any], tuple[Any, ...]]
    setters: tuple[Callable[[Any, Any], None], ...]
    by_name: Mapping[str, Callable[[Any, Any], None]]


SHAPES: dict[type, Shape] = {}  #: what was worked out once; the same for ever


def shape_of(cls: type) -> Shape:
    """The shape of a dataclass with slots and at least two fields."""
    names = [field.name for field in fields(cls)]
    by_name = {name: getattr(cls, name).__set__ for name in names}
    return SHAPES.setdefault(cls, Shape(attrgetter(*names), tuple(by_name.values()), by_name))


def change(value: T, /, **changes: Any) -> T:
    """Return a copy of `value` with these fields changed. KeyError for a field that it does not have."""
    cls = type(value)
    shape = SHAPES.get(cls) or shape_of(cls)
    copied = object.__new__(cls)
    for setter, current in zip(shape.setters, shape.read(value), strict=True):
        setter(copied, current)
    for name, wanted in changes.items():
        shape.by_name[name](copied, wanted)
    return copied
