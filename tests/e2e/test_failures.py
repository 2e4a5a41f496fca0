"""The control plane fails while the system works: nothing is lost, nothing is done twice."""

from __future__ import annotations

import os
import signal

import pytest

from support.local_system import LocalSystem
from support.workload import check_done_once, create, wait_for_successes

TASKS = 200


def kill_server(system: LocalSystem) -> None:
    """SIGKILL the API server."""
    if system.plane is not None:
        system.plane.kill("kube-apiserver")
    else:
        os.kill(system.pid("api-server"), signal.SIGKILL)


def restart_server(system: LocalSystem) -> None:
    """Start the API server again."""
    if system.plane is not None:
        system.plane.restart("kube-apiserver")
    else:
        done = system.watchbill("start")
        assert done.code == 0, done.err


def test_an_api_server_killed_in_the_middle_of_200_tasks_costs_nothing(breakable_system: LocalSystem) -> None:
    """Agents go on meanwhile; each task is done once and each status is right afterwards."""
    names = create(breakable_system, TASKS)
    wait_for_successes(breakable_system, 20)

    kill_server(breakable_system)
    restart_server(breakable_system)

    check_done_once(breakable_system, names)


def test_an_etcd_killed_in_the_middle_of_200_tasks_costs_nothing(breakable_system: LocalSystem) -> None:
    """The API server answers with errors meanwhile; each task is done once and each status is right afterwards."""
    if breakable_system.plane is None:
        pytest.skip("the small API server has no etcd: its store is a part of it")
    names = create(breakable_system, TASKS)
    wait_for_successes(breakable_system, 20)

    breakable_system.plane.restart("etcd")

    check_done_once(breakable_system, names)
