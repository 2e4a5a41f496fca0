"""Stopping, killing and starting again: nothing is lost, nothing is done twice."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from support.local_system import LocalSystem
from support.system import System, agent, args, command_lines, shell, task
from support.waiting import wait_for

pytestmark = pytest.mark.long  # each test has a system of its own


def successes(system: System) -> Counter[str]:
    """How often each task succeeded, by uid."""
    return Counter(event["task"] for event in system.events() if event["type"] == "TaskSucceeded")


def test_down_and_up_goes_on_from_the_log(own_system: System) -> None:
    """What was done stays done; what was queued is done after the start; the log is whole."""
    own_system.apply(task("before", command=args("echo", "kept")))
    own_system.wait_for_phase("before")
    own_system.halt()
    done = own_system.resume()

    assert done.code == 0, done.err
    own_system.apply(task("after", command=args("true")))
    own_system.wait_for_phase("after")
    assert own_system.status("before")["result"].strip() == "kept"
    assert own_system.watchbill("verify").code == 0
    assert set(successes(own_system).values()) == {1}


def test_killing_the_operator_loses_no_task(own_system: System) -> None:
    """Agents go on meanwhile; every task ends exactly once."""
    names = [f"t{number}" for number in range(40)]
    own_system.apply(*(task(name, command=shell("sleep 0.05")) for name in names))
    own_system.kill_operator()

    assert own_system.resume().code == 0
    for name in names:
        assert own_system.wait_for_phase(name, seconds=60)["phase"] == "Succeeded"
    assert set(successes(own_system).values()) == {1}
    assert own_system.watchbill("verify").code == 0


@pytest.mark.local("an API server, a node and an operator that can be killed at once")
def test_killing_everything_loses_no_task(own_system: LocalSystem) -> None:
    """API server, node, operator and agents die at once; the next start goes on."""
    names = [f"t{number}" for number in range(20)]
    own_system.apply(*(task(name, command=shell("sleep 0.1")) for name in names))
    own_system.wait_for_phase("t0", "Running", "Succeeded")
    own_system.kill(*own_system.processes)

    done = own_system.watchbill("start")
    assert done.code == 0, done.err
    for name in names:
        assert own_system.wait_for_phase(name, seconds=60)["phase"] == "Succeeded"
    assert set(successes(own_system).values()) == {1}
    assert own_system.watchbill("verify").code == 0


def test_deleted_projections_come_back_by_repair(own_system: System) -> None:
    """Byte-identical, from the log alone."""
    own_system.apply(task("one", command=args("true")))
    own_system.wait_for_phase("one")
    own_system.halt()
    folder = own_system.root / "orchestration"
    kept = {path: path.read_bytes() for path in (folder / "task-queue.json", folder / "agent-registry.json")}
    for path in kept:
        path.unlink()

    assert own_system.watchbill("verify").code == 1
    assert own_system.watchbill("repair", "--yes").code == 0

    assert {path: path.read_bytes() for path in kept} == kept
    assert own_system.watchbill("verify").code == 0


def test_the_operator_is_replaced_by_a_second_start(own_system: System) -> None:
    """A dead operator's claim does not keep the next one waiting for its lease to run out."""
    own_system.kill_operator()
    assert own_system.resume().code == 0
    own_system.apply(task("next", command=args("true")))

    assert own_system.wait_for_phase("next", seconds=12)["phase"] == "Succeeded"


@pytest.mark.local("processes that a second start finds")
def test_a_start_of_a_running_system_changes_nothing(own_system: LocalSystem) -> None:
    """The same processes are there afterwards."""
    before = [own_system.pid(name) for name in own_system.processes]

    assert own_system.watchbill("start").code == 0
    assert [own_system.pid(name) for name in own_system.processes] == before


@pytest.mark.local("an operator whose token the command makes")
def test_a_start_puts_back_what_the_operator_needs(make_system: Callable[[Path], LocalSystem], tmp_path: Path) -> None:
    """Its account and its rights were deleted; the running operator goes on with a fresh token."""
    system = make_system(tmp_path / "own home")
    assert system.start().code == 0
    try:
        system.kubectl("delete", "serviceaccount,role,rolebinding", "watchbill-operator")

        done = system.watchbill("start")

        assert done.code == 0, done.err
        system.apply(task("next", command=args("true")))
        assert system.wait_for_phase("next", seconds=60)["phase"] == "Succeeded"
    finally:
        system.stop(check_rights=False)


@pytest.mark.local("processes of a home")
def test_stop_leaves_no_process(own_system: LocalSystem) -> None:
    """Neither the system's own nor an agent's nor a task's."""
    own_system.apply(task("long", command=args("sleep", "304")))
    own_system.wait_for_phase("long", "Running")

    own_system.watchbill("stop", "--drain", "0")

    def left() -> list[str]:
        return [line for line in command_lines() if str(own_system.home) in line or "sleep 304" in line]

    wait_for(lambda: left() == [], "no process is left")
    assert own_system.watchbill("verify").code == 0


@pytest.mark.local("a node of its own that can be killed")
def test_a_pod_that_registers_only_after_the_operators_restart_is_heard(own_system: LocalSystem) -> None:
    """It was made by the operator before, and the log knows nothing of it."""
    own_system.kill("node")
    own_system.apply(agent("late"))
    wait_for(lambda: own_system.list("pods", "-l", "watchbill.dev/agent=late"), "the pod is made")
    own_system.kill_operator()

    done = own_system.watchbill("start")

    assert done.code == 0, done.err


def test_another_volume_is_refused_until_it_is_adopted(own_system: System) -> None:
    """An operator does not go on by itself with a log that is not the one that it led from."""
    own_system.halt()
    shutil.rmtree(own_system.root / "orchestration")

    refused = own_system.resume()
    asked = own_system.watchbill("adopt")
    adopted = own_system.watchbill("adopt", "--yes")

    assert (refused.code, asked.code, adopted.code) == (2, 1, 0)
    assert "watchbill adopt" in refused.err
    # Agents that lived on have told the former log who they are: the new one gets to know those that begin now.
    own_system.try_kubectl("delete", "pods", "-l", "app.kubernetes.io/name=watchbill-agent", "--wait=false")
    assert own_system.resume().code == 0
