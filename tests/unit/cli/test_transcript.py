"""Where a transcript is found, and what is said where there is none."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from support.logs import NOW, open_log, submitted
from support.volume import REPLICA, TRAPS, make_volume
from watchbill_cli.main import main
from watchbill_coordination.core.events import Event, TaskCancelled, TaskDispatched
from watchbill_coordination.core.specs import TaskUid
from watchbill_coordination.storage.layout import Layout, transcript_file

UID = TaskUid("task-1")


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    """A volume of one replica that the command acts on."""
    monkeypatch.setenv("WATCHBILL_ROOT", str(tmp_path))
    return make_volume(tmp_path)


def record(layout: Layout, attempts: int, *more: Event) -> None:
    """Write a log in which the Task n1 had so many attempts."""
    log = open_log(layout.root)
    numbers = range(1, attempts + 1)
    dispatched = [TaskDispatched(task=UID, agent=REPLICA, attempt=n, incarnation="pod/1") for n in numbers]
    log.append_group([submitted(1), *dispatched, *more], NOW)
    log.commit()
    log.close()


def put(folder: Path, attempt: int, *texts: str) -> Path:
    """Write a transcript of these sayings and its end."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [{"kind": "assistant", "ts": 0, "text": text} for text in texts]
    path = folder / transcript_file(UID, attempt)
    path.write_text("".join(json.dumps(line) + "\n" for line in [*lines, {"kind": "result", "outcome": "Succeeded"}]))
    return path


def workspace(layout: Layout) -> Path:
    """Where the agent writes them."""
    return layout.workspace(REPLICA) / "state" / "transcripts"


def test_the_newest_attempt_is_shown(layout: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    """Of those that there were."""
    record(layout, 2)
    put(workspace(layout), 1, "first")
    put(workspace(layout), 2, "second")

    assert main(["transcript", "n1"]) == 0
    assert "second" in capsys.readouterr().out


def test_another_attempt_is_asked_for_by_its_number(layout: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    """From 1."""
    record(layout, 2)
    put(workspace(layout), 1, "first")

    assert main(["transcript", "n1", "--attempt", "1"]) == 0
    assert "first" in capsys.readouterr().out


def test_it_outlives_its_agent(layout: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    """The operator keeps it."""
    record(layout, 1)
    put(layout.transcripts, 1, "kept")

    assert main(["transcript", UID]) == 0
    assert "kept" in capsys.readouterr().out


def test_json_is_what_the_file_holds(layout: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    """Line by line, for scripts."""
    record(layout, 1)
    path = put(workspace(layout), 1, "said", "h\N{LATIN SMALL LETTER E WITH ACUTE}", "\ud800 \x9b2J")

    assert main(["transcript", "n1", "-o", "json"]) == 0
    written = [json.loads(line) for line in path.read_text().splitlines()]
    shown = capsys.readouterr().out
    assert [json.loads(line) for line in shown.splitlines()] == written
    assert "\x9b" not in shown


def test_following_shows_every_attempt_and_ends_with_the_task(
    layout: Layout, capsys: pytest.CaptureFixture[str]
) -> None:
    """From the newest one that there is."""
    record(layout, 1, TaskCancelled(task=UID))
    put(workspace(layout), 1, "said")

    assert main(["transcript", "n1", "--follow"]) == 0
    assert "said" in capsys.readouterr().out


@pytest.mark.parametrize("trap", TRAPS)
def test_what_is_no_plain_file_is_not_read(layout: Layout, capsys: pytest.CaptureFixture[str], trap: str) -> None:
    """An agent can put anything there."""
    record(layout, 1)
    workspace(layout).mkdir(parents=True)
    make: Callable[[Path], object] = TRAPS[trap]
    make(workspace(layout) / transcript_file(UID, 1))

    code = main(["transcript", "n1"])

    assert (code, capsys.readouterr().out) in ((2, ""), (0, ""))


@pytest.mark.parametrize(
    ("words", "why"),
    [(["n2"], "knows no Task n2"), (["n1", "--attempt", "7"], "has had 1 attempt"), (["n1"], "left no transcript")],
)
def test_what_is_missing_is_said_in_a_sentence(
    layout: Layout, capsys: pytest.CaptureFixture[str], words: list[str], why: str
) -> None:
    """With exit code 2."""
    record(layout, 1)

    assert main(["transcript", *words]) == 2
    assert why in capsys.readouterr().err


def test_a_task_that_nobody_has_begun_has_none_yet(layout: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    """And it is said how to wait for it."""
    record(layout, 0)

    assert main(["transcript", "n1"]) == 2
    assert "--follow waits" in capsys.readouterr().err


@pytest.mark.parametrize("more", [[], ["--follow"]])
def test_a_task_that_ended_before_it_began_is_not_waited_for(
    layout: Layout, capsys: pytest.CaptureFixture[str], more: list[str]
) -> None:
    """The log says why it ended; no transcript will ever come."""
    record(layout, 0, TaskCancelled(task=UID))

    assert main(["transcript", "n1", *more]) == 2
    assert "watchbill events n1" in capsys.readouterr().err


@pytest.mark.parametrize("number", ["0", "-1", "2"])
def test_an_attempt_that_there_was_not_is_told(layout: Layout, capsys: pytest.CaptureFixture[str], number: str) -> None:
    """They count from 1."""
    record(layout, 1)
    put(workspace(layout), 1, "first")

    assert main(["transcript", "n1", "--attempt", number]) == 2
    assert f"there is no {number}" in capsys.readouterr().err
