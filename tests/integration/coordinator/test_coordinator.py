"""The coordinator: commands in, durable events out, and the same state after every restart."""

from __future__ import annotations

import contextlib
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from support.asking import ask_child
from support.deciding import accept, declare, finish, register, submit
from support.volumes import NOW, do, open_coordinator, write_story
from watchbill_coordination.coordinator.verify import verify
from watchbill_coordination.core.commands import Rejected
from watchbill_coordination.core.evolve import fold
from watchbill_coordination.core.state import Phase
from watchbill_coordination.storage.faults import Fenced, VolumeFull
from watchbill_coordination.storage.layout import Layout
from watchbill_coordination.storage.reading import read_log
from watchbill_coordination.storage.reserve import reserve_path


def test_a_command_and_all_that_follows_from_it_is_one_commit(tmp_path: Path) -> None:
    """A submitted task is queued and dispatched in the same breath."""
    coordinator = open_coordinator(tmp_path)
    do(coordinator, declare(), register())

    assert do(coordinator, submit("t-1")) == ["TaskSubmitted", "TaskQueued", "TaskDispatched"]


def test_nothing_is_on_disk_before_the_commit(tmp_path: Path) -> None:
    """Staging is memory alone."""
    coordinator = open_coordinator(tmp_path)
    before = [recorded.seq for recorded in read_log(Layout(tmp_path))]

    coordinator.stage([declare()], NOW)

    assert [recorded.seq for recorded in read_log(Layout(tmp_path))] == before
    assert coordinator.pending == 1


def test_a_commit_tells_whom_it_concerns(tmp_path: Path) -> None:
    """Task, replica and pool of an ended attempt, and the task that takes over the slot."""
    coordinator = open_coordinator(tmp_path)
    do(coordinator, declare(), register(), submit("t-1"), submit("t-2"))

    coordinator.stage([accept("t-1"), finish("t-1")], NOW)
    committed = coordinator.commit()

    assert committed.tasks == {"t-1", "t-2"}
    assert committed.replicas == {"blue-0"}
    assert committed.agents == {"blue"}


def test_the_end_of_a_submitted_task_concerns_the_replica_that_works_on_its_parent(tmp_path: Path) -> None:
    """An attempt there is told."""
    coordinator = open_coordinator(tmp_path)
    do(coordinator, declare(replicas=2), register(), register("blue-1"), submit("t-1"), accept("t-1"))
    do(coordinator, ask_child("t-1"))
    (name,) = coordinator.state.children
    do(coordinator, replace(submit("c", name=name), parent="t-1"), accept("c", replica="blue-1"))

    coordinator.stage([finish("c", replica="blue-1")], NOW)

    assert coordinator.commit().replicas == {"blue-0", "blue-1"}


def test_a_refused_command_leaves_no_trace(tmp_path: Path) -> None:
    """What cannot be written is refused as a whole, and the coordinator goes on."""
    coordinator = open_coordinator(tmp_path)
    do(coordinator, declare(), register())

    answers = coordinator.stage([submit("t-1", prompt="\ud800"), submit("t-2")], NOW)

    assert isinstance(answers[0], Rejected)
    assert "cannot be written" in answers[0].reason
    assert answers[1] is None
    assert {recorded.event.task for recorded in coordinator.commit().records if hasattr(recorded.event, "task")} == {
        "t-2"
    }


def test_the_state_after_a_restart_is_the_state_before(tmp_path: Path) -> None:
    """It is a fold over the log and nothing else."""
    coordinator = open_coordinator(tmp_path)
    write_story(coordinator)
    coordinator.abandon()

    state = open_coordinator(tmp_path).state

    assert state.tasks == coordinator.state.tasks
    assert state.replicas == coordinator.state.replicas
    assert state.locks == coordinator.state.locks
    assert state == fold(read_log(Layout(tmp_path)))


def test_an_empty_commit_costs_nothing(tmp_path: Path) -> None:
    """An idle coordinator does not write."""
    coordinator = open_coordinator(tmp_path)
    before = os.stat(coordinator.layout.active).st_mtime_ns

    assert coordinator.commit().records == ()
    assert os.stat(coordinator.layout.active).st_mtime_ns == before


def test_events_name_their_causes(tmp_path: Path) -> None:
    """What came from outside has none; what followed points back."""
    coordinator = open_coordinator(tmp_path)
    do(coordinator, declare(), register())

    coordinator.stage([submit("t-1")], NOW)
    submitted, queued, dispatched = coordinator.commit().records

    assert (submitted.cause, queued.cause, dispatched.cause) == (0, submitted.seq, queued.seq)


