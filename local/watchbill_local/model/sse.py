"""One answer of a model as the Messages API sends it: a JSON message, or the same message as server-sent events.

Owns the shapes on the wire: `message_start … message_stop`, usage, errors. A message that is streamed and the same one
sent whole carry the same blocks, stop reason and usage. Decides nothing about what is said, and does no I/O.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Block = dict[str, Any]  #: one content block: text, or the use of a tool
TEXT_STEP = 24  #: characters of a text in one event
INPUT_STEP = 96  #: characters of a tool's input in one event


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one answer, as they are billed."""

    read: int = 100  #: input that no cache had
    written: int = 20  #: output
    cache_read: int = 0
    cache_written: int = 0


@dataclass(frozen=True, slots=True)
class Reply:
    """What the model says: its blocks in order, what they cost, and why it stopped."""

    blocks: Sequence[Block]
    usage: Usage = Usage()
    stop: str = ""  #: empty: `tool_use` where a tool is used, else `end_turn`

    @property
    def stop_reason(self) -> str:
        """The stop reason as the API says it."""
        return self.stop or ("tool_use" if any(block["type"] == "tool_use" for block in self.blocks) else "end_turn")


def build_text(said: str) -> Block:
    """A block of text."""
    return {"type": "text", "text": said}


def build_use(name: str, arguments: Mapping[str, Any]) -> Block:
    """A block that uses a tool; the message gives it an id."""
    return {"type": "tool_use", "name": name, "input": dict(arguments)}


def build_message(reply: Reply, *, model: str, message: str) -> dict[str, Any]:
    """The whole message. `message` is its id; the ids of its tool uses follow from it."""
    blocks = [
        {**block, "id": f"toolu_{message.removeprefix('msg_')}_{number}"} if block["type"] == "tool_use" else block
        for number, block in enumerate(reply.blocks)
    ]
    return {
        "id": message,
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": blocks,
        "stop_reason": reply.stop_reason,
        "stop_sequence": None,
        "usage": build_usage(reply.usage),
    }


def parse_turn(use: str) -> str:
    """What the ids of all tool uses of one message have in common."""
    return use.rpartition("_")[0]


def build_usage(usage: Usage) -> dict[str, Any]:
    """The `usage` member of a message."""
    return {
        "input_tokens": usage.read,
        "cache_creation_input_tokens": usage.cache_written,
        "cache_read_input_tokens": usage.cache_read,
        "cache_creation": {"ephemeral_5m_input_tokens": usage.cache_written, "ephemeral_1h_input_tokens": 0},
        "output_tokens": usage.written,
        "service_tier": "standard",
    }


def build_error(kind: str, said: str, *, request: str = "") -> dict[str, Any]:
    """The body of an error; `request` is the request's id."""
    return {"type": "error", "error": {"type": kind, "message": said}, "request_id": request or None}


def build_events(message: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The message as the events that stream it, in order."""
    empty = {**message, "content": [], "stop_reason": None, "usage": {**message["usage"], "output_tokens": 1}}
    yield {"type": "message_start", "message": empty}
    for index, block in enumerate(message["content"]):
        yield from _build_block_events(index, block)
    end = {"stop_reason": message["stop_reason"], "stop_sequence": None}
    yield {"type": "message_delta", "delta": end, "usage": message["usage"]}
    yield {"type": "message_stop"}


def encode_event(event: Mapping[str, Any]) -> bytes:
    """One event as it stands in the stream."""
    return f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()


def _build_block_events(index: int, block: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    is_text = block["type"] == "text"
    whole = block["text"] if is_text else json.dumps(block["input"])
    member, kind, step = (
        ("text", "text_delta", TEXT_STEP) if is_text else ("partial_json", "input_json_delta", INPUT_STEP)
    )
    empty = {**block, "text": ""} if is_text else {**block, "input": {}}
    yield {"type": "content_block_start", "index": index, "content_block": empty}
    for at in range(0, len(whole), step):
        delta = {"type": kind, member: whole[at : at + step]}
        yield {"type": "content_block_delta", "index": index, "delta": delta}
    yield {"type": "content_block_stop", "index": index}
