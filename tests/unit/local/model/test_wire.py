"""One answer, whole and as a stream."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from watchbill_local.model.sse import (
    Block,
    Reply,
    Usage,
    build_error,
    build_events,
    build_message,
    build_text,
    build_use,
    encode_event,
    parse_turn,
)

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.dictionaries(st.text(), inner, max_size=3)
)
TEXTS = st.builds(build_text, st.text(max_size=200))
USES = st.builds(build_use, st.sampled_from(["Bash", "Read"]), st.dictionaries(st.text(), VALUES, max_size=4))


def assemble(events: list[dict[str, Any]]) -> dict[str, Any]:
    """What a client makes of a stream."""
    message: dict[str, Any] = {}
    parts: dict[int, str] = {}
    for event in events:
        if event["type"] == "message_start":
            message = {**event["message"], "content": []}
        elif event["type"] == "content_block_start":
            message["content"].append(dict(event["content_block"]))
            parts[event["index"]] = ""
        elif event["type"] == "content_block_delta":
            parts[event["index"]] += event["delta"].get("text", "") + event["delta"].get("partial_json", "")
        elif event["type"] == "message_delta":
            message |= event["delta"] | {"usage": event["usage"]}
    for index, block in enumerate(message["content"]):
        block |= {"text": parts[index]} if block["type"] == "text" else {"input": json.loads(parts[index])}
    return message


@given(st.lists(TEXTS | USES, max_size=4))
def test_a_stream_says_what_the_whole_message_says(blocks: list[Block]) -> None:
    """Blocks, stop reason, usage and ids."""
    message = build_message(Reply(blocks, Usage(7, 9, 11, 13)), model="m", message="msg_1")

    assert assemble(list(build_events(message))) == message


def test_a_tool_makes_the_turn_go_on() -> None:
    """The stop reason follows from the blocks unless it is given."""
    used = Reply((build_text("Now"), build_use("Bash", {})))

    assert used.stop_reason == "tool_use"
    assert Reply((build_text("Done"),)).stop_reason == "end_turn"
    assert Reply((build_text("Cut"),), stop="max_tokens").stop_reason == "max_tokens"


def test_the_uses_of_one_message_belong_together() -> None:
    """Their ids differ, and say which message they are from."""
    first = build_message(Reply((build_use("A", {}), build_use("B", {}))), model="m", message="msg_1")
    second = build_message(Reply((build_use("A", {}),)), model="m", message="msg_2")
    ids = [block["id"] for message in (first, second) for block in message["content"]]

    assert len(set(ids)) == 3
    assert [parse_turn(use) for use in ids] == [parse_turn(ids[0])] * 2 + [parse_turn(ids[2])]


def test_an_event_is_named_before_its_data() -> None:
    """As server-sent events are written."""
    assert encode_event({"type": "message_stop"}) == b'event: message_stop\ndata: {"type": "message_stop"}\n\n'


def test_an_error_carries_type_and_message() -> None:
    """In the member `error`."""
    assert build_error("overloaded_error", "later")["error"] == {"type": "overloaded_error", "message": "later"}
