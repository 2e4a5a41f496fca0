"""The part of JSONPath that CRDs use: printer columns, scale paths, selectable fields.

Owns the parser of paths such as `.spec.replicas`, `.status.conditions[?(@.type=="Ready")].status`,
`.metadata.labels['a/b']` and `.items[*].name`. A parsed path is a pure function from an object to the list of values
found, in order; nothing found is an empty list, never an error.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable
from typing import Any

from watchbill_local.server.values import dig

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

    return lambda value: functools.reduce(_take, steps, [value])


def split_simple_path(text: str) -> tuple[str, ...]:
    """Return the members that a plain path such as `.spec.replicas` names; the path is one that needs no search."""
    return tuple(re.sub(r"\\(.)", r"\1", part) for part in re.split(r"(?<!\\)\.", text.lstrip(".")))


def _take(found: list[Any], step: _Step) -> list[Any]:
    return [item for each in found for item in step(each)]


def _build_step(match: re.Match[str]) -> _Step:
    if match["star"] or match["name"] == "*":
        return lambda value: value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    if match["index"]:
        index = int(match["index"])
        return lambda value: value[index : index + 1 or None] if isinstance(value, list) else ()
    if match["key"]:
        path, wanted, literal = match["key"].split("."), match["op"] == "==", _parse_literal(match["value"])
        return lambda value: (
            [item for item in value if (dig(item, *path) == literal) is wanted] if isinstance(value, list) else ()
        )
    quoted = match["single"] if match["double"] is None else match["double"]
    name = quoted if match["name"] is None else re.sub(r"\\(.)", r"\1", match["name"])
    return lambda value: (value[name],) if isinstance(value, dict) and name in value else ()


def _parse_literal(text: str) -> Any:
    if text[0] in "\"'":
        return text[1:-1]
    return {"true": True, "false": False}.get(text, int(text) if re.fullmatch(r"-?\d+", text) else text)
