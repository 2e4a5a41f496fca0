"""Readers of a log whose end was damaged: what was acknowledged is never left out in silence."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from support.logs import NOW, damage, list_seqs, open_log, queued, read_active, write_log
from watchbill_coordination.storage.faults import AcknowledgedLost, LogCorrupt
from watchbill_coordination.storage.following import Follower, follow_log
from watchbill_coordination.storage.layout import Layout


def _follow(root: Path) -> list[int]:
    return [recorded.seq for recorded in follow_log(Layout(root), is_ended=lambda: True)]


READERS = pytest.mark.parametrize("read", [list_seqs, _follow], ids=["read", "follow"])
Read = Callable[[Path], list[int]]


def _damage_fourth(root: Path) -> int:
    """Change one byte of the fourth of seven records, all acknowledged; return where that record begins."""
    write_log(root, 3)
    lines = read_active(root).splitlines(keepends=True)
    lines[3] = lines[3].replace(b"task-", b"tusk-")
    damage(root, b"".join(lines))
    return len(b"".join(lines[:3]))


@READERS
def test_a_damaged_acknowledged_record_is_told_with_its_place(tmp_path: Path, read: Read) -> None:
    """The records before it are no log: an answer from them would be wrong and look right."""
    offset = _damage_fourth(tmp_path)

    with pytest.raises(AcknowledgedLost, match=r"records 4 to 7 were acknowledged.*checksum") as caught:
        read(tmp_path)

    assert (caught.value.offset, caught.value.seq) == (offset, 4)
    assert caught.value.file.samefile(Layout(tmp_path).active)


@READERS
def test_acknowledged_records_that_were_cut_off_are_missed(tmp_path: Path, read: Read) -> None:
    """Nothing is wrong with what is left, but for the end of it."""
    write_log(tmp_path, 3)
    kept = b"".join(read_active(tmp_path).splitlines(keepends=True)[:-2])
    damage(tmp_path, kept)

    with pytest.raises(AcknowledgedLost, match="records 6 to 7 were acknowledged") as caught:
        read(tmp_path)

    assert (caught.value.offset, caught.value.seq) == (len(kept), 6)


@READERS
def test_a_log_that_is_gone_is_missed(tmp_path: Path, read: Read) -> None:
    """The head remembers that there was one."""
    layout = write_log(tmp_path, 1).layout
    for path in (layout.active, *layout.segments.iterdir()):
        path.unlink()

    with pytest.raises(AcknowledgedLost, match="the log is gone"):
        read(tmp_path)


@READERS
def test_the_head_of_another_log_does_not_fit(tmp_path: Path, read: Read) -> None:
    """It knows the record that it acknowledged."""
    one, other = tmp_path / "one", tmp_path / "other"
    write_log(one, 2)
    write_log(other, 2)
    Layout(one).head.write_bytes(Layout(other).head.read_bytes())

    with pytest.raises(LogCorrupt, match="is not the one"):
        read(one)


def test_without_a_head_the_records_before_the_damage_are_read(tmp_path: Path) -> None:
    """Nobody knows then what was acknowledged."""
    _damage_fourth(tmp_path)
    Layout(tmp_path).head.unlink()

    assert list_seqs(tmp_path) == [1, 2, 3]


@READERS
def test_a_torn_tail_that_nobody_acknowledged_is_no_fault(tmp_path: Path, read: Read) -> None:
    """A writer may be in the middle of it."""
    write_log(tmp_path, 1)
    damage(tmp_path, read_active(tmp_path) + b'{"v":1,"seq":4')

    assert read(tmp_path) == [1, 2, 3]


def test_a_follower_that_is_ahead_of_the_damage_tells_it_when_the_log_goes_on(tmp_path: Path) -> None:
    """It raises instead of waiting for records that never come."""
    log = open_log(tmp_path)
    follower = Follower(Layout(tmp_path))
    assert len(list(follower.read())) == 1
    log.append(queued(1), NOW)
    log.commit()
    damage(tmp_path, read_active(tmp_path).replace(b"task-1", b"tusk-1"))

    with pytest.raises(AcknowledgedLost, match="records 2 to 2"):
        list(follower.read())


def test_a_live_writer_is_never_taken_for_damage(tmp_path: Path) -> None:
    """Readers look at the head first: it grows while they read, and writers follow each other."""
    write_log(tmp_path, 1)
    done = threading.Event()

    def write() -> None:
        for _ in range(5):
            log = open_log(tmp_path)
            for number in range(40):
                log.append(queued(number), NOW)
                log.commit()
            log.abandon()
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    follower, followed = Follower(Layout(tmp_path)), 0
    counts = []
    while not done.is_set():
        counts.append(len(list_seqs(tmp_path)))
        followed += len(list(follower.read()))
    writer.join()

    followed += len(list(follower.read()))
    assert counts == sorted(counts)
    assert followed == len(list_seqs(tmp_path))
