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
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from watchbill_coordination.codec.checks import (
    TEXT_LIMITS,
    MalformedError,
    check_text,
    check_whole,
    is_task_uid,
    list_checks,
    parse_object,
)
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
from watchbill_coordination.core.specs import ReplicaName

__all__ = ["Header", "MalformedError", "MessageFile", "decode_file", "encode_file", "is_task_uid", "parse_number"]

VERSION = 1
MAX_INBOX_BYTES = 4 * 1024 * 1024  #: of a file from the operator; a prompt of 200,000 characters fits
MAX_OUTBOX_BYTES = 1024 * 1024  #: of a file from an agent
MAX_MESSAGES = 1024  #: in one file
FROM_OPERATOR: tuple[type[Message], ...] = (Ack, Answer, Assign, Cancel, ChildEnded, Cleanup, Drain)

_NAME = re.compile(r"(?P<number>[0-9]{20})-(?P<kind>[a-z]{1,32})-(?P<digest>[0-9a-f]{8})\.jsonl")


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


def decode_file(name: str, data: bytes, *, from_operator: bool) -> MessageFile:
    """Read a mailbox file; `from_operator` says which kinds may stand in it. Raises MalformedError."""
    match = _NAME.fullmatch(name)
    if match is None:
        raise MalformedError("its name is not that of a mailbox file")
    first, _, body = data.partition(b"\n")
    head = parse_object(first)
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


def _parse_header(head: Mapping[str, Any]) -> Header:
    if head.get("v") != VERSION:
        raise MalformedError("its version is unknown")
    return Header(
        number=check_whole(head.get("n")),
        agent=ReplicaName(check_text(head.get("agent"), 300)),
        epoch=check_whole(head.get("ep", 0)),
        read=check_whole(head.get("read", 0)),
        incarnation=check_text(head.get("incarnation", ""), TEXT_LIMITS["incarnation"]),
    )


def _parse_message(line: bytes, from_operator: bool) -> Message:
    value = parse_object(line)
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


_CHECKS = {cls: list_checks(cls) for cls in MESSAGE_TYPES.values()}
