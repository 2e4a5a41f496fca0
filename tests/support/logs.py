"""Small logs on a real disk, for tests of storage."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from watchbill_coordination.core.events import Event, TaskCancelled, TaskQueued, TaskSubmitted
from watchbill_coordination.core.specs import TaskUid
from watchbill_coordination.storage.epochs import load_own_holder
from watchbill_coordination.storage.event_log import EventLog, Opening
from watchbill_coordination.storage.layout import Layout
from watchbill_coordination.storage.reading import read_log

NOW = 1_763_799_999_000_000  #: microseconds
HOLDER = load_own_holder("test")


def open_log(root: Path, **opening: object) -> EventLog:
    """Open the log below `root` for this process."""
    return EventLog.open(Layout(root), Opening(HOLDER, **opening))  # type: ignore[arg-type]  # keywords of Opening


def queued(number: int) -> Event:
    """An event that is told apart by its number."""
    return TaskQueued(task=TaskUid(f"task-{number}"))


def submitted(number: int, prompt: str = "find it") -> Event:
    """A longer event that is told apart by its number."""
    return TaskSubmitted(task=TaskUid(f"task-{number}"), name=f"n{number}", spec={"prompt": prompt})


def group(number: int) -> list[Event]:
    """Two events that hold together."""
    return [queued(number), TaskCancelled(task=TaskUid(f"task-{number}"))]


def write_log(root: Path, commits: int, *, closed: bool = False) -> EventLog:
    """Write a log of one segment with so many commits of two records each; leave it as a killed process does."""
    log = open_log(root)
    for number in range(commits):
        log.append_group(group(number), NOW + number)
        log.commit()
    if closed:
        log.close()
    else:
        log.abandon()
    return log


def list_seqs(root: Path) -> list[int]:
    """The places of all events that a reader sees."""
    return [recorded.seq for recorded in read_log(Layout(root))]


def list_types(root: Path) -> list[str]:
    """The types of all events that a reader sees."""
    return [type(recorded.event).__name__ for recorded in read_log(Layout(root))]


def read_active(root: Path) -> bytes:
    """The bytes of the newest segment."""
    return Layout(root).active.read_bytes()


def damage(root: Path, content: bytes) -> None:
    """Overwrite the newest segment in place, so that both of its names show it."""
    with open(Layout(root).active, "r+b") as file:
        file.write(content)
        file.truncate()


def copy_volume(source: Path, target: Path) -> Path:
    """Copy a volume file by file; hard links become files of their own, as in a backup."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)
    return target


def parse_lines(content: bytes) -> list[dict[str, object]]:
    """Read JSON lines."""
    return [json.loads(line) for line in content.splitlines()]
