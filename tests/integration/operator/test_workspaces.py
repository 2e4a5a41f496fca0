"""Workspaces on a real volume: modes, hostile contents, removal."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest

from support.deciding import Ledger, finish, remove, start_pool, submit
from watchbill_coordination.core.commands import RemoveAgent
from watchbill_coordination.core.specs import AgentName, ReplicaName, TaskUid
from watchbill_coordination.storage.layout import Layout
from watchbill_operator.heartbeats import Heartbeat, read_heartbeat
from watchbill_operator.tree_removal import remove_tree
from watchbill_operator.workspaces import (
    list_results,
    list_work,
    list_workspaces,
    make_workspace,
    plan_cleanup,
    plan_result_removal,
    plan_workspace_removal,
    remove_results,
    remove_workspace,
)

BLUE = ReplicaName("blue-0")


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """A volume with one workspace, in a path with a space."""
    layout = Layout(tmp_path / "the volume")
    make_workspace(layout, BLUE)
    return layout


def modes(layout: Layout) -> dict[str, int]:
    """Modes of a workspace's folders."""
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in layout.workspace(BLUE).iterdir()}


def test_agents_may_write_where_they_must_and_nobody_may_rename(layout: Layout) -> None:
    """Sticky where an agent writes, closed where the operator does."""
    written = {"inbox": 0o755, "outbox": 0o1777, "work": 0o1777, "state": 0o1777}

    assert modes(layout) == written | {"grants": 0o755, "ledger": 0o1777}


def test_modes_do_not_depend_on_the_umask(tmp_path: Path) -> None:
    """An operator with a strict umask makes the same folders."""
    layout = Layout(tmp_path / "strict")
    old = os.umask(0o077)
    try:
        make_workspace(layout, BLUE)
    finally:
        os.umask(old)

    assert modes(layout)["work"] == 0o1777
    assert stat.S_IMODE(layout.workspaces.stat().st_mode) == 0o755


def test_making_it_again_keeps_what_is_there(layout: Layout) -> None:
    """A pod that is made anew finds its unacknowledged messages."""
    kept = layout.workspace(BLUE) / "outbox" / "message"
    kept.write_text("x")
    make_workspace(layout, BLUE)

    assert kept.read_text() == "x"


def test_a_heartbeat_is_read_from_its_file(layout: Layout) -> None:
    """As the agent writes it."""
    (layout.workspace(BLUE) / "state" / "heartbeat.json").write_text('{"incarnation": "u/1", "counter": 5}')

    assert read_heartbeat(layout, BLUE) == Heartbeat("u/1", 5)


def put_link(path: Path) -> None:
    (path.parent / "elsewhere").write_text('{"incarnation": "u/1", "counter": 5}')
    path.symlink_to(path.parent / "elsewhere")


def put_fifo(path: Path) -> None:
    os.mkfifo(path)


def put_folder(path: Path) -> None:
    path.mkdir()


def put_flood(path: Path) -> None:
    path.write_text(" " * 100_000 + '{"incarnation": "u/1", "counter": 5}')


@pytest.mark.timeout(10)
@pytest.mark.parametrize("put", [put_link, put_fifo, put_folder, put_flood])
def test_a_hostile_heartbeat_is_none_and_blocks_nobody(layout: Layout, put: object) -> None:
    """A link, a FIFO that nobody writes to, a folder, a flood."""
    assert callable(put)
    put(layout.workspace(BLUE) / "state" / "heartbeat.json")

    assert read_heartbeat(layout, BLUE) is None


