"""What a request's prompt is made of, as far as its bytes do not tell what it costs.

Owns the reading of a body: what lies elsewhere, what has no bound, and how many tokens it may be where nobody told.
Invariant: a body that two readers could read differently is not read at all; what a tool was called with is text, and
never taken for a picture or a document. Pure; never keeps or changes a body.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

BYTES_PER_TOKEN = 4  #: where a count has to be guessed
PICTURE_TOKENS = 5_000  #: likewise, whatever its bytes: a picture of 500 bytes can have 3,300
DOCUMENT_TOKENS = 200_000  #: of a PDF or of another server's tools, likewise
LARGEST_PROMPT = 1_000_000  #: tokens that a model takes: pictures and documents are never guessed to be more
#: of documents whose bytes bound what they cost; a picture of 500 bytes can have 3,300 tokens, a PDF far more
SOURCES_WITHIN = frozenset({"text", "content"})
SOURCES_SENT = SOURCES_WITHIN | {"base64"}  #: all others are fetched by the API


def parse_request(body: bytes) -> dict[str, Any] | None:
    """The request, or None where it is no object or can be read in several ways: the API may read what we do not."""
    try:
        asked = json.loads(body.decode(), object_pairs_hook=_build_object)
    except (ValueError, RecursionError):
        return None
    return asked if isinstance(asked, dict) else None


def reaches_out(asked: dict[str, Any]) -> bool:
    """Whether the prompt is more than the request's bytes: files, addresses, pictures, tools that run at the API."""
    tools = asked.get("tools")
    listed = tools if isinstance(tools, list) else []
    if any(isinstance(tool, dict) and tool.get("type") not in (None, "custom") for tool in listed):
        return True
    if asked.get("mcp_servers") or asked.get("container"):
        return True
    return any(_find_source(block) not in (None, *SOURCES_WITHIN) for block in _list_blocks(asked))


def lies_elsewhere(asked: dict[str, Any]) -> bool:
    """Whether the API would fetch a part of the prompt, by address or by a file's id."""
    return any(
        isinstance(block.get("file_id"), str) or _find_source(block) not in (None, *SOURCES_SENT)
        for block in _list_blocks(asked)
    )


def guess_tokens(asked: dict[str, Any] | None, request_bytes: int) -> int:
    """Tokens of a prompt that nobody counted; None is a request that could not be read, of which the bytes count."""
    if asked is None:
        return request_bytes // BYTES_PER_TOKEN
    seen = DOCUMENT_TOKENS if asked.get("mcp_servers") else 0
    text = request_bytes
    for block in _list_blocks(asked):
        if _find_source(block) in (None, *SOURCES_WITHIN):
            continue
        data = block["source"].get("data")
        text -= len(data) if isinstance(data, str) else 0
        seen += PICTURE_TOKENS if block.get("type") == "image" else DOCUMENT_TOKENS
    return max(0, text) // BYTES_PER_TOKEN + min(seen, LARGEST_PROMPT)


def _list_blocks(asked: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every object of the prompt, however deep, but for what a tool was called with."""
    waiting: list[object] = [asked.get("messages"), asked.get("system")]
    while waiting:
        part = waiting.pop()
        if isinstance(part, list):
            waiting.extend(part)
        elif isinstance(part, dict):
            yield part
            waiting.extend(value for name, value in part.items() if name != "input" and isinstance(value, list | dict))


def _find_source(block: dict[str, Any]) -> str | None:
    """How a picture's or a document's content is given; empty where that is not said, None where there is none."""
    source = block.get("source")
    return str(source.get("type") or "") if isinstance(source, dict) else None


def _build_object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """An object whose names are all different: of two that are equal, the API might take the other one."""
    built = dict(pairs)
    if len(built) != len(pairs):
        raise ValueError("a name stands twice")
    return built