def test_a_deposed_coordinator_acknowledges_nothing(tmp_path: Path) -> None:
    """The second one claimed the volume."""
    first = open_coordinator(tmp_path)
    second = open_coordinator(tmp_path)
    first.stage([declare()], NOW)

    with pytest.raises(Fenced):
        first.commit()

    assert second.state.agents == {}
    assert second.epoch == first.epoch + 1
    assert second.log_id == first.log_id


def test_a_deposed_coordinator_leaves_the_projections_alone(tmp_path: Path) -> None:
    """Its files would be older than its successor's."""
    first = open_coordinator(tmp_path)
    do(first, declare())
    second = open_coordinator(tmp_path)
    written = second.layout.task_queue.read_bytes()

    with pytest.raises(Fenced):
        first.write_projections()

    assert second.layout.task_queue.read_bytes() == written


def test_a_full_volume_takes_the_reserve_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The batch goes through once more with the space that was kept for it, and then waits."""
    coordinator = open_coordinator(tmp_path)
    log = coordinator._log
    commit, refusals = log.commit, [VolumeFull("no space"), None, VolumeFull("no space")]

    def commit_or_refuse() -> int:
        refusal = refusals.pop(0)
        if refusal is not None:
            raise refusal
        return commit()

    monkeypatch.setattr(log, "commit", commit_or_refuse)
    coordinator.stage([declare()], NOW)
    assert len(coordinator.commit().records) == 1
    assert not coordinator.has_reserve
    assert not reserve_path(coordinator.layout).exists()

    coordinator.stage([register()], NOW)
    with pytest.raises(VolumeFull):
        coordinator.commit()
    monkeypatch.undo()
    assert len(coordinator.commit().records) == 1


def test_a_volume_that_is_really_full_is_survived(tmp_path: Path) -> None:
    """On a small tmpfs the reserve carries the log on; then work is held, and with space nothing was lost."""
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "none", tmp_path], check=False).returncode:
        pytest.skip("this user may not mount")
    try:
        _fill_and_go_on(tmp_path)
    finally:
        subprocess.run(["umount", "-l", tmp_path], check=True)


def _fill_and_go_on(root: Path) -> None:
    coordinator = open_coordinator(root)
    junk = root / "junk"
    with contextlib.suppress(OSError), open(junk, "wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)
    coordinator.stage([submit("t-1", prompt="p" * 50_000)], NOW)
    assert len(coordinator.commit().records) == 2
    assert not coordinator.has_reserve

    with contextlib.suppress(OSError), open(junk, "ab", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)
    coordinator.stage([submit("t-2", prompt="p" * 50_000)], NOW)
    with pytest.raises(VolumeFull):
        coordinator.commit()
    assert not coordinator.write_projections()

    junk.unlink()
    assert len(coordinator.commit().records) == 2
    assert coordinator.write_projections()
    assert coordinator.has_reserve
    coordinator.close()
    assert verify(Layout(root)).findings == ()


def test_the_reserve_comes_back_with_the_space(tmp_path: Path) -> None:
    """It is made again at the next writing of the projections."""
    coordinator = open_coordinator(tmp_path)
    reserve_path(coordinator.layout).unlink()
    coordinator._room.has_reserve = False

    coordinator.write_projections()

    assert coordinator.has_reserve
    assert reserve_path(coordinator.layout).exists()


def test_a_reserve_that_somebody_removed_is_known_to_be_gone_on_a_full_volume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else new work would be started again at once where a quota is full that nobody can read."""
    coordinator = open_coordinator(tmp_path)
    reserve_path(coordinator.layout).unlink()

    def refuse() -> int:
        raise VolumeFull("no space")

    monkeypatch.setattr(coordinator._log, "commit", refuse)
    coordinator.stage([declare()], NOW)

    with pytest.raises(VolumeFull):
        coordinator.commit()

    assert not coordinator.has_reserve
    assert "new work is held" in coordinator.held


def test_a_lost_slot_is_filled_after_a_restart(tmp_path: Path) -> None:
    """What was queued when the writer died is dispatched by the next one, without a new command."""
    coordinator = open_coordinator(tmp_path)
    do(coordinator, submit("t-1"))
    coordinator.abandon()

    again = open_coordinator(tmp_path)
    do(again, declare(), register())

    assert again.state.tasks["t-1"].phase is Phase.RUNNING  # type: ignore[index]  # a plain string is a uid here
