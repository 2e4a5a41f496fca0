"""Whole volumes, written by a coordinator, for tests of what is derived from the log."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from support.deciding import accept, declare, finish, register, submit
from support.logs import HOLDER
from watchbill_coordination.coordinator.coordinator import Coordinator
from watchbill_coordination.coordinator.projecting import list_projections
from watchbill_coordination.core.commands import Command
from watchbill_coordination.core.specs import TaskUid
from watchbill_coordination.storage.layout import Layout
from watchbill_coordination.storage.results import OUTPUT

NOW = 1_763_800_000.0  #: seconds


def open_coordinator(root: Path) -> Coordinator:
    """Open the volume for this process."""
    return Coordinator.open(root, HOLDER)


def do(coordinator: Coordinator, *commands: Command, now: float = NOW) -> list[str]:
    """Stage and commit; return the types of the events that became durable."""
    coordinator.stage(commands, now)
    return [type(recorded.event).__name__ for recorded in coordinator.commit().records]


def write_story(coordinator: Coordinator) -> None:
    """One agent, one task done, one running with a lock, one waiting for the lock, one for a dependency."""
    do(coordinator, declare(replicas=2), register("blue-0"), register("blue-1"))
    do(coordinator, submit("t-1", name="first"))
    do(coordinator, accept("t-1"), finish("t-1"), now=NOW + 1)
    lock = [{"name": "the/lock"}]
    do(coordinator, submit("t-2", name="holder", locks=lock), now=NOW + 2)
    do(coordinator, submit("t-3", name="waiter", locks=lock), now=NOW + 3)
    do(coordinator, submit("t-4", name="later", dependsOn=["waiter"]), now=NOW + 4)


def write_volume(root: Path) -> Layout:
    """Write a volume with that story, closed cleanly."""
    coordinator = open_coordinator(root)
    write_story(coordinator)
    coordinator.close()
    return Layout(root)


def hold_up_opening(root: Path) -> Path:
    """Write a volume whose opening stands still at the file of a result, a pipe; return that."""
    coordinator = open_coordinator(root)
    do(coordinator, declare(), register(), submit("t-1"), accept("t-1"))
    do(coordinator, replace(finish("t-1"), result="x", inline=True, files=1, bytes=1))
    coordinator.abandon()
    pipe = coordinator.layout.result(TaskUid("t-1")) / OUTPUT
    pipe.parent.mkdir(parents=True)
    os.mkfifo(pipe)
    return pipe


def let_go(pipe: Path) -> None:
    """Wait until the opening stands still there, and let it go on."""
    with pipe.open("wb", 0):
        pipe.unlink()


def load_projections(layout: Layout) -> dict[str, bytes]:
    """Read every projection by its path below the root."""
    return {str(path.relative_to(layout.root)): path.read_bytes() for path in list_projections(layout)}


def remove_projections(layout: Layout) -> None:
    """Delete every projection."""
    for path in list_projections(layout):
        path.unlink()
