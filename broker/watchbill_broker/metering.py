"""What an answer of the model used, read while it passes.

Owns the forms in which the API tells usage: server-sent events and one JSON document. Bedrock's event stream is in
`event_stream`. Invariant: the memory used does not grow with a streamed answer; what is counted never falls while more
is read. Never changes, delays or keeps what passes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from watchbill_broker.prompts import BYTES_PER_TOKEN

LONGEST_LINE = 256 * 1024  #: of an event that is read; longer ones are only counted
LONGEST_DOCUMENT = 4 * 1024 * 1024
TOKENS_PER_SECOND = 100  #: of a model that writes, likewise
EVENT_OVERHEAD = 90  #: bytes of a delta event around its text


@dataclass(slots=True)
class Told:
    """What an answer has told of itself so far."""

    model: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_5m_tokens: int = 0
    cache_write_1h_tokens: int = 0
    web_searches: int = 0
    speed: str = ""  #: `fast` costs more
    geo: str = ""  #: `us` costs more
    began: bool = False  #: input was told
    ended: bool = False  #: output is final
    content_bytes: int = 0  #: of text that passed, to guess output that was never told

    @property
    def cache_write_tokens(self) -> int:
        """Both kinds of cache writes."""
        return self.cache_write_5m_tokens + self.cache_write_1h_tokens

    def add_usage(self, usage: Mapping[str, Any]) -> None:
        """Take in a `usage` object. Counts are cumulative, so that the larger one holds."""
        rounds = usage.get("iterations")
        parts = [part for part in rounds if isinstance(part, dict)] if isinstance(rounds, list) else []
        for part in (usage, _sum_up(parts)):
            self._take_larger(part)
        tools = usage.get("server_tool_use")
        if isinstance(tools, dict):
            self.web_searches = max(self.web_searches, _count(tools, "web_search_requests"))
        self.speed = str(usage.get("speed") or self.speed)[:32]
        self.geo = str(usage.get("inference_geo") or self.geo)[:32]

    def _take_larger(self, usage: Mapping[str, Any]) -> None:
        self.input_tokens = max(self.input_tokens, _count(usage, "input_tokens"))
        self.output_tokens = max(self.output_tokens, _count(usage, "output_tokens"))
        self.cache_read_tokens = max(self.cache_read_tokens, _count(usage, "cache_read_input_tokens"))
        kinds = usage.get("cache_creation")
        long = _count(kinds, "ephemeral_1h_input_tokens") if isinstance(kinds, dict) else 0
        self.cache_write_1h_tokens = max(self.cache_write_1h_tokens, long)
        short = _count(usage, "cache_creation_input_tokens") - self.cache_write_1h_tokens
        self.cache_write_5m_tokens = max(self.cache_write_5m_tokens, short)

    def guess_missing(self, prompt_tokens: int, seconds: float) -> bool:
        """Put guesses where an answer was cut before it told; returns whether anything had to be guessed.

        `prompt_tokens` is what the request may have had. `seconds` is how long the model worked on it: what it thinks
        is paid for, and passes in no text.
        """
        if self.ended:
            return False
        if not self.began:
            self.input_tokens = max(self.input_tokens, prompt_tokens)
        written = self.content_bytes // BYTES_PER_TOKEN
        self.output_tokens = max(self.output_tokens, written, int(seconds * TOKENS_PER_SECOND))
        return True


class Meter(Protocol):
    """Reads an answer's body piece by piece."""

    told: Told

    def feed(self, data: bytes) -> None:
        """Take in the next bytes."""


class EventMeter:
    """Reads `text/event-stream`."""

    def __init__(self) -> None:
        """Nothing is told yet."""
        self.told = Told()
        self._rest = b""
        self._skips = False  #: within a line that is too long

    def feed(self, data: bytes) -> None:
        """Take in the next bytes; whole lines are read, the last part waits."""
        *lines, rest = (self._rest + data).split(b"\n")
        for line in lines:
            if self._skips:
                self.told.content_bytes += len(line)
                self._skips = False
            elif line.startswith(b"data:"):
                read_event(self.told, line[5:].strip())
        if self._skips or len(rest) > LONGEST_LINE:
            self.told.content_bytes += len(rest)
            self._skips, rest = True, b""
        self._rest = rest


class DocumentMeter:
    """Reads one JSON document, up to LONGEST_DOCUMENT; of a longer one the bytes are counted."""

    def __init__(self) -> None:
        """Nothing is told yet."""
        self.told = Told()
        self._parts: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> None:
        """Take in the next bytes; the document is read as soon as it is whole."""
        self._size += len(data)
        self.told.content_bytes = self._size
        if self._size > LONGEST_DOCUMENT:
            self._parts.clear()
            return
        self._parts.append(data)
        if not data.rstrip().endswith(b"}"):
            return
        try:
            document = json.loads(b"".join(self._parts))
        except (ValueError, RecursionError):
            return
        if isinstance(document, dict) and isinstance(document.get("usage"), dict):
            self.told.model = str(document.get("model") or "")[:200]
            self.told.add_usage(document["usage"])
            self.told.began = self.told.ended = True


def read_event(told: Told, data: bytes) -> None:
    """Take in one event's JSON."""
    if b'"message_start"' not in data and b'"message_delta"' not in data:
        if b'"content_block_delta"' in data:
            told.content_bytes += max(1, len(data) - EVENT_OVERHEAD)
        return
    try:
        event = json.loads(data)
    except (ValueError, RecursionError):
        return
    if not isinstance(event, dict):
        return
    if event.get("type") == "message_start" and isinstance(event.get("message"), dict):
        message = event["message"]
        told.model = str(message.get("model") or "")[:200]
        told.add_usage(message["usage"] if isinstance(message.get("usage"), dict) else {})
        told.began = True
    elif event.get("type") == "message_delta":
        told.add_usage(event["usage"] if isinstance(event.get("usage"), dict) else {})
        told.ended = told.began and isinstance(event.get("usage"), dict)
    else:
        told.content_bytes += max(1, len(data) - EVENT_OVERHEAD)


def _count(usage: Mapping[str, Any], name: str) -> int:
    value = usage.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**40 else 0


def _sum_up(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """One usage of several rounds within an answer, such as a compaction before it."""
    names = ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    return {name: sum(_count(part, name) for part in parts) for name in names}
