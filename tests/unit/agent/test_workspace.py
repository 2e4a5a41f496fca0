"""The agent's own folders: what is kept, and what is removed however a command left it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from support.volume import TRAPS
from watchbill_agent.exchange import AttemptExchange
from watchbill_agent.settings import Settings, parse_settings
from watchbill_agent.workspace import clear_state, prepare_order, remove_work, sync_result
from watchbill_coordination.core.messages import Assign
from watchbill_coordination.core.specs import TaskUid


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings with folders that exist."""
    parts = ("inbox", "outbox", "work", "state", "context")
    for part in parts:
        (tmp_path / part).mkdir()
    folders = {f"WATCHBILL_{part.upper()}": str(tmp_path / part) for part in parts}
    return parse_settings({"WATCHBILL_REPLICA": "blue-0"} | folders)


def assign(attempt: int, **fields: Any) -> Assign:
    return Assign(task=TaskUid("t"), attempt=attempt, name="t", incarnation="pod/1", timeout_seconds=60, **fields)


def tree(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_transcripts_outlive_the_agent_process(settings: Settings) -> None:
    """And the heartbeat; half-written files do not."""
    transcripts = settings.state / "transcripts"
    transcripts.mkdir()
    for path in (transcripts / "t-1.jsonl", transcripts / ".tmp-1-x", settings.state / "heartbeat.json"):
        path.touch()
    (settings.state / "folder").mkdir()

    clear_state(settings.state)

    assert tree(settings.state) == {"transcripts", "transcripts/t-1.jsonl", "heartbeat.json"}


@pytest.mark.parametrize("trap", sorted(TRAPS.keys() - {"hard link", "sparse file"}))
def test_what_is_no_plain_file_is_removed_from_the_transcripts(settings: Settings, trap: str) -> None:
    """A command may have put it there."""
    (settings.state / "transcripts").mkdir()
    TRAPS[trap](settings.state / "transcripts" / "t-1.jsonl")

    clear_state(settings.state)

    assert not os.listdir(settings.state / "transcripts")


def test_a_link_in_place_of_the_transcripts_is_removed_and_not_followed(settings: Settings, tmp_path: Path) -> None:
    """What it leads to stays."""
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "folder").mkdir(parents=True)
    (elsewhere / "t-1.jsonl").touch()
    (settings.state / "transcripts").symlink_to(elsewhere)

    remove_work(settings, [TaskUid("t")])
    clear_state(settings.state)

    assert not os.listdir(settings.state)
    assert tree(elsewhere) == {"folder", "t-1.jsonl"}


def test_work_and_transcripts_of_a_task_go_together(settings: Settings) -> None:
    """Of all of its attempts, and of no other Task."""
    (settings.work / "t" / "claude").mkdir(parents=True)
    (settings.work / "t" / "session.json").touch()
    (settings.state / "transcripts").mkdir()
    for name in ("t-1.jsonl", "t-12.jsonl", "t-1-1.jsonl", "u-1.jsonl"):
        (settings.state / "transcripts" / name).touch()

    remove_work(settings, [TaskUid("t"), TaskUid("../context"), TaskUid("never-here")])

    assert not os.listdir(settings.work)
    assert tree(settings.state / "transcripts") == {"t-1-1.jsonl", "u-1.jsonl"}
    assert settings.context.is_dir()


def test_a_new_attempt_begins_afresh_and_leaves_the_rest_of_its_task_alone(settings: Settings) -> None:
    """The work of the attempt before it, and what a session goes on from."""
    exchange = AttemptExchange(lambda _: None)
    first = prepare_order(settings, assign(1), base={}, exchange=exchange)
    (first.directory / "half-done").touch()
    (settings.work / "t" / "claude").mkdir()
    (settings.work / "t" / "session.json").touch()
    (settings.work / "t" / "attempt-2").mkdir()
    (settings.work / "t" / "attempt-2" / "left").touch()

    second = prepare_order(settings, assign(2, prompt="p"), base={}, exchange=exchange)

    assert tree(settings.work / "t") == {
        *("attempt-1", "attempt-1/.prompt", "attempt-1/half-done", "attempt-1/result"),
        *("attempt-2", "attempt-2/.prompt", "attempt-2/result", "claude", "session.json"),
    }
    assert (second.assign.attempt, second.exchange, second.context) == (2, exchange, settings.context)


def build_deep(folder: Path, depth: int = 3000) -> None:
    """Folders in each other: deeper than Python recurses, and than a path may be long."""
    here = os.open(folder, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("d", dir_fd=here)
        inner = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    os.close(here)


def test_no_depth_keeps_the_state_folder_from_being_cleared(settings: Settings) -> None:
    """A command that builds it would else keep its agent from ever starting again."""
    build_deep(settings.state)

    clear_state(settings.state)

    assert list(settings.state.iterdir()) == []


def test_work_of_any_depth_is_removed_and_closed_folders_with_it(settings: Settings) -> None:
    """Whatever a command left."""
    folder = settings.work / "t" / "attempt-1"
    (folder / "closed" / "inner").mkdir(parents=True)
    (folder / "closed" / "inner" / "file").touch()
    (folder / "closed" / "inner").chmod(0)
    (folder / "closed").chmod(0)
    build_deep(folder)

    remove_work(settings, [TaskUid("t")])

    assert not (settings.work / "t").exists()


def test_no_depth_of_a_result_keeps_its_report_from_being_sent(settings: Settings) -> None:
    """The operator refuses such a result; it has to hear of it."""
    result = settings.work / "t" / "attempt-1" / "result"
    result.mkdir(parents=True)
    build_deep(result)

    sync_result(settings, TaskUid("t"), 1)

    assert (result / "d").is_dir()
    remove_work(settings, [TaskUid("t")])
