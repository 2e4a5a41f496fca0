"""How a transcript is shown, line by line."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchbill_cli.transcript_text import MAX_LINES, Page

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text("ab\n\x1b\r\u2028\tc ", max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
KINDS = st.sampled_from(
    ["task", "init", "assistant", "thinking", "user", "tool_use", "tool_result", "retry", "note", "result", "new"]
)
NUMBERS = ("ts", "costUSD", "turns", "seconds", "retry_delay_ms", "attempt", "error")
TEXTS = ("text", "tool", "id", "cwd", "outcome", "reason", "prompt", "message", "model", "session", "task", "role")
MEMBERS = st.sampled_from([*NUMBERS, *TEXTS, "input", "data"])


def show(*lines: dict[str, Any], is_whole: bool = False) -> list[str]:
    """All lines of text for these lines of a transcript, without colours."""
    page = Page(is_whole=is_whole)
    return [text for line in lines for text in page.show({"ts": 1_795_375_320.0, **line})]


def test_what_the_model_says_stands_after_its_time() -> None:
    """UTC, and a second line under the first."""
    assert show({"kind": "assistant", "text": "One.\nTwo."}) == ["19:22:00  One.", "          Two."]


def test_a_tool_is_shown_with_what_it_is_about() -> None:
    """Paths in the working folder without it."""
    start = {"kind": "init", "cwd": "/w/1", "session": "s", "model": "m"}
    use = {"kind": "tool_use", "id": "1", "tool": "Read", "input": {"limit": 3, "file_path": "/w/1/a.py"}}

    assert show(start, use)[-1] == "19:22:00  ▸ Read a.py"


def test_our_own_tools_go_by_their_short_names() -> None:
    """The prefix of the in-process server says nothing to people."""
    use = {"kind": "tool_use", "tool": "mcp__watchbill__acquire_lock", "input": {"name": "repo:src"}}

    assert show(use) == ["19:22:00  ▸ acquire_lock repo:src"]


def test_a_long_answer_is_shortened_and_says_by_how_much() -> None:
    """Unless all of it is asked for."""
    answer = {"kind": "tool_result", "text": "\n".join(map(str, range(100)))}

    assert len(show(answer)) == MAX_LINES + 1
    assert show(answer)[-1].strip() == "… 94 more lines"
    assert len(show(answer, is_whole=True)) == 100


def test_answers_to_tools_that_were_used_at_once_say_which_they_answer() -> None:
    """They come in any order."""
    uses = [{"kind": "tool_use", "id": str(n), "tool": "Read", "input": {"file_path": f"{n}.py"}} for n in (1, 2)]
    answers = [{"kind": "tool_result", "id": str(n), "text": f"text {n}"} for n in (2, 1)]

    shown = [text.strip() for text in show(*uses, *answers)]

    assert shown[2:] == ["text 2", "Read 1.py:", "text 1"]


def test_the_end_says_how_long_and_how_dear_it_was() -> None:
    """In one line."""
    result = {"kind": "result", "outcome": "Succeeded", "turns": 3, "seconds": 1.5, "costUSD": 0.25}

    assert show(result)[-1] == "✓ Succeeded after 3 turns, 1.5 s, $0.2500"


def test_a_failure_says_why() -> None:
    """Reason and message."""
    result = {"kind": "result", "outcome": "Failed", "reason": "Refused", "message": "The model refused."}

    assert show(result)[-2:] == ["✗ Failed Refused after 0 turns, 0 s", "The model refused."]


@pytest.mark.parametrize("number", [10**400, -(10**400), float("inf"), float("nan"), True], ids=range(5))
def test_a_number_that_makes_no_sense_is_left_out(number: float) -> None:
    """An agent wrote it."""
    shown = show({"kind": "result", "costUSD": number}, {"kind": "retry", "retry_delay_ms": number})

    assert "$" not in shown[1]
    assert " s" not in shown[-1]


def test_a_model_that_takes_over_is_named() -> None:
    """And why: the word of Claude Code's own protocol says little to people."""
    data = {"trigger": "overloaded", "original_model": "opus", "fallback_model": "haiku"}

    assert show({"kind": "note", "text": "model_fallback", "data": data}) == [
        "19:22:00  haiku takes over from opus (overloaded)"
    ]


@given(KINDS, st.dictionaries(MEMBERS, JSON, max_size=5))
def test_whatever_an_agent_wrote_no_terminal_obeys_it(kind: str, members: dict[str, Any]) -> None:
    """Any JSON object is shown, and no control character of it."""
    for text in show({**members, "kind": kind}):
        assert all(c.isprintable() or c == "\t" for c in text), repr(text)
