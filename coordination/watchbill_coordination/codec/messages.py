"""Mailbox files as bytes: one header line, then one message a line.

Owns the format of a mailbox file and the grammar of its name. Invariant: `decode_file(encode_file(x)) == x`, and on any
other bytes `decode_file` raises `MalformedError` and nothing else: what an agent writes is hostile, so length, nesting,
numbers, text and the digest are checked before a value is built. Unknown members are ignored, since the other side may
be newer; unknown kinds are refused. Pure: opens no file, and never looks at who sent it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, get_args, get_origin, get_type_hints

from watchbill_coordination.core.messages import (
    MESSAGE_TYPES,
    Ack,
    Answer,
    Assign,
    Cancel,
    ChildEnded,
    Cleanup,
    Drain,
    Message,
)
from watchbill_coordination.core.specs import ReplicaName, TaskUid

VERSION = 1
MAX_INBOX_BYTES = 4 * 1024 * 1024  #: of a file from the operator; a prompt of 200,000 characters fits
MAX_OUTBOX_BYTES = 1024 * 1024  #: of a file from an agent
MAX_MESSAGES = 1024  #: in one file
MAX_TEXT = 300_000  #: characters of a text without a limit of its own
MAX_MEMBERS = 10_000  #: of one list or mapping
MAX_NUMBER = 2**53  #: every JSON reader agrees on integers below it
TEXT_LIMITS: Mapping[str, int] = {"incarnation": 300, "message": 4096, "outcome": 32, "reason": 64, "result": 4096}
FROM_OPERATOR: tuple[type[Message], ...] = (Ack, Answer, Assign, Cancel, ChildEnded, Cleanup, Drain)
OUTCOMES = ("Succeeded", "Failed", "Cancelled", "GivenBack")

_NAME = re.compile(r"(?P<number>[0-9]{20})-(?P<kind>[a-z]{1,32})-(?P<digest>[0-9a-f]{8})\.jsonl")
_UID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,252}")


class MalformedError(ValueError):
    """These bytes are no mailbox file. The message says why, in a sentence without the sender's text in full."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """First line of a mailbox file."""

    number: int  #: grows with each file of one sender
    agent: ReplicaName  #: whose mailbox; the folder, not this, says who sent it
    epoch: int = 0  #: operator → agent: fencing token of the writer
    read: int = 0  #: agent → operator: highest inbox number handled
    incarnation: str = ""  #: agent → operator


@dataclass(frozen=True, slots=True)
class MessageFile:
    """A whole mailbox file."""

    name: str
    header: Header
    messages: tuple[Message, ...]


def encode_file(header: Header, messages: Iterable[Message]) -> tuple[str, bytes]:
    """Return the name and the bytes of a mailbox file. At least one message."""
    batch = tuple(messages)
    body = b"".join(_line({"kind": type(m).__name__.lower(), **dataclasses.asdict(m)}) for m in batch)
    digest = hashlib.sha256(body).hexdigest()
    head = {"v": VERSION, "n": header.number, "agent": header.agent, "count": len(batch), "sha256": digest}
    if header.epoch:
        head["ep"] = header.epoch
    if header.incarnation:
        head |= {"read": header.read, "incarnation": header.incarnation}
    return f"{header.number:020d}-{type(batch[0]).__name__.lower()}-{digest[:8]}.jsonl", _line(head) + body


def parse_number(name: str) -> int | None:
    """Return the number in a mailbox file's name, or None when it is not such a name."""
    match = _NAME.fullmatch(name)
    return int(match["number"]) if match else None


def is_task_uid(text: str) -> bool:
    """Whether it can be a Task's uid: one path component without surprises."""
    return _UID.fullmatch(text) is not None


def decode_file(name: str, data: bytes, *, from_operator: bool) -> MessageFile:
    """Read a mailbox file; `from_operator` says which kinds may stand in it. Raises MalformedError."""
    match = _NAME.fullmatch(name)
    if match is None:
        raise MalformedError("its name is not that of a mailbox file")
    first, _, body = data.partition(b"\n")
    head = _parse_object(first)
    header = _parse_header(head)
    digest = hashlib.sha256(body).hexdigest()
    if head.get("sha256") != digest or match["digest"] != digest[:8]:
        raise MalformedError("its digest does not match its content")
    if header.number != int(match["number"]):
        raise MalformedError("header and name give different numbers")
    lines = body.split(b"\n", MAX_MESSAGES + 1)
    if lines.pop() or not 1 <= len(lines) <= MAX_MESSAGES or head.get("count") != len(lines):
        raise MalformedError(f"it does not hold the announced number of messages (1 to {MAX_MESSAGES})")
    messages = tuple(_parse_message(line, from_operator) for line in lines)
    return MessageFile(name, header, messages)


