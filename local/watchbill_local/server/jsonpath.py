"""The part of JSONPath that CRDs use: printer columns, scale paths, selectable fields.

Owns the parser of paths such as `.spec.replicas`, `.status.conditions[?(@.type=="Ready")].status`,
`.metadata.labels['a/b']` and `.items[*].name`. A parsed path is a pure function from an object to the list of values
found, in order; nothing found is an empty list, never an error.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

Path = Callable[[Any], list[Any]]
_Step = Callable[[Any], Iterable[Any]]

_STEP = re.compile(
    r"""\.?(?:
        (?P<name>(?:[^.\[\]\\]|\\.)+)
      | \[\s*(?:
            (?P<index>-?\d+) | (?P<star>\*) | '(?P<single>[^']*)' | "(?P<double>[^"]*)"
          | \?\(\s*@\.(?P<key>[^=!<>\s]+)\s*(?P<op>==|!=)\s*(?P<value>"[^"]*"|'[^']*'|[^)\s]+)\s*\)
        )\s*\]
    )""",
    re.VERBOSE,
)


def parse_jsonpath(text: str) -> Path:
    """Return the path as a function. Raises ValueError, with the rest that cannot be read, on anything else."""
    rest = text.strip().removeprefix("{").removesuffix("}").removeprefix("$")
    steps: list[_Step] = []
    position = 0
    while position < len(rest) and rest[position:] != ".":
        match = _STEP.match(rest, position)
        if match is None:
            raise ValueError(f"unrecognized character in path {text!r}: {rest[position:]!r}")
        position = match.end()
        steps.append(_build_step(match))

    def find(value: Any) -> list[Any]:
        found = [value]
        for step in steps:
            found = [item for each in found for item in step(each)]
        return found

    return find


def split_simple_path(text: str) -> tuple[str, ...]:
    """Return the members that a plain path such as `.spec.replicas` names; the path is one that needs no search."""
    return tuple(re.sub(r"\\(.)", r"\1", part) for part in re.split(r"(?<!\\)\.", text.lstrip(".")))


def _build_step(match: re.Match[str]) -> _Step:
    if match["star"] or match["name"] == "*":
        return _all_items
    if match["index"] is not None:
        return _index_step(int(match["index"]))
    if match["key"] is not None:
        return _filter_step(match["key"].split("."), match["op"] == "==", _parse_literal(match["value"]))
    if match["name"] is not None:
        return _member_step(re.sub(r"\\(.)", r"\1", match["name"]))
    return _member_step(match["single"] if match["single"] is not None else match["double"])


def _all_items(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _member_step(name: str) -> _Step:
    return lambda value: (value[name],) if isinstance(value, dict) and name in value else ()


def _index_step(index: int) -> _Step:
    return lambda value: (value[index],) if isinstance(value, list) and -len(value) <= index < len(value) else ()


def _filter_step(path: list[str], wanted: bool, literal: Any) -> _Step:
    def is_match(item: Any) -> bool:
        for key in path:
            item = item.get(key) if isinstance(item, dict) else None
        return (item == literal) is wanted

    return lambda value: [item for item in value if is_match(item)] if isinstance(value, list) else ()


def _parse_literal(text: str) -> Any:
    if text[0] in "\"'":
        return text[1:-1]
    if text in ("true", "false"):
        return text == "true"
    return int(text) if re.fullmatch(r"-?\d+", text) else text
