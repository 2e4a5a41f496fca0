"""Endless output in bounded memory."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from watchbill_agent.capture import Capture


@given(st.lists(st.binary(max_size=40)), st.integers(1, 30), st.integers(1, 30))
def test_head_and_tail_are_those_of_the_whole_stream(parts: list[bytes], head: int, tail: int) -> None:
    """However it was cut into pieces; and the gap is counted."""
    capture = Capture(head, tail)
    for part in parts:
        capture.feed(part)
    whole = b"".join(parts)

    left_out = max(0, len(whole) - head - tail)
    gap = b"\n[%d bytes left out]\n" % left_out if left_out else b""
    assert capture.total == len(whole)
    assert capture.left_out == left_out
    assert capture.content() == whole[:head] + gap + whole[head:][-tail:]


@given(st.text(max_size=60), st.integers(1, 20))
def test_first_and_last_characters_are_whole(text: str, count: int) -> None:
    """No character is cut in two, as long as head and tail hold it."""
    data = text.encode("utf-8", "replace")
    capture = Capture(head=1000, tail=1000)
    capture.feed(data)

    assert capture.first(count) == data.decode()[:count]
    assert capture.last(count) == data.decode()[-count:]
