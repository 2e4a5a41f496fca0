"""Pools of real pods grow, shrink and get another image while they work: no running task is lost by it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from support.kind_cluster import RunCluster
from support.kind_system import KindSystem
from support.kind_tools import run_tool
from support.local_system import agent, shell, task
from support.waiting import wait_for

pytestmark = pytest.mark.kind

FIRST_IMAGE, SECOND_IMAGE = "docker.io/watchbill/agent:dev", "docker.io/watchbill/agent:second"
UNTIL_LET_GO = shell('until [ -e "$WATCHBILL_CONTEXT/go" ]; do sleep 0.1; done; echo done')


@pytest.fixture
def crew(system: KindSystem) -> Iterator[str]:
    """A pool of two, ready."""
    system.apply(agent("crew", replicas=2))
    wait_for(lambda: ready(system) == 2, "two are ready")
    yield "crew"
    (system.root / "shared-context" / "go").unlink(missing_ok=True)
    system.kubectl("delete", "task", "--all")
    system.kubectl("delete", "agent", "crew")


def ready(system: KindSystem) -> int:
    """Replicas that take tasks."""
    return int(((system.get("agent", "crew") or {}).get("status") or {}).get("readyReplicas", -1))


def pods(system: KindSystem) -> list[dict[str, Any]]:
    """Pods of the pool."""
    return system.list("pods", "-l", "watchbill.dev/agent=crew")


def submit(system: KindSystem, count: int) -> list[str]:
    """Tasks that run until `let_go`; returns their names."""
    names = [f"work-{number}" for number in range(count)]
    done = system.apply(*(task(name, agentRef="crew", command=UNTIL_LET_GO) for name in names))
    assert done.code == 0, done.err
    return names


def let_go(system: KindSystem) -> None:
    """Have the tasks that run, and those that begin later, end."""
    (system.root / "shared-context" / "go").touch()


def count_running(system: KindSystem) -> int:
    """Tasks that run."""
    return sum((each.get("status") or {}).get("phase") == "Running" for each in system.list("tasks"))


def check_first_attempts(system: KindSystem, names: list[str]) -> None:
    """Fail unless each of these Tasks succeeds in its first attempt: nothing was lost nor given back."""
    ends = {name: system.wait_for_phase(name) for name in names}
    assert {name: (status["phase"], status["attempts"]) for name, status in ends.items()} == dict.fromkeys(
        names, ("Succeeded", 1)
    )


def test_scaling_to_six_and_to_one_loses_no_running_task(system: KindSystem, crew: str) -> None:
    """Six work at once; the five that are too many end what they do, and leave."""
    names = submit(system, 7)
    system.kubectl("scale", f"ag/{crew}", "--replicas=6")
    wait_for(lambda: count_running(system) == 6, "six work")

    system.kubectl("scale", f"ag/{crew}", "--replicas=1")
    wait_for(lambda: ready(system) == 1, "five take nothing new")
    let_go(system)

    check_first_attempts(system, names)
    wait_for(lambda: [pod["metadata"]["name"] for pod in pods(system)] == ["crew-0"], "one is left")


def test_a_new_image_replaces_replicas_one_after_another(system: KindSystem, crew: str, cluster: RunCluster) -> None:
    """Each ends its task first, and the second one goes on until the first is back."""
    run_tool(
        "docker", "exec", cluster.node, "ctr", "-n", "k8s.io", "images", "tag", "--force", FIRST_IMAGE, SECOND_IMAGE
    )
    names = submit(system, 3)
    wait_for(lambda: count_running(system) == 2, "both work")

    system.apply(agent(crew, replicas=2, image=SECOND_IMAGE))
    wait_for(lambda: ready(system) == 1, "one takes nothing new")
    assert count_running(system) == 2
    let_go(system)
    seen = []

    def is_renewed() -> bool:
        seen.append(ready(system))
        return images(system) == [SECOND_IMAGE] * 2 and seen[-1] == 2

    wait_for(is_renewed, "both have the new image")
    check_first_attempts(system, names)
    assert min(seen) >= 1


def images(system: KindSystem) -> list[str]:
    """Of the agents' containers."""
    return [pod["spec"]["containers"][0]["image"] for pod in pods(system)]