def _line(value: Mapping[str, Any]) -> bytes:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False, default=dict)
    return text.encode(errors="replace") + b"\n"  # a lone surrogate, which JSON can spell, is no Unicode


def _parse_object(line: bytes) -> dict[str, Any]:
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


def _parse_header(head: Mapping[str, Any]) -> Header:
    if head.get("v") != VERSION:
        raise MalformedError("its version is unknown")
    return Header(
        number=_whole(head.get("n")),
        agent=ReplicaName(_text(head.get("agent"), 300)),
        epoch=_whole(head.get("ep", 0)),
        read=_whole(head.get("read", 0)),
        incarnation=_text(head.get("incarnation", ""), TEXT_LIMITS["incarnation"]),
    )


def _parse_message(line: bytes, from_operator: bool) -> Message:
    value = _parse_object(line)
    kind = value.get("kind")
    cls = MESSAGE_TYPES.get(kind) if isinstance(kind, str) else None
    if cls is None or (cls in FROM_OPERATOR) is not from_operator:
        raise MalformedError("a message is of no kind that may stand here")
    fields = {}
    for name, (check, required) in _CHECKS[cls].items():
        if name in value:
            fields[name] = check(value[name])
        elif required:
            raise MalformedError(f"{kind} lacks {name}")
    return cls(**fields)


# Checks, one for each type that a field can have.


def _text(value: object, limit: int) -> str:
    if not isinstance(value, str) or len(value) > limit:
        raise MalformedError(f"a text is missing or longer than {limit} characters")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise MalformedError("a text is not Unicode") from None  # a lone surrogate would break every later writer
    return value


def _uid(value: object) -> TaskUid:
    text = _text(value, MAX_TEXT)
    if not is_task_uid(text):
        raise MalformedError("a task's uid is not one")
    return TaskUid(text)


def _whole(value: object) -> int:
    if type(value) is not int or not 0 <= value < MAX_NUMBER:
        raise MalformedError("a whole number is missing or out of range")
    return value


def _number(value: object) -> float:
    if type(value) not in (int, float) or not isinstance(value, int | float):
        raise MalformedError("a number is missing")
    if not math.isfinite(value) or abs(value) >= MAX_NUMBER:
        raise MalformedError("a number is out of range")
    return float(value)


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise MalformedError("a flag is neither true nor false")
    return value


def _outcome(value: object) -> str:
    if value not in OUTCOMES:
        raise MalformedError("an outcome is not one of " + ", ".join(OUTCOMES))
    return str(value)


def _anything(value: object) -> object:
    """Admit what the operator wrote: whatever the API server admitted."""
    return value


def _check_for(name: str, hint: Any) -> Callable[[Any], Any]:
    """Return the check for a field of that name and type."""
    if name == "outcome":
        return _outcome
    simple: dict[Any, Callable[[Any], Any]] = {TaskUid: _uid, int: _whole, float: _number, bool: _flag, Any: _anything}
    if hint in simple:
        return simple[hint]
    if hint is str:
        limit = TEXT_LIMITS.get(name, MAX_TEXT)
        return lambda value: _text(value, limit)
    arguments = get_args(hint)
    if type(None) in arguments:
        inner = _check_for(name, next(a for a in arguments if a is not type(None)))
        return lambda value: None if value is None else inner(value)
    is_list = get_origin(hint) is tuple
    return _collection_check(is_list, _check_for("", arguments[0 if is_list else -1]))


def _collection_check(is_list: bool, inner: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return the check for a list of, or a mapping from text to, what `inner` admits."""

    def check(value: object) -> object:
        if is_list and isinstance(value, list) and len(value) <= MAX_MEMBERS:
            return tuple(inner(member) for member in value)
        if not is_list and isinstance(value, dict) and len(value) <= MAX_MEMBERS:
            return {_text(key, MAX_TEXT): inner(member) for key, member in value.items()}
        raise MalformedError(f"a list or mapping is missing or has more than {MAX_MEMBERS} members")

    return check


def _checks(cls: type[Message]) -> dict[str, tuple[Callable[[Any], Any], bool]]:
    """Return for each field its check and whether it must be there."""
    hints = get_type_hints(cls)
    return {
        field.name: (
            _check_for(field.name, hints[field.name]),
            field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING,
        )
        for field in dataclasses.fields(cls)
    }


_CHECKS: Mapping[type[Message], Mapping[str, tuple[Callable[[Any], Any], bool]]] = {
    cls: _checks(cls) for cls in MESSAGE_TYPES.values()
}
