"""Results of attempts that are not current any more: the accepted one stays where dependants read it."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import watchbill_operator.result_intake
from support.deciding import accept, declare, finish, register, submit
from support.volumes import do, open_coordinator
from watchbill_coordination.codec.messages import Header, encode_file
from watchbill_coordination.coordinator.coordinator import Coordinator
from watchbill_coordination.core.commands import LoseReplica
from watchbill_coordination.core.messages import Finished
from watchbill_coordination.core.specs import ReplicaName, TaskUid
from watchbill_coordination.storage.faults import Fenced
from watchbill_coordination.storage.layout import Layout, work_directory
from watchbill_coordination.storage.results import (
    ResultCopied,
    ResultRefused,
    copy_inline_result,
    copy_result,
    write_inline_result,
)
from watchbill_operator.mail import Mail
from watchbill_operator.mailroom import Mailroom
from watchbill_operator.workspaces import make_workspace

T1 = TaskUid("t-1")
LOST = ReplicaName("blue-0")


@pytest.fixture
def leader(tmp_path: Path) -> Coordinator:
    """An operator's log: attempt 1 of t-1 runs on blue-0."""
    coordinator = open_coordinator(tmp_path)
    do(coordinator, declare(replicas=2), register("blue-0"), submit("t-1"), accept("t-1"))
    make_workspace(coordinator.layout, LOST)
    return coordinator


def succeed_elsewhere(coordinator: Coordinator) -> None:
    """Blue-0 is lost; attempt 2 runs on blue-1 and is accepted with "two"."""
    lost = LoseReplica(agent=LOST, incarnation="pod-of-blue-0/1", reason="HeartbeatStale", message="")
    do(coordinator, lost, register("blue-1"), accept("t-1", replica="blue-1", attempt=2))
    size = write_inline_result(coordinator.layout, T1, "two")
    said = finish("t-1", replica="blue-1", attempt=2, result="two", inline=True, files=size.files, bytes=size.bytes)
    assert "TaskSucceeded" in do(coordinator, said)


def report(layout: Layout, *, inline: bool) -> Path:
    """Blue-0 says that attempt 1 succeeded with "one"; its file in the outbox."""
    workspace = layout.workspace(LOST)
    result = workspace / "work" / work_directory(T1, 1) / "result"
    result.mkdir(parents=True)
    (result / "stdout").write_text("one")
    who = "pod-of-blue-0/1"
    said = Finished(task=T1, attempt=1, incarnation=who, outcome="Succeeded", result="one", inline=inline)
    name, data = encode_file(Header(number=5, agent=LOST, read=0, incarnation=who), [said])
    (workspace / "outbox" / name).write_bytes(data)
    return workspace / "outbox" / name


def is_deposed(coordinator: Coordinator) -> bool:
    """Whether a successor has claimed the volume."""
    try:
        coordinator.check_fence()
    except Fenced:
        return True
    return False


def read_mail(coordinator: Coordinator, meanwhile: Callable[[], object] = lambda: None) -> list[Mail]:
    """Read blue-0's outbox as an operator does, `meanwhile` in the middle of it; what would be committed."""
    submitted: list[Mail] = []

    async def run() -> None:
        room = Mailroom(
            coordinator.layout,
            coordinator.state,
            submitted.append,
            is_deposed=lambda: is_deposed(coordinator),
            local=False,
        )
        room.open(LOST)
        await asyncio.to_thread(meanwhile)
        sorting = room._lanes[LOST].sorting
        assert sorting is not None
        await asyncio.wait_for(sorting, 30)
        room.shut()

    asyncio.run(run())
    return submitted


def lies(layout: Layout) -> dict[str, str]:
    """What lies with the results, by path."""
    return {str(p.relative_to(layout.results)): p.read_text() for p in layout.results.rglob("*") if p.is_file()}


@pytest.mark.parametrize("inline", [True, False])
def test_a_deposed_leader_leaves_the_result_that_its_successor_accepted(
    tmp_path: Path, leader: Coordinator, inline: bool
) -> None:
    """It still believes in the attempt that was lost, and leaves the report for its successor to refuse."""
    succeed_elsewhere(open_coordinator(tmp_path))
    letter = report(leader.layout, inline=inline)

    assert read_mail(leader) == []

    assert lies(leader.layout) == {"t-1/stdout": "two"}
    assert letter.exists()


def test_a_copy_that_ends_after_its_attempt_was_lost_is_thrown_away(
    leader: Coordinator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next attempt was faster than a slow volume."""
    begun, over = threading.Event(), threading.Event()

    def copy(layout: Layout, replica: ReplicaName, task: TaskUid, attempt: int) -> ResultCopied | ResultRefused:
        begun.set()
        assert over.wait(30)
        return copy_result(layout, replica, task, attempt)

    def overtake() -> None:
        assert begun.wait(30)
        succeed_elsewhere(leader)
        over.set()

    monkeypatch.setattr(watchbill_operator.result_intake, "copy_result", copy)
    report(leader.layout, inline=False)

    mail = read_mail(leader, overtake)

    assert lies(leader.layout) == {"t-1/stdout": "two"}
    assert os.listdir(leader.layout.results) == ["t-1"]
    assert do(leader, *(command for item in mail for command in item.commands)) == ["ResultRefused"]


@pytest.mark.parametrize("inline", [True, False])
def test_the_current_attempt_replaces_what_one_left_that_never_counted(leader: Coordinator, inline: bool) -> None:
    """A leader may have died between the copy and the commit."""
    write_inline_result(leader.layout, T1, "zero")
    report(leader.layout, inline=inline)

    mail = read_mail(leader)

    assert lies(leader.layout) == {"t-1/stdout": "one"}
    assert os.listdir(leader.layout.results) == ["t-1"]
    assert "TaskSucceeded" in do(leader, *(command for item in mail for command in item.commands))


def test_a_leader_that_pauses_before_the_rename_replaces_no_accepted_result(
    tmp_path: Path, leader: Coordinator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Deposed between the look at the fence and the rename, it looks again when the name is taken."""
    looks: list[bool] = []

    def look(coordinator: Coordinator) -> bool:
        if not looks:
            succeed_elsewhere(open_coordinator(tmp_path))
        looks.append(bool(looks))
        return looks[-1]

    monkeypatch.setitem(globals(), "is_deposed", look)
    report(leader.layout, inline=True)

    assert read_mail(leader) == []

    assert looks == [False, True]
    assert lies(leader.layout) == {"t-1/stdout": "two"}


@pytest.mark.parametrize("has_successor", [True, False])
def test_a_bad_file_is_put_aside_by_who_leads(tmp_path: Path, leader: Coordinator, has_successor: bool) -> None:
    """A deposed one leaves it, and reports nothing."""
    letter = leader.layout.workspace(LOST) / "outbox" / "rubbish"
    letter.write_text("rubbish")
    if has_successor:
        open_coordinator(tmp_path)

    assert (len(read_mail(leader)), letter.exists()) == ((0, True) if has_successor else (1, False))


def test_a_copy_that_a_killed_leader_left_is_swept_by_a_later_one(tmp_path: Path, leader: Coordinator) -> None:
    """Not while it may still be written: only when it is old."""
    old, new = (copy_inline_result(leader.layout, T1, attempt, "x").hidden for attempt in (1, 2))
    os.utime(old, (0, 0))

    open_coordinator(tmp_path)

    assert (old.exists(), new.exists()) == (False, True)
