"""What may stand in a mailbox message: checks by the name and type of each field.

Owns the bounds on length, nesting, numbers and text. Invariant: a check returns a value of its field's type, or raises
MalformedError and nothing else, whatever an agent wrote. Pure; knows no kind of message but through its fields.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Callable, Mapping
from typing import Any, get_args, get_origin, get_type_hints

from watchbill_coordination.core.messages import Message
from watchbill_coordination.core.specs import TaskUid

Check = Callable[[Any], Any]

MAX_TEXT = 300_000  #: characters of a text without a limit of its own
MAX_MEMBERS = 10_000  #: of one list or mapping
MAX_NUMBER = 2**53  #: every JSON reader agrees on integers below it
MAX_DEPTH = 16  #: of lists and mappings in each other, in what an agent may shape freely
MAX_VALUES = 2_000  #: in all of that
TEXT_LIMITS: Mapping[str, int] = {
    "incarnation": 300,
    "message": 4096,
    "name": 1024,  #: of a lock or a Task; what is no good name is answered by the rules, so that its sender learns why
    "outcome": 32,
    "phase": 32,
    "reason": 64,
    "result": 4096,
    "text": 2048,
    "uid": 253,
}
OUTCOMES = ("Succeeded", "Failed", "Cancelled", "GivenBack")

_UID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,252}")


class MalformedError(ValueError):
    """These bytes are no mailbox file. The message says why, in a sentence without the sender's text in full."""


def is_task_uid(text: str) -> bool:
    """Whether it can be a Task's uid: one path component without surprises."""
    return _UID.fullmatch(text) is not None


def parse_object(line: bytes) -> dict[str, Any]:
    """Read one line of JSON that is an object with unique names and finite numbers."""
    try:
        value = json.loads(line, object_pairs_hook=_unique, parse_constant=_no_constant)
        line.decode()  # json.loads would also take UTF-16
    except MalformedError:
        raise
    except (ValueError, RecursionError) as error:
        raise MalformedError(f"a line is not JSON: {type(error).__name__}") from None
    if not isinstance(value, dict):
        raise MalformedError("a line is not a JSON object")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise MalformedError("an object names a member twice")
    return value


def _no_constant(text: str) -> float:
    raise MalformedError(f"{text} is not a number")


def check_text(value: object, limit: int) -> str:
    """A text of at most so many characters."""
    if not isinstance(value, str) or len(value) > limit:
        raise MalformedError(f"a text is missing or longer than {limit} characters")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise MalformedError("a text is not Unicode") from None  # a lone surrogate would break every later writer
    return value


def check_uid(value: object) -> TaskUid:
    """A Task's uid."""
    text = check_text(value, MAX_TEXT)
    if not is_task_uid(text):
        raise MalformedError("a task's uid is not one")
    return TaskUid(text)


def check_whole(value: object) -> int:
    """A whole number from 0."""
    if type(value) is not int or not 0 <= value < MAX_NUMBER:
        raise MalformedError("a whole number is missing or out of range")
    return value


def check_number(value: object) -> float:
    """A finite number."""
    if type(value) not in (int, float) or not isinstance(value, int | float):
        raise MalformedError("a number is missing")
    if not math.isfinite(value) or abs(value) >= MAX_NUMBER:
        raise MalformedError("a number is out of range")
    return float(value)


def check_flag(value: object) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise MalformedError("a flag is neither true nor false")
    return value


def check_outcome(value: object) -> str:
    """How an attempt can end."""
    if value not in OUTCOMES:
        raise MalformedError("an outcome is not one of " + ", ".join(OUTCOMES))
    return str(value)


def check_percent(value: object) -> int:
    """A whole number from 0 to 100."""
    if check_whole(value) > 100:
        raise MalformedError("a percentage is over 100")
    return check_whole(value)


def check_shape(value: object) -> dict[str, Any]:
    """An object that an agent shaped as it liked, bounded in depth, members, numbers and text."""
    if not isinstance(value, dict):
        raise MalformedError("an object is missing")
    pending: list[tuple[object, int]] = [(value, 1)]
    seen = 0
    while pending:
        item, depth = pending.pop()
        members = _list_members(item)
        seen += 1 + len(members)
        if depth > MAX_DEPTH or seen > MAX_VALUES:
            raise MalformedError(f"an object is nested deeper than {MAX_DEPTH} or has more than {MAX_VALUES} values")
        pending += [(member, depth + 1) for member in members]
    return value


def _list_members(item: object) -> list[object]:
    """What a list or an object holds; anything else holds nothing, and is checked here."""
    if isinstance(item, list):
        return item
    if isinstance(item, dict):
        return [check_text(key, MAX_TEXT) for key in item] + list(item.values())
    if isinstance(item, str):
        check_text(item, MAX_TEXT)
    elif item is not None and not isinstance(item, bool):
        check_number(item)
    return []


def _anything(value: object) -> object:
    """Admit what the operator wrote: whatever the API server admitted."""
    return value


_BY_TYPE: Mapping[Any, Check] = {
    TaskUid: check_uid,
    int: check_whole,
    float: check_number,
    bool: check_flag,
    Any: _anything,
}
_BY_NAME: Mapping[str, Check] = {"outcome": check_outcome, "percent": check_percent, "spec": check_shape}


def _check_for(name: str, hint: Any) -> Check:
    """Return the check for a field of that name and type."""
    if type(None) in get_args(hint):
        inner = _check_for(name, next(member for member in get_args(hint) if member is not type(None)))
        return lambda value: None if value is None else inner(value)
    if name in _BY_NAME:
        return _BY_NAME[name]
    if hint in _BY_TYPE:
        return _BY_TYPE[hint]
    if hint is str:
        limit = TEXT_LIMITS.get(name, MAX_TEXT)
        return lambda value: check_text(value, limit)
    is_list = get_origin(hint) is tuple
    return _collection_check(is_list, _check_for("", get_args(hint)[0 if is_list else -1]))


def _collection_check(is_list: bool, inner: Check) -> Check:
    """Return the check for a list of, or a mapping from text to, what `inner` admits."""

    def check(value: object) -> object:
        if is_list and isinstance(value, list) and len(value) <= MAX_MEMBERS:
            return tuple(inner(member) for member in value)
        if not is_list and isinstance(value, dict) and len(value) <= MAX_MEMBERS:
            return {check_text(key, MAX_TEXT): inner(member) for key, member in value.items()}
        raise MalformedError(f"a list or mapping is missing or has more than {MAX_MEMBERS} members")

    return check


def list_checks(cls: type[Message]) -> dict[str, tuple[Check, bool]]:
    """Return for each field of that kind of message its check and whether it must be there."""
    hints = get_type_hints(cls)
    return {
        field.name: (
            _check_for(field.name, hints[field.name]),
            field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING,
        )
        for field in dataclasses.fields(cls)
    }
