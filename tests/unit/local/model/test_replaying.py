"""The next answer follows from the conversation alone."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.model_sessions import Failed, add_turn, answer, build_request
from watchbill_local.model.conversation import parse_conversation
from watchbill_local.model.script import build_example

OVERVIEW = "# Overview of a folder\n- To read: /data/in put"
COUNTED = "/data/in put/a.py:10\n/data/in put/b.md:5\n\nFound 15 total occurrences across 2 files."
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
)


def test_the_same_request_gets_the_same_answer() -> None:
    """From any server at any time: there is no counter."""
    request = build_request(OVERVIEW)
    add_turn(request, [COUNTED])

    assert answer(request) == answer(copy.deepcopy(request))


def test_an_interrupted_turn_is_done_again() -> None:
    """A resumed session tells of the tool that was cut; its turn counts as not done."""
    fresh = build_request(OVERVIEW)
    resumed = build_request(OVERVIEW)
    add_turn(resumed, [Failed("Tool call interrupted; its outcome is unknown")])

    assert answer(resumed).blocks == answer(fresh).blocks


def test_results_belong_to_their_uses_whatever_their_order() -> None:
    """Tools that run at once end in any order."""
    request = build_request("# Review of the results\n- Result of the task one: /r/1\n- Result of the task two: /r/2")
    add_turn(request, ["/r/1/answer.md", "/r/2/answer.md"], turn=0)
    add_turn(request, ["1\t5 files", "1\tno figure"], turn=1)
    request["messages"][-1]["content"].reverse()

    said = "".join(block.get("text", "") for block in answer(request).blocks)
    assert "1 of 2 results" in said


def test_a_tool_that_is_not_there_ends_the_session_with_a_sentence() -> None:
    """Not with a call that Claude Code would refuse again and again."""
    reply = answer(build_request(OVERVIEW, tools=("Read",)))

    assert reply.stop_reason == "end_turn"
    assert "no tool Grep" in reply.blocks[0]["text"]


def test_an_unknown_prompt_is_told_what_this_model_is() -> None:
    """And what it was asked."""
    reply = answer(build_request("Write me a poem."))

    assert reply.stop_reason == "end_turn"
    assert "scripted model" in reply.blocks[0]["text"]
    assert "Write me a poem." in reply.blocks[0]["text"]


def test_an_unknown_prompt_with_a_schema_is_answered_in_its_form() -> None:
    """By the tool that takes the structured answer."""
    schema = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 3}}, "required": ["n"]}
    reply = answer(build_request("Count.", schema=schema))

    assert reply.blocks[-1]["name"] == "StructuredOutput"
    assert reply.blocks[-1]["input"] == {"n": 3}


def test_a_structured_answer_is_given_once() -> None:
    """After it was taken there is nothing left to do."""
    request = build_request("Count.", schema={"type": "object"})
    add_turn(request, ["Structured output provided successfully"])

    assert answer(request).stop_reason == "end_turn"


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"enum": ["b", "a"]}, "b"),
        ({"const": 4}, 4),
        ({"type": ["string", "null"], "minLength": 12}, "scripted...."),
        ({"type": "string", "maxLength": 3}, "scr"),
        ({"type": "array", "items": {"type": "boolean"}, "minItems": 2}, [False, False]),
        ({"type": "object", "properties": {"a": {"type": "null"}, "b": {"type": "number"}}}, {"a": None, "b": 0}),
    ],
)
def test_an_example_fits_its_schema(schema: dict[str, Any], value: object) -> None:
    """The plain ones."""
    assert build_example(schema) == value


def test_input_is_paid_once_and_then_comes_from_the_cache() -> None:
    """What a turn before has sent is read from the cache, as with the real model."""
    request = build_request(OVERVIEW)
    first = answer(request).usage
    add_turn(request, [COUNTED])
    second = answer(request).usage

    assert (first.cache_read, second.cache_read >= first.cache_written) == (0, True)
    assert 0 < second.cache_written < first.cache_written + 200


@given(st.dictionaries(st.sampled_from(["messages", "tools", "system", "model"]), JSON))
def test_reading_is_total(body: dict[str, Any]) -> None:
    """Whatever JSON object comes is a conversation."""
    assert parse_conversation(body).known_tokens >= 0


def test_a_reminder_of_the_client_is_no_prompt() -> None:
    """Claude Code puts its own words before the user's."""
    said = parse_conversation(build_request("<system-reminder>\nbe quiet\n</system-reminder>\nhello")).prompt

    assert said == "hello"


def test_paths_are_found_with_the_words_before_them() -> None:
    """With spaces where a colon or backticks hold them together."""
    prompt = "Your folder is /w/x; it is empty.\n- To read: /a b/c\n- see `/d e`, please"
    found = [(mention.words, mention.path) for mention in parse_conversation(build_request(prompt)).mentions]

    assert found == [("your folder is", "/w/x"), ("- to read", "/a b/c"), ("- see ", "/d e")]
