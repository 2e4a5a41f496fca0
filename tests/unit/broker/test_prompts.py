"""What a request's prompt is made of, where its bytes do not tell what it costs."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchbill_broker.prompts import guess_tokens, lies_elsewhere, parse_request, reaches_out

PICTURE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "A" * 500}}
PDF = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "A" * 500}}
BY_ADDRESS = {"type": "document", "source": {"type": "url", "url": "https://x/a.pdf"}}
BY_FILE = {"type": "image", "source": {"type": "file", "file_id": "file_1"}}


def ask(*blocks: Any, **more: Any) -> dict[str, Any]:
    """A request with these content blocks."""
    return {"model": "m", "messages": [{"role": "user", "content": list(blocks)}], **more}


def within(*blocks: Any) -> dict[str, Any]:
    """The blocks as a tool's result."""
    return {"type": "tool_result", "tool_use_id": "t", "content": list(blocks)}


@pytest.mark.parametrize(
    "asked",
    [
        ask(BY_ADDRESS),
        ask(BY_FILE),
        ask(within(BY_ADDRESS)),
        ask(within(within({"type": "text", "text": "a"}, BY_FILE))),
        ask({"type": "document", "source": {"type": "content", "content": [BY_ADDRESS]}}),
        ask({"type": "container_upload", "file_id": "file_1"}),
        ask({"type": "document", "source": {"type": "tomorrow"}}),
        ask({"type": "document", "source": {}}),
        ask(system=[BY_ADDRESS]),
    ],
    ids=range(9),
)
def test_a_prompt_that_lies_elsewhere_is_noticed(asked: dict[str, Any]) -> None:
    """By address or by file, however deep."""
    assert lies_elsewhere(asked)


@pytest.mark.parametrize(
    "asked",
    [
        ask(PICTURE, PDF, within(PICTURE)),
        ask({"type": "document", "source": {"type": "text", "data": "a"}}),
        ask({"type": "tool_use", "id": "t", "name": "Fetch", "input": {"source": {"type": "url"}, "file_id": "f"}}),
        ask({"type": "text", "text": "a", "citations": [{"type": "char_location", "file_id": None}]}),
        ask({"type": "search_result", "source": "https://x", "content": [{"type": "text", "text": "a"}]}),
        ask(tools=[{"name": "Fetch", "input_schema": {"properties": {"source": {"type": "url"}}}}]),
        {"messages": "none"},
        {},
    ],
    ids=range(8),
)
def test_a_prompt_that_the_request_holds_passes(asked: dict[str, Any]) -> None:
    """Text that looks like an address of a document is text."""
    assert not lies_elsewhere(asked)


@pytest.mark.parametrize(
    ("asked", "tokens"),
    [
        (ask(PICTURE), 5_000),
        (ask(PICTURE, within(PICTURE)), 10_000),
        (ask(PDF), 200_000),
        (ask(BY_ADDRESS), 200_000),
        (ask(mcp_servers=[{"type": "url", "url": "https://x"}]), 200_000),
        (ask(*[PDF] * 50), 1_000_000),
    ],
    ids=range(6),
)
def test_a_picture_and_a_document_count_as_what_they_may_be(asked: dict[str, Any], tokens: int) -> None:
    """Their bytes tell little; the text around them counts by its bytes."""
    body = json.dumps(asked)

    assert guess_tokens(asked, len(body)) == (len(body) - body.count("A" * 500) * 500) // 4 + tokens


def test_a_request_that_cannot_be_read_counts_by_its_bytes() -> None:
    """Four of them are a token."""
    assert guess_tokens(None, 4000) == 1000


JSON = st.recursive(
    st.none() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["type", "source", "content", "data", "file_id", "input"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(content=JSON)
def test_no_content_stops_the_reading(content: Any) -> None:
    """And what lies elsewhere has no bound, and is never guessed to be nothing."""
    asked = parse_request(json.dumps({"messages": content, "system": content}).encode())

    assert asked is not None
    assert guess_tokens(asked, 0) >= 0
    assert lies_elsewhere(asked) <= (reaches_out(asked) or "file_id" in json.dumps(content))
