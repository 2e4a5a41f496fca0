"""The file in which a session is written down."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchbill_agent.claude.redaction import REDACTED, Redactor
from watchbill_agent.claude.transcript import (
    MAX_BYTES,
    MAX_LINE,
    MAX_TEXT,
    Transcript,
    open_transcript,
    shorten,
)

NAME = "t-1.jsonl"
KEY = "sk-ant-marked-0123456789"
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def write(state: Path, *records: dict[str, Any]) -> list[dict[str, Any]]:
    """Write these and a result; return the lines."""
    transcript = Transcript(open_transcript(state, NAME), Redactor(["plain-known-value"]), clock=lambda: 7.0)
    for record in records:
        transcript.write(record)
    transcript.close({"kind": "result", "outcome": "Succeeded"})
    return [json.loads(line) for line in (state / "transcripts" / NAME).read_text().splitlines()]


def test_a_line_has_version_time_and_kind(tmp_path: Path) -> None:
    """And what it is given."""
    first, last = write(tmp_path, {"kind": "assistant", "text": "hello"})
    assert first == {"v": 1, "ts": 7.0, "kind": "assistant", "text": "hello"}
    assert last["kind"] == "result"


@given(values)
def test_whatever_a_tool_is_given_is_one_line_of_json(value: Any) -> None:
    """Surrogates, infinities and depth included."""
    read, end = os.pipe()
    transcript = Transcript(end, Redactor())
    transcript.close({"kind": "tool_use", "input": value})
    with open(read, "rb") as file:
        lines = file.read().splitlines()
    assert [json.loads(line)["kind"] for line in lines] == ["tool_use"]


def test_a_secret_is_hidden_wherever_it_stands(tmp_path: Path) -> None:
    """In values, in keys, deep inside, and known ones too."""
    record = {"kind": "tool_use", "input": {KEY: [{"deep": f"x {KEY}"}], "other": "plain-known-value"}}
    write(tmp_path, record)
    text = (tmp_path / "transcripts" / NAME).read_text()
    assert KEY not in text
    assert "plain-known-value" not in text
    assert text.count(REDACTED) == 3


def test_a_secret_across_the_cut_is_hidden(tmp_path: Path) -> None:
    """A long text is searched before it is shortened."""
    line = write(tmp_path, {"kind": "assistant", "text": "x" * (MAX_TEXT - 10) + " " + KEY + " " + "y" * 100})[0]
    assert "sk-ant" not in line["text"]


def test_a_long_text_is_shortened_and_says_so(tmp_path: Path) -> None:
    """By how much."""
    line = write(tmp_path, {"kind": "tool_result", "text": "x " * 5_000_000})[0]
    assert len(line["text"]) < MAX_TEXT + 100
    assert f"[{10_000_000 - MAX_TEXT} characters left out]" in line["text"]


def test_a_line_that_is_long_all_the_same_is_left_out(tmp_path: Path) -> None:
    """Many texts of a bearable length."""
    line = write(tmp_path, {"kind": "tool_use", "input": ["x" * 30_000] * 20})[0]
    assert line["kind"] == "tool_use"
    assert "left out" in line["note"]


def test_a_full_transcript_says_so_once_and_ends_with_the_result(tmp_path: Path) -> None:
    """However much comes."""
    lines = write(tmp_path, *[{"kind": "tool_result", "text": "x" * MAX_TEXT}] * 600)
    assert (tmp_path / "transcripts" / NAME).stat().st_size <= MAX_BYTES
    assert [line["kind"] for line in lines[-3:]] == ["tool_result", "note", "result"]


def test_a_result_fits_behind_a_full_transcript(tmp_path: Path) -> None:
    """Its place is kept free."""
    transcript = Transcript(open_transcript(tmp_path, NAME), Redactor())
    for _ in range(600):
        transcript.write({"kind": "tool_result", "text": "x" * MAX_TEXT})
    transcript.close({"kind": "result", "message": "m" * MAX_LINE})
    assert (tmp_path / "transcripts" / NAME).stat().st_size <= MAX_BYTES


def test_it_can_be_read_by_the_operator(tmp_path: Path) -> None:
    """Which is another user, whatever the umask."""
    former = os.umask(0o077)
    try:
        write(tmp_path)
    finally:
        os.umask(former)
    assert (tmp_path / "transcripts").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "transcripts" / NAME).stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("is_folder", [True, False])
def test_a_link_that_a_command_left_is_not_followed(tmp_path: Path, is_folder: bool) -> None:
    """It is replaced."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / NAME).write_text("mine")
    state = tmp_path / "state"
    state.mkdir()
    if is_folder:
        (state / "transcripts").symlink_to(elsewhere)
    else:
        (state / "transcripts").mkdir()
        (state / "transcripts" / NAME).symlink_to(elsewhere / NAME)
    write(state)
    assert (elsewhere / NAME).read_text() == "mine"


def test_a_fifo_that_a_command_left_does_not_block(tmp_path: Path) -> None:
    """It is replaced."""
    (tmp_path / "transcripts").mkdir()
    os.mkfifo(tmp_path / "transcripts" / NAME)
    assert write(tmp_path)[-1]["kind"] == "result"


def test_without_a_folder_there_is_no_transcript_and_no_error(tmp_path: Path) -> None:
    """It costs no session."""
    transcript = Transcript(open_transcript(tmp_path / "missing", NAME), Redactor())
    transcript.write({"kind": "assistant", "text": "x"})
    transcript.close({"kind": "result"})
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_ends_the_transcript_alone() -> None:
    """Nothing is raised."""
    fd = os.open("/dev/full", os.O_WRONLY)
    transcript = Transcript(fd, Redactor())
    transcript.write({"kind": "assistant", "text": "x"})
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)
    transcript.close({"kind": "result"})


def test_a_short_text_is_not_shortened() -> None:
    """At the limit it is whole."""
    assert shorten("abc", 3) == "abc"
    assert shorten("abcd", 3) == "abc… [1 characters left out]"
