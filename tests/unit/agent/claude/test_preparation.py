"""What a session is told and may do, and what it hands over."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from watchbill_agent.claude.broker_report import MAX_SUN_PATH, SocketFolder, parse_report
from watchbill_agent.claude.prompt import build_continuation, build_prompt
from watchbill_agent.claude.redaction import Redactor
from watchbill_agent.claude.result import write_result
from watchbill_agent.claude.roles import OTHER, TOOLS_BY_ROLE, build_system_prompt, find_tools
from watchbill_agent.settings import Settings, parse_settings
from watchbill_coordination.core.messages import Assign
from watchbill_coordination.core.specs import TaskUid

FOLDERS = {f"WATCHBILL_{name}": f"/w/{name.lower()}" for name in ("INBOX", "OUTBOX", "WORK", "STATE", "CONTEXT")}
SETTINGS: Settings = parse_settings(FOLDERS | {"WATCHBILL_REPLICA": "blue-0"})
DIRECTORY = Path("/w/work/u/attempt-2")
ASSIGN = Assign(
    task=TaskUid("u"),
    attempt=2,
    name="find-it",
    incarnation="i",
    timeout_seconds=60.0,
    prompt="Find /cost and @files.",
    context=("input/abc",),
    dependencies={"before": "uid-of-before"},
    locks={"repo:src": 4},
    history=("Attempt 1 ended on blue-1: CliCrashed.",),
)


def test_the_tasks_words_stand_first_and_unchanged() -> None:
    """What is added stands after a line that says whose it is."""
    assert build_prompt(SETTINGS, ASSIGN, DIRECTORY).startswith(ASSIGN.prompt + "\n\n---\nFrom Watchbill")


@pytest.mark.parametrize(
    "words",
    [
        "/w/work/u/attempt-2/result",
        "/w/context/input/abc",
        "/w/context/results/uid-of-before",
        "repo:src",
        "CliCrashed",
    ],
)
def test_what_there_is_to_know_is_named(words: str) -> None:
    """Folders, dependencies, locks and history."""
    assert words in build_prompt(SETTINGS, ASSIGN, DIRECTORY)


def test_a_continuation_says_what_happened_and_where_the_files_are() -> None:
    """And does not repeat the task, which the session knows."""
    prompt = build_continuation(ASSIGN, DIRECTORY, Path("/w/work/u/attempt-1"))
    assert "CliCrashed" in prompt
    assert "/w/work/u/attempt-1" in prompt
    assert ASSIGN.prompt not in prompt


@pytest.mark.parametrize("role", ["blue", "red"])
def test_readers_can_only_read(role: str) -> None:
    """No tool that writes or runs, and no rule."""
    tools = find_tools(role)
    assert set(tools.tools) == {"Read", "Glob", "Grep"}
    assert tools.rules == ()


@pytest.mark.parametrize("role", ["green", "a-role-of-the-users"])
def test_no_role_writes_everywhere(role: str) -> None:
    """Rules for files are confined to the working folder."""
    rules = find_tools(role).rules
    assert "Edit(./**)" in rules
    assert not {"Edit", "Write", "NotebookEdit"} & set(rules)


def test_a_role_of_the_users_own_runs_nothing() -> None:
    """Unless its Agent lists Bash."""
    assert find_tools("docs") is OTHER
    assert "Bash" not in OTHER.tools


@pytest.mark.parametrize("role", [*TOOLS_BY_ROLE, "docs"])
def test_every_role_has_its_words_and_the_users_stand_last(role: str) -> None:
    """They end with what the Agent adds."""
    prompt = build_system_prompt(role, "Speak Latin.")
    assert prompt.startswith("# Where you work")
    assert "# Your role" in prompt
    assert prompt.endswith("Speak Latin.\n")


def test_a_role_is_no_path(tmp_path: Path) -> None:
    """Whatever an Agent calls it."""
    assert build_system_prompt("../../etc/passwd", "") == build_system_prompt("docs", "")


def test_the_result_is_written(tmp_path: Path) -> None:
    """Text and structure."""
    write_result(tmp_path, "answer", {"a": 1}, Redactor())
    assert (tmp_path / "result" / "answer.md").read_text() == "answer"
    assert json.loads((tmp_path / "result" / "output.json").read_text()) == {"a": 1}


def test_an_answer_that_the_session_wrote_itself_stays(tmp_path: Path) -> None:
    """Its last words are then about it."""
    (tmp_path / "result").mkdir()
    (tmp_path / "result" / "answer.md").write_text("the report")
    write_result(tmp_path, "I wrote the report.", None, Redactor())
    assert (tmp_path / "result" / "answer.md").read_text() == "the report"


@pytest.mark.parametrize("structured", [None, {"a": 1}])
def test_a_structure_that_the_session_wrote_itself_does_not_count(tmp_path: Path, structured: object) -> None:
    """Only one that was checked."""
    (tmp_path / "result").mkdir()
    (tmp_path / "result" / "output.json").symlink_to("/etc/hostname")
    write_result(tmp_path, "text", structured, Redactor())
    output = tmp_path / "result" / "output.json"
    assert not output.is_symlink()
    assert output.exists() == (structured is not None)


def test_no_file_of_a_result_holds_a_known_secret(tmp_path: Path) -> None:
    """Neither the answer nor its structured form."""
    secret = "marked-secret-value"
    write_result(tmp_path, f"it is {secret}", {"it": secret}, Redactor([secret]))
    assert [path.name for path in (tmp_path / "result").iterdir() if secret in path.read_text()] == []
    assert len([*(tmp_path / "result").iterdir()]) == 2


def test_a_result_folder_that_is_a_link_is_refused(tmp_path: Path) -> None:
    """Nothing is written elsewhere."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "result").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="result"):
        write_result(tmp_path, "text", None, Redactor())
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_brokers_report_is_read() -> None:
    """What the classification needs of it."""
    body = {"costUSD": 0.5, "retryAfterSeconds": 12, "refused": "budget", "requests": 3}
    report = parse_report(b"HTTP/1.1 200 OK\r\nx: y\r\n\r\n" + json.dumps(body).encode())
    assert report is not None
    assert (report.cost_usd, report.retry_after_seconds, report.refused) == (0.5, 12.0, "budget")


@pytest.mark.parametrize(
    "answer",
    [b"", b"HTTP/1.1 404 Not Found\r\n\r\n{}", b"HTTP/1.1 200 OK\r\n\r\n[1]", b"HTTP/1.1 200 OK\r\n\r\n{{", b"}{"],
)
def test_another_answer_is_no_report(answer: bytes) -> None:
    """Nor an error."""
    assert parse_report(answer) is None


@pytest.mark.parametrize("length", [10, 200])
def test_a_socket_has_a_name_that_the_kernel_takes(tmp_path: Path, length: int) -> None:
    """However long its folder's is; both names lead to the same file."""
    folder = tmp_path / ("d" * length)
    folder.mkdir()
    (folder / "x.sock").touch()
    sockets = SocketFolder(folder)
    path = sockets.find("x.sock")
    assert len(os.fsencode(path)) <= MAX_SUN_PATH
    assert os.path.samefile(path, folder / "x.sock")
    sockets.close()
