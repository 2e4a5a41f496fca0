"""What an answer used, read out of its bytes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.raw_upstream import begins, encode, ends, frame, says
from watchbill_broker.event_stream import FrameMeter
from watchbill_broker.metering import LONGEST_DOCUMENT, LONGEST_LINE, DocumentMeter, EventMeter, Meter, Told

EVENTS = [begins(1000, cache_read_input_tokens=7), says('a "message_delta" in a text\n'), ends(55)]
STREAM = b"".join(encode(event) for event in EVENTS)


FRAMES = b"".join(frame(event) for event in EVENTS)


def feed(meter: Meter, data: bytes, cuts: list[int]) -> Told:
    """Feed the bytes in pieces that end at the cuts."""
    ends_at = sorted({cut % len(data) for cut in cuts} | {len(data)})
    start = 0
    for end in ends_at:
        meter.feed(data[start:end])
        start = end
    return meter.told


@given(cuts=st.lists(st.integers(min_value=0)))
def test_a_stream_tells_the_same_however_it_is_split(cuts: list[int]) -> None:
    """Pieces of TCP know nothing of events."""
    told = feed(EventMeter(), STREAM, cuts)

    assert (told.model, told.input_tokens, told.cache_read_tokens, told.output_tokens) == (
        "claude-opus-5-5",
        1000,
        7,
        55,
    )
    assert told.ended


@given(cuts=st.lists(st.integers(min_value=0)))
def test_bedrocks_frames_tell_the_same_as_the_events_in_them(cuts: list[int]) -> None:
    """Only the wrapping differs."""
    assert feed(FrameMeter(), FRAMES, cuts) == feed(EventMeter(), STREAM, [])


@pytest.mark.parametrize("odd", [5, "abc", {"input_tokens": 1}, [5, None]])
def test_rounds_that_are_none_stop_no_meter(odd: object) -> None:
    """What an answer tells is taken as far as it makes sense."""
    told = Told()

    told.add_usage({"input_tokens": 10, "iterations": odd})

    assert told.input_tokens == 10


@given(data=st.binary(max_size=2000))
@pytest.mark.parametrize("meter", [EventMeter, DocumentMeter, FrameMeter])
def test_no_bytes_stop_a_meter(meter: type[Meter], data: bytes) -> None:
    """What is not understood passes; it is never an error."""
    told = feed(meter(), data + b"\n", [len(data) // 2])

    assert not told.ended


def test_a_document_tells_its_usage_once_it_is_whole() -> None:
    """Braces within do not end it."""
    document = json.dumps(
        {"model": "claude-x", "content": [{"text": '}{"usage":{"input_tokens":9}}'}], "usage": {"input_tokens": 5}}
    )

    told = feed(DocumentMeter(), document.encode(), list(range(len(document))))

    assert (told.model, told.input_tokens, told.ended) == ("claude-x", 5, True)


def test_the_larger_count_holds() -> None:
    """Counts are cumulative, so that one that falls is an error of somebody."""
    meter = EventMeter()
    for event in (begins(1000), ends(50), ends(20)):
        meter.feed(encode(event))

    assert (meter.told.input_tokens, meter.told.output_tokens) == (1000, 50)


def test_rounds_within_an_answer_count_together() -> None:
    """A compaction before the answer is paid for as well."""
    told = Told()

    told.add_usage(
        {"input_tokens": 10, "output_tokens": 5, "iterations": [{"input_tokens": 900}, {"input_tokens": 10}]}
    )

    assert told.input_tokens == 910


def test_cache_writes_are_told_apart_by_how_long_they_last() -> None:
    """The long ones cost more."""
    told = Told()

    told.add_usage({"cache_creation_input_tokens": 300, "cache_creation": {"ephemeral_1h_input_tokens": 100}})

    assert (told.cache_write_5m_tokens, told.cache_write_1h_tokens) == (200, 100)


def test_an_answer_that_told_nothing_is_guessed_from_its_request() -> None:
    """By the tokens that its prompt may have."""
    told = Told()

    assert told.guess_missing(1000, 0.0)
    assert (told.input_tokens, told.output_tokens) == (1000, 0)


def test_an_answer_that_was_cut_while_the_model_thought_is_guessed_from_its_time() -> None:
    """Thoughts cost, and pass in no text."""
    told = feed(EventMeter(), encode(begins(1000)), [])

    assert told.guess_missing(4000, 20.0)
    assert (told.input_tokens, told.output_tokens) == (1000, 2000)


def test_an_answer_that_told_all_is_not_guessed() -> None:
    """Whatever the request's size was."""
    told = feed(EventMeter(), STREAM, [])

    assert not told.guess_missing(10**9, 60.0)
    assert told.input_tokens == 1000


def test_a_line_without_end_is_not_kept() -> None:
    """Memory is bounded, and the bytes still count as output."""
    meter = EventMeter()
    for _ in range(100):
        meter.feed(b"x" * (LONGEST_LINE // 10))

    assert meter.told.content_bytes > 9 * LONGEST_LINE
    assert meter.told.guess_missing(0, 0.0)


def test_events_after_a_line_that_was_too_long_are_read() -> None:
    """A large tool input must not hide the usage behind it."""
    told = feed(
        EventMeter(),
        encode(begins(1000)) + b"data: " + b"x" * (2 * LONGEST_LINE) + b"\n\n" + encode(ends(55)),
        [300_000],
    )

    assert (told.output_tokens, told.ended) == (55, True)


def test_a_document_that_is_too_long_is_guessed() -> None:
    """It is not held."""
    meter = DocumentMeter()
    meter.feed(b"{" + b"x" * LONGEST_DOCUMENT)

    assert meter.told.guess_missing(0, 0.0)
    assert meter.told.output_tokens == LONGEST_DOCUMENT // 4


@pytest.mark.parametrize("count", [-1, True, "7", 1.5, None, 2**50])
def test_a_count_that_is_none_is_zero(count: Any) -> None:
    """Gateways invent many things."""
    told = Told()

    told.add_usage({"input_tokens": count})

    assert told.input_tokens == 0
