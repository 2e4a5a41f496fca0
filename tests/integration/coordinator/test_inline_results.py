"""Results that are one short text follow from the log: a power cut, or a hand that removes them, costs nothing."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from support.deciding import accept, declare, finish, register, remove, submit
from support.volumes import do, open_coordinator
from watchbill_coordination.core.specs import TaskUid
from watchbill_coordination.storage.layout import Layout
from watchbill_coordination.storage.results import write_inline_result

TEXT = "what it printed: 42 €\n"


def finish_inline(root: Path, *tasks: str, inline: bool = True) -> None:
    """Run these tasks to their ends; the one file of each result holds the text."""
    coordinator = open_coordinator(root)
    do(coordinator, declare(), register())
    for task in tasks:
        do(coordinator, submit(task), accept(task))
        size = write_inline_result(coordinator.layout, TaskUid(task), TEXT)
        do(coordinator, replace(finish(task), result=TEXT, inline=inline, files=size.files, bytes=size.bytes))
    coordinator.abandon()


def output(root: Path, task: str) -> Path:
    """The file of a task's result."""
    return Layout(root).result(TaskUid(task)) / "stdout"


def test_a_result_that_a_power_cut_took_comes_back(tmp_path: Path) -> None:
    """The whole folder, since nothing of it was synced."""
    finish_inline(tmp_path, "t-1", "t-2")
    shutil.rmtree(Layout(tmp_path).results)

    open_coordinator(tmp_path)

    assert [output(tmp_path, task).read_text() for task in ("t-1", "t-2")] == [TEXT, TEXT]


@pytest.mark.parametrize("left", [b"", b"what it pri", b"\0" * len(TEXT.encode())])
def test_a_result_that_a_power_cut_damaged_comes_back(tmp_path: Path, left: bytes) -> None:
    """Cut off, or of the right size without its content."""
    finish_inline(tmp_path, "t-1")
    output(tmp_path, "t-1").write_bytes(left)

    open_coordinator(tmp_path)

    assert output(tmp_path, "t-1").read_text() == TEXT


def test_a_result_that_is_as_it_was_is_left_alone(tmp_path: Path) -> None:
    """A start writes nothing that is there."""
    finish_inline(tmp_path, "t-1")
    before = output(tmp_path, "t-1").stat()

    open_coordinator(tmp_path)

    assert output(tmp_path, "t-1").stat() == before


def test_many_results_that_a_power_cut_took_cost_no_more_syncs_than_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They follow from the log as before; a start that syncs each of them is a long one."""
    finish_inline(tmp_path, "t-1", "t-2", "t-3")
    real, synced = os.fsync, []
    monkeypatch.setattr(os, "fsync", lambda fd: (synced.append(fd), real(fd))[1])
    open_coordinator(tmp_path).abandon()
    usual = len(synced)
    shutil.rmtree(Layout(tmp_path).results)

    open_coordinator(tmp_path)

    assert output(tmp_path, "t-3").read_text() == TEXT
    assert len(synced) == 2 * usual


def test_a_result_that_cannot_be_written_again_is_told_and_stops_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """One short text is less than the work of all others."""
    finish_inline(tmp_path, "t-1")
    results = Layout(tmp_path).results
    shutil.rmtree(results)
    results.write_text("in the way")
    coordinator = open_coordinator(tmp_path)

    assert do(coordinator, submit("t-2")) == ["TaskSubmitted", "TaskQueued", "TaskDispatched"]
    assert "the result of task t-1 cannot be restored" in caplog.text


def test_a_result_that_was_copied_is_never_made_up(tmp_path: Path) -> None:
    """Its record holds the first part of its output alone."""
    finish_inline(tmp_path, "t-1", inline=False)
    shutil.rmtree(Layout(tmp_path).results)

    open_coordinator(tmp_path)

    assert not output(tmp_path, "t-1").exists()


def test_the_result_of_a_deleted_task_stays_away(tmp_path: Path) -> None:
    """Nobody can ask for it."""
    finish_inline(tmp_path, "t-1")
    coordinator = open_coordinator(tmp_path)
    do(coordinator, remove("t-1"))
    coordinator.close()
    shutil.rmtree(Layout(tmp_path).results)

    open_coordinator(tmp_path)

    assert not output(tmp_path, "t-1").exists()


def test_the_result_of_a_deleted_task_comes_back_while_another_task_waits_for_it(tmp_path: Path) -> None:
    """The other one is bound to it, and will read it."""
    coordinator = open_coordinator(tmp_path)
    do(coordinator, declare(), register(), submit("t-1", name="first"), accept("t-1"))
    do(coordinator, submit("t-2", dependsOn=["first", "never"]))
    do(coordinator, replace(finish("t-1"), result=TEXT, inline=True, files=1, bytes=len(TEXT.encode())))
    do(coordinator, remove("t-1"))
    coordinator.abandon()

    open_coordinator(tmp_path)

    assert output(tmp_path, "t-1").read_text() == TEXT
