"""Verify sees every difference; repair brings back what can be derived, to the last byte."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.deciding import submit
from support.logs import HOLDER, damage, read_active
from support.volumes import do, load_projections, open_coordinator, remove_projections, write_story, write_volume
from watchbill_coordination.coordinator.repair import plan_repair, repair
from watchbill_coordination.coordinator.verify import verify
from watchbill_coordination.storage.faults import StorageFault, WriterAlive
from watchbill_coordination.storage.layout import Layout

PROJECTIONS = ["orchestration/task-queue.json", "orchestration/agent-registry.json", "shared-context/project-state.md"]


def test_a_volume_that_was_closed_is_whole(tmp_path: Path) -> None:
    """Log and projections agree, and nothing is worth a word."""
    report = verify(write_volume(tmp_path))

    assert report.findings == ()
    assert report.is_whole


def test_a_running_system_is_whole(tmp_path: Path) -> None:
    """Projections lag behind the log, and are right at their own watermark."""
    coordinator = open_coordinator(tmp_path)
    write_story(coordinator)
    coordinator.write_projections()
    do(coordinator, submit("t-9"))

    assert verify(coordinator.layout).findings == ()


def test_a_killed_system_is_whole(tmp_path: Path) -> None:
    """Nothing has to be mended after a death between two commits."""
    coordinator = open_coordinator(tmp_path)
    write_story(coordinator)
    coordinator.abandon()

    assert verify(coordinator.layout).is_whole


def test_verify_changes_nothing(tmp_path: Path) -> None:
    """Not a byte, not a file, not a time."""
    layout = write_volume(tmp_path)
    before = {path: path.stat() for path in layout.root.rglob("*")}

    verify(layout)

    after = {path: path.stat() for path in layout.root.rglob("*")}
    assert {p: (s.st_size, s.st_mtime_ns) for p, s in after.items()} == {
        p: (s.st_size, s.st_mtime_ns) for p, s in before.items()
    }


@pytest.mark.parametrize("path", PROJECTIONS)
def test_an_edited_projection_is_named(tmp_path: Path, path: str) -> None:
    """One changed character is enough."""
    layout = write_volume(tmp_path)
    file = tmp_path / path
    file.write_bytes(
        file.read_bytes().replace(b"holder", b"h0lder").replace(b"p-of-", b"q-of-").replace(b"uid", b"u1d")
    )
    file.write_bytes(file.read_bytes() + b"\n")

    assert [(fault.kind, fault.file) for fault in verify(layout).faults] == [("Differs", str(file))]


def test_an_edited_lock_is_named(tmp_path: Path) -> None:
    """Locks are projections as well."""
    layout = write_volume(tmp_path)
    (lock,) = layout.locks.iterdir()
    lock.write_bytes(lock.read_bytes().replace(b'"token":1', b'"token":9'))

    assert [fault.file for fault in verify(layout).faults] == [str(lock)]


def test_a_projection_of_another_log_is_named(tmp_path: Path) -> None:
    """It may be whole, and is not ours."""
    layout, other = write_volume(tmp_path / "one"), write_volume(tmp_path / "other")
    layout.task_queue.write_bytes(other.task_queue.read_bytes())

    assert [fault.kind for fault in verify(layout).faults] == ["Differs"]


def test_a_projection_ahead_of_the_log_is_named(tmp_path: Path) -> None:
    """It cannot arise, so somebody cut the log."""
    layout = write_volume(tmp_path)
    frame, rest = layout.task_queue.read_bytes().split(b"\n", 1)
    layout.task_queue.write_bytes(frame.replace(b'"seq":', b'"seq":9') + b"\n" + rest)

    assert [fault.kind for fault in verify(layout).faults] == ["Ahead"]


def test_deleted_projections_come_back_byte_identical(tmp_path: Path) -> None:
    """The log is the truth, and repairing what is derived does not add to it."""
    layout = write_volume(tmp_path)
    before, log = load_projections(layout), read_active(tmp_path)
    remove_projections(layout)

    repaired = repair(layout, HOLDER, dry_run=False)

    assert repaired.is_done
    assert repaired.report.findings == ()
    assert load_projections(layout) == before
    assert len(before) == len(PROJECTIONS) + 1
    assert read_active(tmp_path) == log


@pytest.mark.parametrize("seed", ["1", "2", "3"])
def test_another_process_builds_the_same_bytes(tmp_path: Path, seed: str) -> None:
    """Nothing depends on the order in which a process happens to hash."""
    layout = write_volume(tmp_path)
    before = load_projections(layout)
    remove_projections(layout)
    script = (
        f"import sys; sys.path[:0] = {[path for path in sys.path if path]!r}\n"
        "from pathlib import Path\nfrom support.logs import HOLDER\n"
        "from watchbill_coordination.coordinator.repair import repair\n"
        "from watchbill_coordination.storage.layout import Layout\n"
        "repair(Layout(Path(sys.argv[1])), HOLDER, dry_run=False)\n"
    )

    environment = {**os.environ, "PYTHONHASHSEED": seed}
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], env=environment, timeout=60, check=True)

    assert load_projections(layout) == before


def test_a_dry_run_changes_nothing(tmp_path: Path) -> None:
    """It names what it would do."""
    layout = write_volume(tmp_path)
    remove_projections(layout)

    repaired = repair(layout, HOLDER)

    assert [step.kind for step in repaired.steps] == ["Rebuild"] * len(PROJECTIONS)
    assert not repaired.is_done
    assert load_projections(layout) == {}


def test_repair_is_idempotent(tmp_path: Path) -> None:
    """The second run finds nothing to do and claims nothing."""
    layout = write_volume(tmp_path)
    remove_projections(layout)
    damage(tmp_path, read_active(tmp_path) + b'{"v":1,')
    repair(layout, HOLDER, dry_run=False)
    before = {path: path.stat().st_mtime_ns for path in layout.root.rglob("*")}

    assert repair(layout, HOLDER, dry_run=False).steps == ()
    assert {path: path.stat().st_mtime_ns for path in layout.root.rglob("*")} == before


def test_a_torn_tail_is_put_aside(tmp_path: Path) -> None:
    """The bytes are kept, the log says so, and everything is whole afterwards."""
    layout = write_volume(tmp_path)
    damage(tmp_path, read_active(tmp_path) + b'{"v":1,"seq":')

    repaired = repair(layout, HOLDER, dry_run=False)

    assert [step.kind for step in repaired.steps] == ["Truncate"]
    assert repaired.report.is_whole
    assert [finding.kind for finding in repaired.report.findings] == ["Quarantine"]
    assert [path.read_bytes() for path in layout.quarantine.iterdir()] == [b'{"v":1,"seq":']


def test_an_acknowledged_loss_is_not_repaired_in_silence(tmp_path: Path) -> None:
    """It takes the words, and then the log goes on before the damage."""
    layout = write_volume(tmp_path)
    content = read_active(tmp_path)
    damage(tmp_path, content[:-1])

    with pytest.raises(StorageFault, match="acknowledged"):
        repair(layout, HOLDER, dry_run=False)
    assert read_active(tmp_path) == content[:-1]

    assert repair(layout, HOLDER, dry_run=False, accept_loss=True).report.is_whole


def test_damage_in_a_sealed_segment_is_left_to_a_person(tmp_path: Path) -> None:
    """Nothing is rebuilt from a log that cannot be read."""
    write_volume(tmp_path)
    layout = write_volume(tmp_path)
    sealed = min(layout.segments.glob("*.jsonl"))
    sealed.write_bytes(sealed.read_bytes().replace(b"first", b"f1rst"))
    before = load_projections(layout)

    with pytest.raises(StorageFault, match=f"{sealed.name}.*nothing was changed"):
        repair(layout, HOLDER, dry_run=False)

    assert load_projections(layout) == before


def test_damage_anywhere_can_be_accepted(tmp_path: Path) -> None:
    """The log then ends before it, everything behind is given up, and nothing is deleted."""
    write_volume(tmp_path)
    layout = write_volume(tmp_path)
    sealed = min(layout.segments.glob("*.jsonl"))
    sealed.write_bytes(sealed.read_bytes().replace(b'"name":"holder"', b'"name":"h0lder"'))
    files = {path: path.read_bytes() for path in layout.segments.iterdir() if path.suffix == ".jsonl"}

    repaired = repair(layout, HOLDER, dry_run=False, accept_loss=True)

    assert repaired.report.is_whole
    assert sorted({finding.kind for finding in repaired.report.findings}) == ["Orphan", "Quarantine"]
    assert {task.name for task in repaired.report.state.tasks.values()} == {"first"}
    assert {path: path.read_bytes() for path in files} == files
    open_coordinator(tmp_path).close()
    assert verify(layout).is_whole


def test_a_missing_head_is_written_again(tmp_path: Path) -> None:
    """It is a hint, and can be had from a log that is whole."""
    layout = write_volume(tmp_path)
    before = layout.head.read_bytes()
    layout.head.unlink()

    assert [fault.kind for fault in verify(layout).faults] == ["Head"]
    assert repair(layout, HOLDER, dry_run=False).report.is_whole
    assert layout.head.read_bytes() == before


def test_an_active_file_that_somebody_replaced_is_put_right(tmp_path: Path) -> None:
    """The segment has a second name, which the log is read by."""
    layout = write_volume(tmp_path)
    content = read_active(tmp_path)
    layout.active.unlink()
    layout.active.write_bytes(content.replace(b"first", b"f1rst"))

    assert [fault.kind for fault in verify(layout).faults] == ["Active"]
    assert repair(layout, HOLDER, dry_run=False).report.is_whole
    assert read_active(tmp_path) == content


def test_repair_leaves_a_living_writer_alone(tmp_path: Path) -> None:
    """It refuses, and names it."""
    layout = write_volume(tmp_path)
    remove_projections(layout)
    script = (
        f"import sys; sys.path[:0] = {[path for path in sys.path if path]!r}\n"
        "from pathlib import Path\nfrom support.logs import open_log\n"
        "log = open_log(Path(sys.argv[1])); print('open', flush=True); sys.stdin.read()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "open\n"

    with pytest.raises(WriterAlive, match=f"process {process.pid} on"):
        repair(layout, HOLDER, dry_run=False)

    process.communicate(timeout=20)
    assert repair(layout, HOLDER, dry_run=False).report.is_whole


def test_a_writer_of_another_host_is_not_overruled(tmp_path: Path) -> None:
    """Whether it lives cannot be told from here; a log that it closed says that it does not."""
    layout = write_volume(tmp_path)
    epoch = layout.epochs / "1"
    epoch.write_text(json.dumps(json.loads(epoch.read_text()) | {"host": "elsewhere"}))
    remove_projections(layout)
    assert repair(layout, HOLDER, dry_run=False).is_done

    coordinator = open_coordinator(tmp_path)
    coordinator.abandon()
    epoch = layout.epochs / str(coordinator.epoch)
    epoch.write_text(json.dumps(json.loads(epoch.read_text()) | {"host": "elsewhere"}))
    remove_projections(layout)
    with pytest.raises(WriterAlive, match="cannot be told from this host"):
        repair(layout, HOLDER, dry_run=False)
    assert repair(layout, HOLDER, dry_run=False, force=True).is_done


def test_a_folder_without_a_log_is_not_repaired(tmp_path: Path) -> None:
    """There is nothing to begin from."""
    assert [fault.kind for fault in verify(Layout(tmp_path)).faults] == ["Missing"]
    assert [step.kind for step in plan_repair(verify(Layout(tmp_path)).findings)] == ["Refuse"]
    with pytest.raises(StorageFault, match="there is no log here"):
        repair(Layout(tmp_path), HOLDER, dry_run=False)
