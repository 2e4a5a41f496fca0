"""Real pods end in all the ways that Kubernetes knows: their tasks are done by another or again, and counted once."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from support.kind_system import OPERATOR, KindSystem
from support.local_system import agent, shell, task
from support.waiting import wait_for
from support.workload import check_done_once, create, wait_for_successes

pytestmark = pytest.mark.kind

FIRST_TIME = '[ "$WATCHBILL_ATTEMPT" = 1 ]'
HANG_ONCE = shell(f"if {FIRST_TIME}; then exec sleep 600; fi; echo again")
EAT_ONCE = shell(f"if {FIRST_TIME}; then exec python -c 'bytearray(300_000_000)'; fi; echo again")
#: Files in memory and many small programs: the agent is the largest of the processes, so the kernel ends it.
STARVE_ONCE = shell(
    f"if {FIRST_TIME}; then yes > /dev/shm/filled; "
    "for each in 1 2 3 4 5 6 7 8 9 10; do dd if=/dev/zero of=/dev/null bs=4M & done; exec sleep 600; fi; echo again"
)
FILL_ONCE = shell(f"if {FIRST_TIME}; then yes | head -c 20000000 > /tmp/filled; exec sleep 600; fi; echo again")
TASKS = 100


@contextmanager
def pool(system: KindSystem, name: str, **spec: Any) -> Iterator[str]:
    """An Agent for the time of a test, ready."""
    done = system.apply(agent(name, **spec))
    assert done.code == 0, done.err
    system.kubectl("wait", "--for=condition=Ready", f"agent/{name}", "--timeout=90s")
    try:
        yield name
    finally:
        system.kubectl("delete", "task", "--all")
        system.kubectl("delete", "agent", name)


def check_done_again(system: KindSystem, name: str) -> dict[str, Any]:
    """Fail unless that Task succeeds with its second attempt, and the log counts one success; return its status."""
    status = system.wait_for_phase(name)
    assert (status["phase"], status["attempts"], status["result"].strip()) == ("Succeeded", 2, "again"), status
    ends = [event["type"] for event in system.events() if event.get("task") == uid(system, name)]
    assert ends.count("TaskSucceeded") == 1
    return status


def uid(system: KindSystem, name: str) -> str:
    """Of a Task."""
    return str((system.get("task", name) or {})["metadata"]["uid"])


def delete(system: KindSystem, pod: str) -> None:
    """As a person does."""
    system.kubectl("delete", "pod", pod, "--wait=false")


def delete_by_force(system: KindSystem, pod: str) -> None:
    """As a person does whose node is gone."""
    system.kubectl("delete", "pod", pod, "--grace-period=0", "--force")


def evict(system: KindSystem, pod: str) -> None:
    """As `kubectl drain` does."""
    metadata = {"name": pod, "namespace": system.namespace}
    body = json.dumps({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": metadata})
    path = f"/api/v1/namespaces/{system.namespace}/pods/{pod}/eviction"
    system.kubectl("create", "--raw", path, "-f", "-", stdin=body)


@pytest.mark.parametrize("end", [delete, delete_by_force, evict])
def test_a_task_whose_pod_is_taken_away_is_done_by_another(
    system: KindSystem, end: Callable[[KindSystem, str], None]
) -> None:
    """Deleted, deleted by force, evicted: the other replica does it at once, and the pod comes back."""
    with pool(system, "pair", replicas=2):
        system.apply(task("hang", agentRef="pair", command=HANG_ONCE))
        victim = system.wait_for_phase("hang", "Running")["agent"]

        end(system, victim)

        assert check_done_again(system, "hang")["agent"] != victim
        system.kubectl("wait", "--for=jsonpath={.status.readyReplicas}=2", "agent/pair", "--timeout=90s")


def test_a_task_whose_pod_the_kubelet_evicts_is_done_again(system: KindSystem) -> None:
    """It wrote more to the node's disk than its Agent may use: the pod fails, and another takes its name."""
    with pool(system, "hoarder", resources={"limits": {"ephemeral-storage": "4Mi"}}):
        system.apply(task("fill", agentRef="hoarder", command=FILL_ONCE))

        check_done_again(system, "fill")


def test_a_command_that_needs_more_memory_than_there_is_fails_with_that_reason(system: KindSystem) -> None:
    """Its attempt is retried, as any that failed; the agent goes on where the kernel leaves it alone."""
    with pool(system, "hungry", resources={"limits": {"memory": "128Mi"}}):
        system.apply(task("eat", agentRef="hungry", command=EAT_ONCE, retryPolicy={"initialDelaySeconds": 1}))

        check_done_again(system, "eat")


def test_a_task_whose_agent_is_killed_for_memory_is_done_again_and_the_agent_says_so(system: KindSystem) -> None:
    """Files in memory leave no room for the agent itself: its container is OOMKilled and starts again."""
    with pool(system, "starved", resources={"limits": {"memory": "104Mi"}}):
        system.apply(task("starve", agentRef="starved", command=STARVE_ONCE))

        check_done_again(system, "starve")

        ready = next(
            each for each in (system.get("agent", "starved") or {})["status"]["conditions"] if each["type"] == "Ready"
        )
        assert "OOMKilled" in ready["message"]


def test_an_operator_pod_deleted_in_the_middle_of_100_tasks_costs_nothing(own_system: KindSystem) -> None:
    """Agents go on meanwhile; each task is done once, and each status is right afterwards."""
    names = create(own_system, TASKS)
    wait_for_successes(own_system, 20)

    own_system.kubectl("delete", "pod", "-l", OPERATOR, "--wait=false")

    check_done_once(own_system, names)
    pods = own_system.list("pods", "-l", OPERATOR)
    wait_for(lambda: len(own_system.list("pods", "-l", OPERATOR)) == 1, f"one operator is left of {len(pods)}")
