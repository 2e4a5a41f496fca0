"""The only node of a cluster restarts in the middle of its work, and with it everything that runs there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.kind_cluster import RunCluster
from support.kind_system import KindSystem
from support.kind_tools import run_tool
from support.waiting import wait_for
from support.workload import create, find_wrong_statuses, runs, successes, wait_for_successes

pytestmark = [pytest.mark.kind, pytest.mark.long, pytest.mark.timeout(600)]

TASKS = 150
AGAIN_SECONDS = 240.0  #: for a node, its control plane, and then ours


@pytest.fixture
def lone_system(cluster: RunCluster, tmp_path: Path) -> Iterator[KindSystem]:
    """A system on a cluster that no other test uses."""
    lone = RunCluster.start(tmp_path, cluster.tools)
    try:
        system = KindSystem(lone, tmp_path / "home", "alone", agents={"blue": 2, "green": 1})
        done = system.start()
        assert done.code == 0, done.err + done.out
        yield system
    finally:
        lone.stop()


def test_a_node_that_restarts_in_the_middle_of_150_tasks_costs_none_of_them(lone_system: KindSystem) -> None:
    """Each is done, some again; the log counts one success of each, is whole, and the statuses are what it says."""
    names = create(lone_system, TASKS)
    wait_for_successes(lone_system, 20)

    run_tool("docker", "restart", lone_system.cluster.node)

    before = successes(lone_system).total()
    wait_for(lambda: lone_system.try_kubectl("get", "tasks").code == 0, "the API server answers", AGAIN_SECONDS)
    wait_for_successes(lone_system, TASKS, AGAIN_SECONDS)
    wait_for(lambda: not find_wrong_statuses(lone_system), "every status is what the log says")
    assert before < TASKS, "all was done before the restart"
    assert dict(successes(lone_system)) == dict.fromkeys(names, 1)
    assert set(runs(lone_system)) == set(names)
    done = lone_system.watchbill("verify")
    assert done.code == 0, done.out + done.err
