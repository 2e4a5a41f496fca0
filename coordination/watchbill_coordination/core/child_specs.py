"""What an agent may ask of a Task of its own making.

Owns the list of members that such a spec may have, and their bounds: those of the Task schema or narrower, so that the
API server admits what is built here. A submitted Task has no command, locks nothing, is not more urgent than its
parent, and waits only for what its parent knows. Pure; a refusal is a sentence that a model can act on.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from watchbill_coordination.core.requests import clean_line
from watchbill_coordination.core.state import TaskState

MAX_PROMPT = 200_000  #: characters
MAX_TIMEOUT = 604_800  #: seconds
MAX_ITEMS = 64  #: of `context` and of `dependsOn`
MAX_SCHEMA = 65_536  #: characters of an `outputSchema` as JSON
MAX_NESTING = 32  #: of an `outputSchema`
MAX_INTEGER = 2**53  #: in an `outputSchema`
LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
PATH = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*")
ROUTE_LIMITS: Mapping[str, int] = {"type": 63, "role": 63, "agentRef": 52}
NOT_FOR_AGENTS = ("command", "locks", "cancel", "suspend")


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why such a spec is not acceptable: the member and what to give instead."""

    message: str


class _RefusedError(Exception):
    """A member is not acceptable; turned into a `Refusal` here."""


def build_child_spec(said: Mapping[str, Any], parent: TaskState) -> dict[str, Any] | Refusal:
    """Return the spec in its API form: checked, without members that say nothing, and with the parent's defaults."""
    try:
        for member in said:
            _check_member(member)
        spec = {member: _CHECKS[member](value) for member, value in said.items() if value not in (None, "", [], {})}
        return _fill(spec, parent)
    except _RefusedError as error:
        return Refusal(str(error))


def _fill(spec: dict[str, Any], parent: TaskState) -> dict[str, Any]:
    """Add what the parent decides."""
    if "prompt" not in spec:
        raise _RefusedError("prompt: it is missing. Give the work in words.")
    if "role" in spec and "agentRef" in spec:
        raise _RefusedError("role, agentRef: give one of them, not both.")
    if not spec.keys() & ROUTE_LIMITS.keys():
        agent_ref, role, task_type = parent.spec.route
        wanted = {"agentRef": agent_ref, "role": role, "type": task_type}
        spec |= {member: value for member, value in wanted.items() if value}
    known = {*parent.spec.depends_on, *parent.children}
    for name in spec.get("dependsOn", ()):
        if name not in known:
            listed = f"it may name: {', '.join(sorted(known)[:MAX_ITEMS])}" if known else "leave it out"
            raise _RefusedError(
                f"dependsOn: {clean_line(name, 100)} is no Task that this one depends on or submitted; {listed}."
            )
    return {**spec, "priority": min(spec.get("priority", parent.priority), parent.priority)}


def _check_member(member: str) -> None:
    if member in _CHECKS:
        return
    shown = clean_line(member, 64)
    why = "an agent cannot set it" if member in NOT_FOR_AGENTS else "there is no such member"
    raise _RefusedError(f"{shown}: {why}. Leave it out; there are: {', '.join(_CHECKS)}.")


def _check_prompt(value: object) -> str:
    if not isinstance(value, str) or len(value) > MAX_PROMPT or not _is_unicode(value):
        raise _RefusedError(f"prompt: give a text of 1 to {MAX_PROMPT:,} characters; longer texts go as context.")
    return value


def _label_check(member: str) -> Callable[[object], str]:
    """Return the check of a member that names a type, a role or an Agent."""

    def check(value: object) -> str:
        if not isinstance(value, str) or len(value) > ROUTE_LIMITS[member] or not LABEL.fullmatch(value):
            limit = ROUTE_LIMITS[member]
            raise _RefusedError(f"{member}: give lower-case letters, digits and dashes, at most {limit} characters.")
        return value

    return check


def _number_check(member: str, low: int, high: int) -> Callable[[object], int]:
    """Return the check of a member that is a whole number within bounds."""

    def check(value: object) -> int:
        whole = int(value) if isinstance(value, float) and value.is_integer() else value
        if isinstance(whole, bool) or not isinstance(whole, int) or not low <= whole <= high:
            raise _RefusedError(f"{member}: give a whole number from {low} to {high}.")
        return whole

    return check


def _list_check(member: str, pattern: re.Pattern[str], limit: int) -> Callable[[object], list[str]]:
    """Return the check of a member that is a list of different names."""

    def check(value: object) -> list[str]:
        if not isinstance(value, list | tuple) or len(value) > MAX_ITEMS:
            raise _RefusedError(f"{member}: give a list of at most {MAX_ITEMS} names.")
        for item in value:
            if not isinstance(item, str) or len(item) > limit or not pattern.fullmatch(item):
                shown = clean_line(item if isinstance(item, str) else repr(item)[:200], 100)
                raise _RefusedError(f"{member}: {shown} is not one; a member has at most {limit} characters.")
        return list(dict.fromkeys(value))

    return check


def _check_schema(value: object) -> dict[str, Any]:
    """A JSON schema, as far as its size and what a log can hold: what it means is for the model's API to say."""
    schema: dict[str, Any] | None = None
    if isinstance(value, Mapping) and _depth(value) <= MAX_NESTING:
        try:
            encoded = json.dumps(value, allow_nan=False, ensure_ascii=False, default=dict)
            encoded.encode()
            schema = json.loads(encoded, parse_int=_parse_integer) if len(encoded) <= MAX_SCHEMA else None
        except (TypeError, ValueError):
            schema = None
    if schema is None:
        raise _RefusedError(f"outputSchema: give a JSON schema, an object of at most {MAX_SCHEMA:,} characters.")
    return schema


def _parse_integer(digits: str) -> int:
    """An integer that every reader of JSON can hold. ValueError for others."""
    number = int(digits)
    if abs(number) > MAX_INTEGER:
        raise ValueError("an integer is too large")
    return number


def _depth(value: object) -> int:
    """How deep objects and lists are nested, counted to one more than the limit at most."""
    level: list[object] = [value]
    for depth in range(MAX_NESTING + 2):
        inner = [item for item in level if isinstance(item, Mapping | list | tuple)]
        if not inner:
            return depth
        level = [member for item in inner for member in (item.values() if isinstance(item, Mapping) else item)]
    return MAX_NESTING + 2


def _is_unicode(text: str) -> bool:
    """Whether no half of a surrogate pair stands in it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


_DEPENDENCY = re.compile(rf"{LABEL.pattern}(\.{LABEL.pattern})*")
_CHECKS: Mapping[str, Callable[[object], Any]] = {
    "prompt": _check_prompt,
    "type": _label_check("type"),
    "role": _label_check("role"),
    "agentRef": _label_check("agentRef"),
    "priority": _number_check("priority", 0, 1000),
    "timeoutSeconds": _number_check("timeoutSeconds", 1, MAX_TIMEOUT),
    "context": _list_check("context", PATH, 512),
    "dependsOn": _list_check("dependsOn", _DEPENDENCY, 253),
    "outputSchema": _check_schema,
}
