"""How long a Task took, read from lines of the log or from its status."""

from __future__ import annotations

import json
from typing import Any

from watchbill_cli.run_times import parse_run_times, read_status_time


def line(kind: str, at: int, **members: Any) -> str:
    """A line of `watchbill events -o json`, at so many microseconds."""
    return json.dumps({"seq": at, "ts": at, "ep": 1, "type": kind, **members})


def test_the_last_attempt_counts_from_its_start() -> None:
    """Neither the wait before nor an attempt that was lost."""
    lines = [
        line("TaskDispatched", 0, task="u"),
        line("TaskStarted", 1_000_000, task="u"),
        line("AttemptFailed", 2_000_000, task="u"),
        line("TaskDispatched", 5_000_000, task="u"),
        line("TaskStarted", 6_000_000, task="u"),
        line("TaskSucceeded", 6_250_000, task="u"),
    ]

    assert parse_run_times(lines) == {"u": 0.25}


def test_a_task_that_never_began_took_no_time() -> None:
    """It was cancelled while it waited."""
    assert parse_run_times([line("LogOpened", 0), line("TaskCancelled", 1, task="u")]) == {}


def test_a_status_gives_whole_seconds() -> None:
    """Where the log cannot be asked."""
    status = {"startTime": "2026-01-02T03:04:05Z", "completionTime": "2026-01-02T03:04:08Z"}

    assert read_status_time({"status": status}) == 3.0


def test_a_status_without_both_ends_gives_nothing() -> None:
    """A dash stands in the table."""
    assert read_status_time({"status": {"startTime": "2026-01-02T03:04:05Z"}}) is None
