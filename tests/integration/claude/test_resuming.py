"""What a second attempt takes over from the first, on the same replica."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable

import pytest

from support.agent_process import kill_hard
from support.claude_lab import ClaudeLab
from support.model_scenarios import encode

pytest.importorskip("claude_agent_sdk")
pytestmark = pytest.mark.claude

MakeLab = Callable[..., ClaudeLab]
HISTORY = ("Attempt 1 ended on blue-0: RateLimited.",)


def test_a_rate_limited_session_goes_on(green: ClaudeLab) -> None:
    """The model sees the conversation so far, and finds its files where it is told."""
    first = green.run("write429,notes.txt,120")
    assert first.reason == "RateLimited", first
    second = green.run("bash," + b"cat notes.txt".hex(), task=first.task, attempt=2, history=HISTORY)
    asked = green.requests(second)
    assert second.outcome == "Succeeded", second
    assert any("Do it." in text for text in asked[0].texts)
    assert any("Continue the task." in text for text in asked[0].texts)
    assert asked[1].tool_results[-1] == "x"


def test_a_session_that_was_killed_goes_on(make_lab: MakeLab) -> None:
    """kill -9 of the whole agent in the middle of a command."""
    lab = make_lab()
    task = lab.begin("bash," + b"echo $$ > pid; exec sleep 600".hex())
    lab.read_pid(task)
    kill_hard(lab.agent.agent_pid)
    assert lab.agent.process is not None
    lab.agent.process.wait()
    lab.agent.start()
    second = lab.run("text", task=task, attempt=2)
    assert second.outcome == "Succeeded", second
    assert lab.transcript(task, 2)[0]["continued"] is True
    assert any("Do it." in text for text in lab.requests(second)[0].texts)


@pytest.mark.parametrize("scenario", ["refusal", "toolong"])
def test_a_session_that_could_only_fail_again_begins_anew(green: ClaudeLab, scenario: str) -> None:
    """The model sees the task's prompt and what is known, and nothing of the old conversation."""
    first = green.run(scenario)
    second = green.run("text", task=first.task, attempt=2, history=("Attempt 1 failed.",))
    asked = green.requests(second)[0]
    assert green.transcript(second.task, 2)[0]["continued"] is False
    assert sum("Do it." in text for text in asked.texts) == 1
    assert any("Attempt 1 failed." in text for text in asked.texts)


def test_only_the_attempt_directly_before_is_continued(green: ClaudeLab) -> None:
    """One that ran elsewhere in between knows better."""
    first = green.run("429sr")
    third = green.run("text", task=first.task, attempt=3)
    assert third.outcome == "Succeeded"
    assert green.transcript(third.task, 3)[0]["continued"] is False


def test_a_session_whose_file_is_broken_begins_anew(green: ClaudeLab) -> None:
    """What a command made of it costs the conversation, not the task."""
    first = green.run("429sr")
    for path in (green.work / first.task / "claude").glob("projects/*/*.jsonl"):
        path.write_text("no JSON\n")
    second = green.run("text", task=first.task, attempt=2)
    assert second.outcome == "Succeeded", second


@pytest.mark.parametrize(
    "note", ["", "[]", "{}", '{"v":1,"attempt":1,"session":"../../x","reason":"Running"}', "[" * 4000]
)
def test_a_note_that_makes_no_sense_is_no_note(green: ClaudeLab, note: str) -> None:
    """Commands can write it."""
    first = green.run("429sr")
    (green.work / first.task / "session.json").write_text(note)
    second = green.run("text", task=first.task, attempt=2)
    assert second.outcome == "Succeeded"
    assert green.transcript(second.task, 2)[0]["continued"] is False


def test_a_configuration_that_an_attempt_broke_does_not_break_the_next(green: ClaudeLab) -> None:
    """A broken .claude.json would be fatal."""
    spoil = (
        "echo broken > $CLAUDE_CONFIG_DIR/.claude.json; mkdir -p $CLAUDE_CONFIG_DIR/a/b; chmod 0 $CLAUDE_CONFIG_DIR/a"
    )
    steps = [[{"type": "tool_use", "id": "toolu_1", "name": "Bash", "input": {"command": spoil}}]]
    first = green.run("seq," + encode(steps))
    assert first.reason == "MaxTurnsExceeded", first
    (green.work / first.task / "claude" / ".claude.json").write_text("broken")
    second = green.run("text", task=first.task, attempt=2)
    assert second.outcome == "Succeeded", second


def test_what_an_attempt_left_steers_no_later_one(green: ClaudeLab) -> None:
    """Hooks, servers and instructions that a session writes into its folders have no effect on its continuation."""
    hook = {"hooks": {"SessionStart": [{"hooks": [{"type": "command", "command": "touch ../hooked"}]}]}}
    server = {"mcpServers": {"x": {"command": "touch", "args": [str(green.work / "served")]}}}
    files = {
        "CLAUDE.md": "TAKEN-OVER-BY-MD", "AGENTS.md": "TAKEN-OVER-BY-AGENTS",
        ".claude/settings.json": json.dumps(hook), ".claude/settings.local.json": json.dumps(hook),
        ".mcp.json": json.dumps(server), "../claude/settings.json": json.dumps(hook),
        "../claude/CLAUDE.md": "TAKEN-OVER-BY-USER", "../home/.claude/settings.json": json.dumps(hook),
    }  # fmt: skip
    command = "mkdir -p .claude ../home/.claude; " + "; ".join(
        f"printf %s '{text}' > {name}" for name, text in files.items()
    )
    hidden = f"echo {base64.b64encode(command.encode()).decode()} | base64 -d | sh"  # plain it would be denied
    steps = [[{"type": "tool_use", "id": "toolu_1", "name": "Bash", "input": {"command": hidden}}]]
    task = green.begin("seq," + encode(steps))
    first = green.end(task)
    assert (green.folder(task) / ".mcp.json").exists(), [
        line for line in green.transcript(task) if line["kind"] == "tool_result"
    ]
    (green.work / task / "session.json").write_text(
        (green.work / task / "session.json").read_text().replace(first.reason, "RateLimited")
    )
    second = green.run("text", task=task, attempt=2)
    assert green.transcript(task, 2)[0]["continued"] is True
    assert (green.folder(task, 2) / ".mcp.json").exists()
    assert not (green.work / task / "hooked").exists()
    assert not (green.work / "served").exists()
    said = json.dumps(green.requests(second)[0].body)
    assert "TAKEN-OVER" not in said
