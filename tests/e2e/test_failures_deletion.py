"""Deleting: with each propagation policy, and a whole namespace while the system works in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.local_system import LocalSystem
from support.system import System, agent, args, shell, task
from support.waiting import wait_for

pytestmark = pytest.mark.controllers  # who collects what was owned, and empties namespaces

Name = Callable[[str], str]
POLICIES = ["background", "foreground", "orphan"]


def pods(system: System, pool: str) -> list[dict[str, Any]]:
    """Pods of a pool."""
    return system.list("pods", "-l", f"watchbill.dev/agent={pool}")


@pytest.mark.parametrize("policy", POLICIES)
def test_an_agents_pods_go_with_it_whatever_the_policy(system: System, name: Name, policy: str) -> None:
    """Its running task waits for another of that name. Orphaned pods go as well: nobody would give them work any more,
    and the next Agent of the name could not have pods of their names.
    """
    pool, work = name(f"{policy[:2]}-pool"), name(f"{policy[:2]}-work")
    system.apply(agent(pool, drainSeconds=0))
    system.apply(task(work, agentRef=pool, command=shell('[ "$WATCHBILL_ATTEMPT" -gt 1 ] || sleep 300')))
    system.wait_for_phase(work, "Running")

    system.kubectl("delete", "agent", pool, f"--cascade={policy}", "--timeout=90s")

    assert system.get("agent", pool) is None
    wait_for(lambda: pods(system, pool) == [], "its pods are gone")
    wait_for(lambda: system.status(work).get("reason") == "NoSuchAgent", "its task waits")
    system.apply(agent(pool))
    assert system.wait_for_phase(work, seconds=60)["phase"] == "Succeeded"
    system.kubectl("delete", "agent", pool)


@pytest.mark.parametrize("policy", POLICIES)
def test_a_running_task_is_stopped_by_its_deletion_whatever_the_policy(system: System, name: Name, policy: str) -> None:
    """Nothing is owned by a Task, so there is nothing to wait for and nothing to leave behind."""
    work, other = name(f"{policy[:2]}-work"), name(f"{policy[:2]}-other")
    system.apply(task(work, role="red", command=shell("sleep 300")))
    system.wait_for_phase(work, "Running")

    system.kubectl("delete", "task", work, f"--cascade={policy}", "--timeout=60s")
    system.apply(task(other, role="red", command=args("true")))

    assert system.wait_for_phase(other)["phase"] == "Succeeded"
    assert system.get("task", work) is None


@pytest.fixture
def doomed_system(make_system: Callable[[Path], System], tmp_path: Path) -> Iterator[System]:
    """A started system whose namespace, and with it its rights, will be gone."""
    system = make_system(tmp_path / "own home")
    if not system.has_guards:
        pytest.skip("the small API server has no namespace controller, and keeps the namespace default")
    done = system.start()
    assert done.code == 0, done.err
    yield system
    system.stop(check_rights=False)


def test_a_namespace_that_is_deleted_is_gone_soon(doomed_system: System) -> None:
    """Nothing in it waits for the operator, whether that runs in it or elsewhere."""
    delete_namespace(doomed_system)

    assert doomed_system.get("namespace", doomed_system.namespace) is None
    assert doomed_system.try_kubectl("get", "tasks", "-o", "name").out == ""


@pytest.mark.local("an operator that runs outside of its namespace")
def test_an_operator_whose_namespace_is_deleted_says_what_it_misses(doomed_system: LocalSystem) -> None:
    """It goes on without a crash, and its log stays whole."""
    operator = doomed_system.pid("operator")

    delete_namespace(doomed_system)

    said = wait_for(lambda: find_log_of_loss(doomed_system), "it says what it misses")
    assert Path(f"/proc/{operator}").exists()
    assert len(said.splitlines()) < 200
    assert doomed_system.watchbill("verify").code == 0


def delete_namespace(system: System) -> None:
    """Delete it while tasks run, and wait until it is gone."""
    system.apply(*(task(f"long{number}", command=shell("sleep 300")) for number in range(3)))
    system.wait_for_phase("long0", "Running")
    system.kubectl("delete", "namespace", system.namespace, "--wait=false")
    wait_for(lambda: system.get("namespace", system.namespace) is None, "the namespace is gone", every=0.5)


def find_log_of_loss(system: System) -> str:
    """The operator's log, once it tells of the Lease."""
    said = system.operator_log()
    return said if "the lease could not be renewed: " in said else ""
