"""A volume without space: held before the sync, final after it."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.logs import NOW, list_seqs, open_log, queued, submitted
from watchbill_coordination.storage.faults import LogCorrupt, LogPoisoned, VolumeFull
from watchbill_coordination.storage.layout import Layout
from watchbill_coordination.storage.reserve import RESERVE, release_reserve, reserve_path, try_reserve

IN_A_SMALL_WORLD = """
import resource, sys
from pathlib import Path
sys.path[:0] = {path}
from support.logs import NOW, open_log, queued, submitted, list_seqs
from watchbill_coordination.storage.faults import VolumeFull
log = open_log(Path(sys.argv[1]))
log.append(queued(1), NOW)
log.commit()
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (log.committed_bytes + 100, hard))
log.append(submitted(2, "p" * 1000), NOW)
try:
    log.commit()
    print("no limit")
except VolumeFull as fault:
    print("full")
print(log.layout.active.stat().st_size == log.committed_bytes, log.pending, list_seqs(Path(sys.argv[1]))[-1])
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
print(log.commit(), list_seqs(Path(sys.argv[1]))[-1])
log.close()
"""


def test_a_batch_that_finds_no_space_is_kept_and_committed_later(tmp_path: Path) -> None:
    """The half-written bytes are cut off again, nothing is lost, and with space the same batch goes through."""
    script = IN_A_SMALL_WORLD.format(path=[path for path in sys.path if path])

    ended = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, timeout=60, check=True
    )

    assert ended.stdout.splitlines() == ["full", "True 1 2", "3 3"]
    assert list_seqs(tmp_path) == [1, 2, 3, 4]


def test_a_failed_sync_is_final(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel may have dropped the pages, so the writer never syncs again, and the next one reads what is there."""
    log = open_log(tmp_path)
    log.append(queued(1), NOW)
    monkeypatch.setattr(os, "fdatasync", _fail(errno.EIO))

    with pytest.raises(LogPoisoned, match="the sync failed"):
        log.commit()
    monkeypatch.undo()

    with pytest.raises(LogPoisoned):
        log.commit()
    assert log.committed_seq == 1


@pytest.mark.parametrize("number", [errno.EIO, errno.EROFS])
def test_a_failed_write_is_final(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Anything but a lack of space poisons the log."""
    log = open_log(tmp_path)
    log.append(queued(1), NOW)
    monkeypatch.setattr(os, "pwrite", _fail(number))

    with pytest.raises(LogPoisoned, match="the write failed"):
        log.commit()


def test_no_space_at_the_sync_is_final(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thin volume says so late; by then pages may be gone."""
    log = open_log(tmp_path)
    log.append(queued(1), NOW)
    monkeypatch.setattr(os, "fdatasync", _fail(errno.ENOSPC))

    with pytest.raises(LogPoisoned):
        log.commit()


def test_a_short_write_is_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel may take a byte at a time."""
    log = open_log(tmp_path)
    write = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, content, offset: write(fd, bytes(content[:7]), offset))
    log.append(submitted(1), NOW)

    log.commit()
    log.close()
    monkeypatch.undo()

    assert list_seqs(tmp_path) == [1, 2, 3]


def test_a_blob_without_space_is_held_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Long data is stored before its record, and its lack of space is the batch's."""
    log = open_log(tmp_path)
    log.append(submitted(1, "p" * 100_000), NOW)
    monkeypatch.setattr(os, "pwrite", _fail(errno.ENOSPC))
    with pytest.raises(VolumeFull):
        log.commit()
    monkeypatch.undo()

    assert log.commit() == 2
    assert [path.name[:5] for path in log.layout.blobs.iterdir() if path.name.startswith(".tmp")] == []


def test_space_is_held_in_reserve(tmp_path: Path) -> None:
    """It is allocated, given back, and allocated again."""
    layout = Layout(tmp_path)
    layout.orchestration.mkdir()

    assert try_reserve(layout) is None
    assert reserve_path(layout).stat().st_blocks * 512 >= RESERVE
    assert release_reserve(layout)
    assert not release_reserve(layout)


def test_a_lost_blob_is_damage(tmp_path: Path) -> None:
    """The record says which file is missing."""
    log = open_log(tmp_path)
    log.append(submitted(1, "p" * 100_000), NOW)
    log.commit()
    log.abandon()
    for blob in log.layout.blobs.iterdir():
        blob.unlink()

    with pytest.raises(LogCorrupt, match=r"blob [0-9a-f]{64} cannot be read"):
        open_log(tmp_path)


def _fail(number: int) -> object:
    def fail(*arguments: object) -> int:
        raise OSError(number, os.strerror(number))

    return fail
