"""Exit codes and what they mean for another try."""

from __future__ import annotations

import errno
import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchbill_agent.outcome import (
    MAX_MESSAGE,
    MAX_RESULT,
    classify_exit,
    classify_start_failure,
    tell_starved,
    with_last_words,
)


@pytest.mark.parametrize(
    ("code", "outcome", "reason", "retryable"),
    [
        (0, "Succeeded", "", True),
        (1, "Failed", "NonZeroExit", True),
        (75, "Failed", "NonZeroExit", True),
        (78, "Failed", "NonZeroExit", False),
        (126, "Failed", "NotExecutable", False),
        (127, "Failed", "ProgramNotFound", False),
        (-signal.SIGKILL, "Failed", "Signalled", True),
        (255, "Failed", "NonZeroExit", True),
    ],
)
def test_an_exit_code_says_whether_another_try_may_help(code: int, outcome: str, reason: str, retryable: bool) -> None:
    """The table of the contract."""
    end = classify_exit(code, output="", errors="")

    assert (end.outcome, end.reason, end.retryable) == (outcome, reason, retryable)


@given(st.integers(-64, 255), st.text(), st.text())
def test_every_end_has_bounded_texts_and_an_exit_code_of_a_shell(code: int, output: str, errors: str) -> None:
    """Nothing negative reaches the log."""
    end = classify_exit(code, output=output * 500, errors=errors * 500)

    assert len(end.result) <= MAX_RESULT
    assert len(end.message) <= MAX_MESSAGE
    assert end.exit_code is not None
    assert 0 <= end.exit_code <= 255


@pytest.mark.parametrize(
    ("code", "reason"),
    [(-signal.SIGKILL, "OutOfMemory"), (137, "OutOfMemory"), (1, "NonZeroExit"), (-signal.SIGTERM, "Signalled")],
)
def test_a_program_that_was_killed_while_memory_was_short_says_so(code: int, reason: str) -> None:
    """By itself or below a shell; one that ended otherwise keeps its reason."""
    end = tell_starved(classify_exit(code, output="", errors="last words"))

    assert end.reason == reason
    assert ("more memory was needed than the container may use: " in end.message) == (reason == "OutOfMemory")
    assert "last words" in end.message


def test_the_end_of_a_long_complaint_is_kept() -> None:
    """The last line of a traceback says most."""
    message = with_last_words("exit code 1", "x" * 5000 + "ValueError: no")

    assert message.startswith("exit code 1: …")
    assert message.endswith("ValueError: no")
    assert len(message) == MAX_MESSAGE


@pytest.mark.parametrize(
    ("number", "reason", "retryable"),
    [
        (errno.ENOENT, "ProgramNotFound", False),
        (errno.EACCES, "NotExecutable", False),
        (errno.ENOEXEC, "NotExecutable", False),
        (errno.E2BIG, "ArgumentsTooLong", False),
        (errno.EAGAIN, "StartFailed", True),
        (errno.ENOMEM, "StartFailed", True),
    ],
)
def test_a_program_that_cannot_start_says_why(number: int, reason: str, retryable: bool) -> None:
    """What the machine lacks at this moment it may have later."""
    end = classify_start_failure(OSError(number, ""), "prog")

    assert (end.reason, end.retryable) == (reason, retryable)
    assert end.message
