"""Which sessions are continued, and what is left of a former attempt."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from watchbill_agent.claude.resume import (
    RESUMABLE,
    RUNNING,
    Note,
    clear_folder,
    find_session,
    load_note,
    move_work,
    write_note,
)
from watchbill_coordination.core.messages import Assign
from watchbill_coordination.core.specs import TaskUid

SESSION = "0b1c2d3e-0000-4000-8000-00000000abcd"
NEVER = [
    "",
    "Refused",
    "ContextFull",
    "SchemaNotMet",
    "BadRequest",
    "BudgetExceeded",
    "MaxTurnsExceeded",
    "EmptyAnswer",
]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """The configuration of a task whose session was kept."""
    folder = tmp_path / "claude"
    (folder / "projects" / "-w").mkdir(parents=True)
    (folder / "projects" / "-w" / f"{SESSION}.jsonl").write_text("{}\n")
    return folder


def note(folder: Path, *, attempt: int = 1, reason: str = RUNNING) -> None:
    write_note(folder, Note(attempt=attempt, session=SESSION, reason=reason))


@pytest.mark.parametrize("reason", sorted(RESUMABLE))
def test_an_interrupted_session_is_continued(tmp_path: Path, config: Path, reason: str) -> None:
    """By the attempt directly after."""
    note(tmp_path, reason=reason)
    assert continued(tmp_path, config, 2) == SESSION


@pytest.mark.parametrize("reason", NEVER)
def test_a_session_that_came_to_its_end_is_not(tmp_path: Path, config: Path, reason: str) -> None:
    """It would end in the same way."""
    note(tmp_path, reason=reason)
    assert continued(tmp_path, config, 2) == ""


@pytest.mark.parametrize("attempt", [1, 3])
def test_no_other_attempt_continues_it(tmp_path: Path, config: Path, attempt: int) -> None:
    """Neither itself nor one after another."""
    note(tmp_path)
    assert continued(tmp_path, config, attempt) == ""


def test_a_first_attempt_continues_nothing(tmp_path: Path, config: Path) -> None:
    """What lies there then was put there by another task that knew the uid: its parent does."""
    note(tmp_path, attempt=0)
    assert continued(tmp_path, config, 1) == ""


def test_an_attempt_whose_predecessor_ran_elsewhere_continues_nothing(tmp_path: Path, config: Path) -> None:
    """What lies there then was put there by another task of this replica that knew the uid."""
    note(tmp_path)
    assert continued(tmp_path, config, 2, had_previous=False) == ""


def continued(folder: Path, config: Path, attempt: int, *, had_previous: bool | None = None) -> str:
    """The id of the session that this attempt would continue, or nothing; it is not the first here by default."""
    assign = Assign(
        task=TaskUid("t"),
        attempt=attempt,
        name="t",
        incarnation="i",
        timeout_seconds=60,
        had_previous=attempt > 1 if had_previous is None else had_previous,
    )
    note = find_session(folder, config, assign)
    return note.session if note else ""


def test_without_its_file_there_is_no_session(tmp_path: Path) -> None:
    """The note alone is not enough."""
    note(tmp_path)
    assert continued(tmp_path, tmp_path / "claude", 2) == ""


@pytest.mark.parametrize("kind", ["folder", "fifo", "link"])
def test_a_note_that_is_no_file_is_no_note(tmp_path: Path, kind: str) -> None:
    """And nothing blocks."""
    path = tmp_path / "session.json"
    match kind:
        case "folder":
            path.mkdir()
        case "fifo":
            os.mkfifo(path)
        case _:
            note(tmp_path)
            path.rename(tmp_path / "elsewhere")
            path.symlink_to(tmp_path / "elsewhere")
    assert load_note(tmp_path) is None


@pytest.mark.parametrize("session", ["*", "--help", "../../x", SESSION.upper() + "\n", ""])
def test_a_note_whose_session_is_no_id_is_no_note(tmp_path: Path, config: Path, session: str) -> None:
    """Commands can write it, and it becomes an argument of Claude Code."""
    write_note(tmp_path, Note(attempt=1, session=session, reason=RUNNING))
    assert load_note(tmp_path) is None
    assert continued(tmp_path, config, 2) == ""


def test_a_cleared_folder_is_empty_but_for_what_is_kept(config: Path) -> None:
    """Files of that name are not kept."""
    (config / ".claude.json").write_text("broken")
    (config / "plugins").mkdir()
    clear_folder(config, keep=("projects",))
    assert [entry.name for entry in config.iterdir()] == ["projects"]


def test_a_link_in_the_place_of_a_folder_is_replaced(tmp_path: Path) -> None:
    """What it points to stays."""
    other = tmp_path / "other"
    other.mkdir()
    (other / "mine").touch()
    (tmp_path / "claude").symlink_to(other)
    clear_folder(tmp_path / "claude")
    assert not (tmp_path / "claude").is_symlink()
    assert (other / "mine").exists()


def test_a_link_in_the_place_of_what_is_kept_is_removed(config: Path, tmp_path: Path) -> None:
    """A session is not read from elsewhere."""
    (config / "projects").rename(tmp_path / "elsewhere")
    (config / "projects").symlink_to(tmp_path / "elsewhere")
    clear_folder(config, keep=("projects",))
    assert list(config.iterdir()) == []


def test_work_moves_into_the_new_folder(tmp_path: Path) -> None:
    """But for the former answer and what Watchbill itself put there."""
    former, new = tmp_path / "attempt-1", tmp_path / "attempt-2"
    for folder in (former, new):
        (folder / "result").mkdir(parents=True)
        (folder / ".prompt").write_text(folder.name)
    (former / "code.py").write_text("x")
    (former / "result" / "patch").write_text("y")
    (former / "result" / "output.json").write_text("old")
    move_work(former, new)
    assert (new / "code.py").read_text() == "x"
    assert (new / "result" / "patch").read_text() == "y"
    assert not (new / "result" / "output.json").exists()
    assert (new / ".prompt").read_text() == "attempt-2"


def test_a_link_among_the_work_moves_as_a_link(tmp_path: Path) -> None:
    """Nothing is copied from elsewhere."""
    former, new = tmp_path / "attempt-1", tmp_path / "attempt-2"
    former.mkdir()
    (new / "result").mkdir(parents=True)
    (former / "link").symlink_to("/etc/hostname")
    (former / "result").symlink_to("/etc")
    move_work(former, new)
    assert (new / "link").is_symlink()
    assert list((new / "result").iterdir()) == []


def test_without_former_work_nothing_moves(tmp_path: Path) -> None:
    """It may have been removed."""
    move_work(tmp_path / "attempt-1", tmp_path)
    assert list(tmp_path.iterdir()) == []
