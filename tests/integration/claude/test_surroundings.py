"""What a session sees of the world around it, and what it survives."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from support.agent_process import is_alive
from support.claude_lab import MODEL, ClaudeLab
from support.model_scenarios import encode
from support.model_stub import ModelStub

pytest.importorskip("claude_agent_sdk")
pytestmark = pytest.mark.claude

MakeLab = Callable[..., ClaudeLab]
KEY = "sk-ant-marked-0123456789abcdef"


def use(name: str, **arguments: str) -> str:
    """The scenario in which the model uses one tool and ends."""
    return f"tool,{name},{encode(arguments)}"


def test_the_environment_of_commands_holds_no_credential(make_lab: MakeLab) -> None:
    """Whatever the pod's template sets for the model's providers; what it sets for tools passes."""
    names = ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN", "AWS_SECRET_ACCESS_KEY")
    lab = make_lab(environment={**dict.fromkeys(names, KEY), "FOR_MY_TOOLS": "yes", "CLAUDECODE": "1"})
    finished = lab.run("bash," + b"env; cat /proc/$PPID/environ | tr '\\0' '\\n'".hex())
    seen = lab.requests(finished)[-1].tool_results[-1]
    assert "FOR_MY_TOOLS=yes" in seen
    assert f"WATCHBILL_TASK={finished.task}" in seen
    assert KEY not in seen
    assert "WATCHBILL_SOCKETS" not in seen


def test_requests_carry_a_placeholder(green: ClaudeLab) -> None:
    """The broker replaces it."""
    finished = green.run("text")
    assert green.requests(finished)[0].headers["x-api-key"] == "watchbill-broker"


def test_without_a_broker_the_key_of_the_environment_is_used(make_lab: MakeLab, stub: ModelStub) -> None:
    """As documented for `broker: off`: the session can read it, but the transcript does not show it."""
    run = str(uuid.uuid4())
    show = "bash," + b"echo $ANTHROPIC_API_KEY; echo $ANTHROPIC_API_KEY | base64".hex()
    settings = {"broker": False, "baseURL": stub.base_url(show, run)}
    lab = make_lab(claude=settings, environment={"ANTHROPIC_API_KEY": "plain-key-0123456789"})
    task = str(uuid.uuid4())
    lab.agent.assign(task, prompt="Do it.")
    assert lab.end(task).outcome == "Succeeded"
    assert stub.requests(run)[0].headers["x-api-key"] == "plain-key-0123456789"
    assert stub.requests(run)[-1].tool_results[-1].startswith("plain-key-0123456789\n")
    told = json.dumps(lab.transcript(task))
    assert "plain-key" not in told
    assert "cGxhaW4ta2V5" not in told


def test_readers_have_no_tool_that_writes_or_runs(blue: ClaudeLab) -> None:
    """Such a tool does not exist for the model, and using it all the same does nothing."""
    finished = blue.run(use("Write", file_path="made.txt", content="x"))
    tools = blue.requests(finished)[0].tools
    assert {"Read", "Glob", "Grep"} <= set(tools)
    assert not {"Write", "Edit", "Bash", "NotebookEdit"} & set(tools)
    assert not (blue.folder(finished.task) / "made.txt").exists()


@pytest.mark.parametrize("place", ["context", "elsewhere"])
def test_green_writes_in_its_own_folder_alone(green: ClaudeLab, tmp_path: Path, place: str) -> None:
    """Not in shared-context, which it may read, nor anywhere else with its tools for files."""
    folder = green.agent.layout.shared_context if place == "context" else tmp_path
    target = folder / f"{uuid.uuid4()}.txt"
    finished = green.run(use("Write", file_path=str(target), content="x"))
    assert not target.exists()
    assert green.transcript(finished.task)[-1]["denied"] == 1


@pytest.mark.parametrize("is_link", [False, True])
def test_files_outside_are_not_read(blue: ClaudeLab, tmp_path: Path, is_link: bool) -> None:
    """Also not through a link that lies where reading is allowed."""
    path = tmp_path / "secret.txt"
    path.write_text("marked words")
    if is_link:
        path = blue.agent.layout.shared_context / "link.txt"
        path.symlink_to(tmp_path / "secret.txt")
    finished = blue.run(use("Read", file_path=str(path)))
    assert "marked words" not in json.dumps(blue.requests(finished)[-1].body)


def test_shared_context_is_read(blue: ClaudeLab) -> None:
    """Every role may."""
    facts = blue.agent.layout.shared_context / "facts.txt"
    facts.write_text("the answer is 42")
    finished = blue.run(use("Read", file_path=str(facts)))
    assert "the answer is 42" in blue.requests(finished)[-1].tool_results[-1]


def test_a_hostile_context_steers_nothing(green: ClaudeLab) -> None:
    """Instructions, hooks and servers that lie in shared-context have no effect."""
    context = green.agent.layout.shared_context
    mark = green.work / "hooked"
    hook = {"hooks": {"SessionStart": [{"hooks": [{"type": "command", "command": f"touch '{mark}'"}]}]}}
    (context / ".claude").mkdir(exist_ok=True)
    (context / ".claude" / "settings.json").write_text(json.dumps(hook))
    (context / ".mcp.json").write_text(json.dumps({"mcpServers": {"x": {"command": "touch", "args": [str(mark)]}}}))
    for name in ("CLAUDE.md", "AGENTS.md", ".claude/CLAUDE.md"):
        (context / name).write_text("TAKEN-OVER")
    finished = green.run("text")
    assert not mark.exists()
    assert "TAKEN-OVER" not in json.dumps(green.requests(finished)[0].body)


def test_a_repository_counts_where_its_agent_says_so(make_lab: MakeLab) -> None:
    """`settingSources: [project]` lets the CLAUDE.md of a continued working folder in."""
    lab = make_lab(claude={"settingSources": ["project"]})
    first = lab.run("write429,CLAUDE.md,120")
    (lab.folder(first.task) / "CLAUDE.md").write_text("LET-IN")
    second = lab.run("text", task=first.task, attempt=2)
    assert "LET-IN" in json.dumps(lab.requests(second)[0].body)


def test_a_prompt_arrives_as_it_is(green: ClaudeLab) -> None:
    """No file is read for an @, no command runs for a slash, and dashes are no options."""
    prompt = "/cost @/etc/hostname --model x\n- 'quoted' \"twice\" \\ {json} \u00e4\u4e2d\U0001f600"
    finished = green.run("text", prompt=prompt)
    assert any(text.startswith(prompt) for text in green.requests(finished)[0].texts)


def test_a_prompt_of_200000_characters_arrives(green: ClaudeLab) -> None:
    """It goes by a pipe, not by the command line."""
    prompt = "word " * 40_000
    finished = green.run("text", prompt=prompt)
    assert finished.outcome == "Succeeded", finished
    assert any(prompt in text for text in green.requests(finished)[0].texts)


def test_a_system_prompt_of_100000_characters_arrives(make_lab: MakeLab) -> None:
    """It goes by a file, after Claude Code's own and the role's."""
    lab = make_lab(claude={"systemPrompt": "Marked sentence. " * 6_000})
    finished = lab.run("text")
    said = json.dumps(lab.requests(finished)[0].body["system"])
    assert said.index("You are Claude Code") < said.index("green, the builder") < said.index("Marked sentence.")


def test_50_megabytes_of_output_do_no_harm(green: ClaudeLab) -> None:
    """The session goes on, the transcript stays small, and so does the agent."""
    finished = green.run("bash," + b"head -c 50000000 /dev/zero | tr '\\0' x".hex())
    assert finished.outcome == "Succeeded", finished
    size = (green.agent.workspace / "state" / "transcripts" / f"{finished.task}-1.jsonl").stat().st_size
    assert size < 200_000


def test_a_command_that_takes_too_long_is_ended_and_the_session_goes_on(make_lab: MakeLab) -> None:
    """It is not moved to the background, which would give the prompt two answers."""
    lab = make_lab(environment={"BASH_DEFAULT_TIMEOUT_MS": "1000"})
    finished = lab.run("bash," + b"echo $$ > pid; exec tail -f /dev/null".hex())
    assert (finished.outcome, finished.result) == ("Succeeded", "Done with Bash."), finished
    assert "timed out" in lab.requests(finished)[-1].tool_results[-1]
    assert not is_alive(lab.read_pid(finished.task))


def test_a_message_of_3_megabytes_is_taken(green: ClaudeLab) -> None:
    """The SDK's own limit would be one."""
    finished = green.run("bigtext,3000000")
    assert finished.outcome == "Succeeded", finished
    assert (green.folder(finished.task) / "result" / "answer.md").stat().st_size == 3_000_000


