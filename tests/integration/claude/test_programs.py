"""Programs that are not the Claude Code that was expected: broken, silent, missing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest

from support.model_stub import ModelStub

pytest.importorskip("claude_agent_sdk")
pytestmark = pytest.mark.claude

TESTS = Path(__file__).parents[2]


def drive(folder: Path, program: str, limits: dict[str, float], url: str) -> dict[str, Any]:
    """Run an attempt; an empty `program` is the real Claude Code."""
    folder.mkdir()
    path = os.pathsep.join([str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "-m", "support.runner_driver", str(folder), program, json.dumps(limits), url],
        env=os.environ | {"PYTHONPATH": path, "ANTHROPIC_API_KEY": "of-no-use"},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr[-1000:]
    outcome: dict[str, Any] = json.loads(done.stdout)
    return outcome


def run(tmp_path: Path, script: str | None, *, start_seconds: float = 60.0) -> dict[str, Any]:
    """Run an attempt with this script as Claude Code; None: there is no file."""
    program = tmp_path / "claude"
    if script is not None:
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
    return drive(tmp_path / "agent", str(program), {"start_seconds": start_seconds}, "http://127.0.0.1:9")


@pytest.mark.parametrize(
    ("script", "reason", "retryable"),
    [
        ("kill -9 $$", "CliCrashed", True),
        ("echo 'error: unknown option' >&2; exit 1", "Misconfigured", False),
        ("echo 'ENOSPC: no space left on device' >&2; exit 1", "WorkspaceFailed", True),
        (None, "Misconfigured", False),
    ],
)
def test_a_program_that_does_not_work_is_classified(
    tmp_path: Path, script: str | None, reason: str, retryable: bool
) -> None:
    """Whichever way the SDK notices."""
    outcome = run(tmp_path, script)
    assert (outcome["outcome"], outcome["reason"], outcome["retryable"]) == ("Failed", reason, retryable), outcome


@pytest.mark.parametrize(
    "script", ["exec sleep 600", "trap '' TERM; while :; do sleep 1; done", "echo '{no json'; exec sleep 600"]
)
def test_a_program_that_does_not_come_up_is_ended(tmp_path: Path, script: str) -> None:
    """After our own limit, however it takes that; another try may help."""
    outcome = run(tmp_path, script, start_seconds=1.0)
    assert (outcome["outcome"], outcome["reason"], outcome["retryable"]) == ("Failed", "StartTimedOut", True), outcome


def test_its_last_words_are_in_the_message_without_secrets(tmp_path: Path) -> None:
    """They say what is wrong."""
    outcome = run(tmp_path, "echo 'no such flag, api_key=abcdefgh12345' >&2; exit 1")
    assert "no such flag" in outcome["message"]
    assert "abcdefgh12345" not in outcome["message"]


def test_a_session_that_says_nothing_is_ended(tmp_path: Path, stub: ModelStub) -> None:
    """By our own limit: those of Claude Code are longer."""
    url = stub.base_url("hang", str(uuid.uuid4()))
    outcome = drive(tmp_path / "agent", "", {"silence_seconds": 2.0, "start_seconds": 1000.0}, url)
    assert (outcome["reason"], outcome["retryable"]) == ("NoSignOfLife", True), outcome


def test_a_session_that_only_tries_again_is_ended(tmp_path: Path, stub: ModelStub) -> None:
    """A retry is a sign of life, but not for ever."""
    url = stub.base_url("500", str(uuid.uuid4()))
    outcome = drive(tmp_path / "agent", "", {"retrying_seconds": 0.1}, url)
    assert (outcome["reason"], outcome["retryable"]) == ("ServerError", True), outcome