def test_a_workspace_goes_whole_and_links_are_not_followed(layout: Layout, tmp_path: Path) -> None:
    """What a link points to is somebody else's."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("x")
    work = layout.workspace(BLUE) / "work"
    (work / "t1" / "attempt-1").mkdir(parents=True)
    (work / "t1" / "link").symlink_to(outside)
    (work / "dangling").symlink_to("/nowhere")
    os.mkfifo(work / "pipe")

    assert remove_workspace(layout, BLUE) is None
    assert not layout.workspace(BLUE).exists()
    assert (outside / "precious").read_text() == "x"


def test_a_very_deep_tree_is_reported_and_overflows_nothing(tmp_path: Path) -> None:
    """An agent can make a thousand folders in one another."""
    root = tmp_path / "tree"
    root.mkdir()
    fd = os.open(root, os.O_RDONLY)
    for _ in range(1000):
        os.mkdir("d", dir_fd=fd)
        inner = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = inner
    os.close(fd)

    assert remove_tree(root).left > 0
    assert root.exists()
    subprocess.run(["rm", "-rf", str(root)], check=True)  # too deep for pytest's own clean-up


def test_a_removal_ends_after_so_many_entries(tmp_path: Path) -> None:
    """The rest stays for the next time."""
    for n in range(30):
        (tmp_path / "tree" / str(n)).mkdir(parents=True)

    first = remove_tree(tmp_path / "tree", max_entries=11)
    assert first.removed == 10
    assert first.left > 0
    assert remove_tree(tmp_path / "tree").left == 0


def test_what_cannot_be_removed_is_counted(layout: Layout) -> None:
    """An agent's own folder without write permission: left, and told in a sentence."""
    if os.geteuid() == 0:
        pytest.skip("root may remove anything")
    locked = layout.workspace(BLUE) / "work" / "locked"
    (locked / "inner").mkdir(parents=True)
    locked.chmod(0o555)
    try:
        finding = remove_workspace(layout, BLUE)
    finally:
        locked.chmod(0o755)

    assert finding is not None
    assert finding.reason == "WorkspaceLeft"


def test_workspaces_of_agents_that_are_gone_are_found(layout: Layout) -> None:
    """Not those of Agents that are there, nor those whose pod still is."""
    make_workspace(layout, ReplicaName("old-0"))
    make_workspace(layout, ReplicaName("leaving-0"))
    ledger = start_pool("blue-0")

    assert plan_workspace_removal(list_workspaces(layout), ledger.state, ["leaving-0"]) == ["old-0"]


def test_a_replica_with_a_task_keeps_its_workspace() -> None:
    """Its Agent is removed and it drains."""
    ledger = start_pool("blue-0")
    ledger.do(submit("t1"))
    ledger.do(RemoveAgent(agent=AgentName("blue"), uid="uid-of-blue"))

    assert plan_workspace_removal([BLUE], ledger.state, []) == []


def test_work_of_deleted_tasks_is_named_for_cleanup(layout: Layout) -> None:
    """Not that of tasks that are there, finished or not."""
    ledger = start_pool("blue-0")
    for uid in ("gone", "done", "running"):
        ledger.do(submit(uid))
        (layout.workspace(BLUE) / "work" / uid).mkdir()
        if uid != "running":
            ledger.do(finish(uid))
    ledger.do(remove("gone"))

    assert plan_cleanup(list_work(layout, BLUE), BLUE, ledger.state) == ("gone",)


def test_a_name_that_is_no_uid_keeps_no_other_from_cleanup(layout: Layout) -> None:
    """A command can make any in its work folder."""
    work = layout.workspace(BLUE) / "work"
    for name in (b"gone", b"not\nprintable", b"\xff", b"a b"):
        os.mkdir(os.fsencode(work) + b"/" + name)

    assert list_work(layout, BLUE) == ["gone"]


def test_results_stay_while_somebody_may_read_them(layout: Layout) -> None:
    """Until Task and dependants are gone."""
    ledger = Ledger()
    for uid in ("t1", "t2"):
        ledger.do(submit(uid, dependsOn=["t1"] if uid == "t2" else []))
    pool = start_pool("blue-0")
    pool.do(submit("t1"))
    pool.do(finish("t1"))
    pool.do(submit("t2", dependsOn=["t1"], suspend=True))
    layout.result(TaskUid("t1")).mkdir(parents=True)
    pool.do(remove("t1"))
    assert plan_result_removal(list_results(layout), pool.state) == []

    pool.do(remove("t2"))
    gone = plan_result_removal(list_results(layout), pool.state)
    remove_results(layout, gone)

    assert gone == ["t1"]
    assert list_results(layout) == []