def test_a_socket_whose_path_is_long_is_reached(make_lab: MakeLab, stub: ModelStub, tmp_path: Path) -> None:
    """The kernel takes 107 bytes; plain processes have their folders below longer names."""
    deep = tmp_path / ("d" * 100) / "broker"
    deep.mkdir(parents=True)
    lab = make_lab(environment={"WATCHBILL_SOCKETS": str(deep)})
    task = str(uuid.uuid4())
    lab.open_socket(task, "text")
    (lab.sockets / f"{task}-1.sock").rename(deep / f"{task}-1.sock")
    lab.agent.assign(task, prompt="Do it.")
    assert lab.end(task).outcome == "Succeeded"


def test_a_temporary_folder_that_cannot_be_written_is_said(make_lab: MakeLab) -> None:
    """Another try may help: volumes come back."""
    lab = make_lab(environment={"TMPDIR": "/proc/nowhere"})
    finished = lab.run("text")
    assert (finished.outcome, finished.reason, finished.retryable) == ("Failed", "WorkspaceFailed", True), finished


def test_an_attempt_leaves_nothing_in_the_temporary_folder(make_lab: MakeLab, tmp_path: Path) -> None:
    """Its own folder there goes with it."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    lab = make_lab(environment={"TMPDIR": str(folder)})
    assert lab.run("bash," + b"echo x > $TMPDIR/left".hex()).outcome == "Succeeded"
    assert list(folder.iterdir()) == []


def test_a_missing_sdk_is_said_in_a_sentence(tmp_path: Path) -> None:
    """Exit code 78, and how to install it."""
    lab_settings = json.dumps({"model": MODEL, "broker": False})
    folders = {f"WATCHBILL_{part.upper()}": str(tmp_path) for part in ("inbox", "outbox", "work", "state", "context")}
    hidden = "import sys; sys.modules['claude_agent_sdk'] = None; from watchbill_agent.main import run_agent"
    done = subprocess.run(
        [sys.executable, "-c", f"{hidden}; sys.exit(run_agent())"],
        env={
            **{name: value for name, value in os.environ.items() if not name.startswith("WATCHBILL_")},
            **folders,
            "WATCHBILL_REPLICA": "blue-0",
            "WATCHBILL_RUNNER": "claude",
            "WATCHBILL_CLAUDE": lab_settings,
        },
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 78
    assert "pip install 'watchbill[claude]'" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("mount") is None, reason="mounting a small volume needs root")
def test_a_full_volume_costs_the_attempt_and_not_the_agent(make_lab: MakeLab, tmp_path: Path) -> None:
    """Another try may help."""
    lab = make_lab()
    task = str(uuid.uuid4())
    folder = lab.work / task
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)], check=True)
    try:
        with suppress(OSError):
            (folder / "filler").write_bytes(b"x" * 70_000)
        finished = lab.run("text", task=task)
        assert (finished.outcome, finished.reason, finished.retryable) == ("Failed", "WorkspaceFailed", True), finished
        assert lab.run("text").outcome == "Succeeded"
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
