"""The journal on a real disk: compaction keeps the state and forgets the way to it."""

from __future__ import annotations

from pathlib import Path

import pytest

from watchbill_local.server.journal import Journal
from watchbill_local.server.store import Ident, Store

KEY = ("", "configmaps")
ONE, GONE = Ident(KEY, "default", "one"), Ident(KEY, "default", "gone")


def write_much(store: Store, changes: int) -> None:
    """Change one object again and again, after another one has come and gone."""
    gone = {"metadata": {"name": "gone", "uid": "u2"}}
    store.put(GONE, dict(gone))
    store.put(GONE, {"metadata": {"name": "gone", "uid": "u2"}}, is_deleted=True)
    for number in range(changes):
        obj = {"metadata": {"name": "one", "uid": "u1"}, "data": {"n": number}}
        store.put(ONE, obj)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A journal that was compacted while 100 changes of one object were written."""
    journal = tmp_path / "journal"
    store = Store(Journal(str(journal), compact_floor=20))
    store.load()
    write_much(store, 100)
    store.close()
    return journal


def test_a_compacted_journal_is_small(path: Path) -> None:
    """A line for each object, and the changes since."""
    assert path.read_bytes().count(b"\n") < 30


def test_a_compacted_journal_holds_the_state(path: Path) -> None:
    """The object with its last version, and the counter."""
    store = Store(Journal(str(path)))

    assert store.load() == 1
    entry = store.get(ONE)
    assert entry is not None
    assert (entry.obj["data"], entry.version, store.version) == ({"n": 99}, 103, 103)
    assert store.get(GONE) is None


def test_a_compacted_journal_takes_further_changes(path: Path) -> None:
    """Appended after the snapshot, under the next version."""
    store = Store(Journal(str(path)))
    store.load()
    write_much(store, 1)
    store.close()
    again = Store(Journal(str(path)))
    again.load()

    assert again.version == 106
    assert [entry.obj["data"] for _, entry in again.entries(KEY)] == [{"n": 0}]


def test_a_watch_from_before_a_compaction_has_to_begin_anew(path: Path) -> None:
    """The way to the snapshot is forgotten, so its version is the floor."""
    store = Store(Journal(str(path)))
    store.load()

    assert 1 < store.floor(KEY) <= 103


def test_a_new_snapshot_that_was_not_finished_is_ignored(path: Path) -> None:
    """A process that dies while it compacts leaves the old file in force."""
    path.with_name("journal.new").write_bytes(b"half a snap")
    store = Store(Journal(str(path)))

    assert store.load() == 1


def test_a_compaction_that_the_disk_does_not_take_changes_nothing(tmp_path: Path) -> None:
    """The changes are kept in the old file; here a directory is in the way of the new one."""
    path = tmp_path / "journal"
    path.with_name("journal.new").mkdir()
    store = Store(Journal(str(path), compact_floor=20))
    store.load()

    write_much(store, 100)
    store.close()

    again = Store(Journal(str(path)))
    assert (again.load(), again.version) == (1, 103)
