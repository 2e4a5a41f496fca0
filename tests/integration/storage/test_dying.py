"""A writer that dies at any step of opening or closing leaves a log that the next one opens."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.dying import Died, dying_at
from support.logs import copy_volume, damage, list_seqs, open_log, read_active, write_log
from watchbill_coordination.storage.layout import Layout
from watchbill_coordination.storage.verify import verify_log

MAX_STEPS = 200


def _prepare(root: Path, kind: str) -> None:
    if kind != "new":
        write_log(root, 2, closed=kind == "closed")
    if kind == "torn":
        damage(root, read_active(root) + b'{"v":1,"seq":')


def _open_and_die(root: Path, step: int) -> bool:
    """Open, dying at that step; whether it came through."""
    try:
        with dying_at(step):
            open_log(root).abandon()
    except Died:
        return False
    return True


@pytest.mark.parametrize("kind", ["new", "closed", "killed", "torn"])
def test_a_writer_may_die_at_any_step_of_opening(tmp_path: Path, kind: str) -> None:
    """Nothing that was acknowledged is lost, and the next one comes through."""
    source = tmp_path / "source"
    source.mkdir()
    _prepare(source, kind)
    before = list_seqs(source) if kind != "new" else []

    for step in range(MAX_STEPS):
        root = copy_volume(source, tmp_path / "volume")
        came_through = _open_and_die(root, step)

        open_log(root).abandon()

        seqs = list_seqs(root)
        assert seqs[: len(before)] == before, step
        assert seqs == list(range(1, len(seqs) + 1)), step
        assert [finding for finding in verify_log(Layout(root)).findings if finding.is_fault] == [], step
        if came_through:
            return
    raise AssertionError(f"opening takes more than {MAX_STEPS} steps")


def test_writers_may_die_one_after_another(tmp_path: Path) -> None:
    """Each takes over what the last one left half done."""
    write_log(tmp_path, 2)
    before = list_seqs(tmp_path)

    for step in range(MAX_STEPS):
        if _open_and_die(tmp_path, step):
            break

    assert list_seqs(tmp_path)[: len(before)] == before
    open_log(tmp_path).close()
    assert [finding for finding in verify_log(Layout(tmp_path)).findings if finding.is_fault] == []


def test_a_writer_may_die_at_any_step_of_closing(tmp_path: Path) -> None:
    """The log is sealed or not; both are whole."""
    for step in range(MAX_STEPS):
        root = tmp_path / str(step)
        log = open_log(root)
        try:
            with dying_at(step):
                log.close()
        except Died:
            open_log(root).abandon()
            assert [finding for finding in verify_log(Layout(root)).findings if finding.is_fault] == [], step
        else:
            assert step > 0
            return
