"""Pools of agents as a user of kubectl sees them: scale, drain, delete, crash."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from support.system import System, agent, args, shell, task
from support.waiting import wait_for

Name = Callable[[str], str]


def ready(system: System, pool: str) -> int:
    """Replicas that take tasks."""
    status = (system.get("agent", pool) or {}).get("status") or {}
    return int(status.get("readyReplicas", -1))


def pods(system: System, pool: str) -> list[dict[str, Any]]:
    """Pods of a pool."""
    return system.list("pods", "-l", f"watchbill.dev/agent={pool}")


def test_kubectl_scale_makes_more_agents_and_fewer_again(system: System, name: Name) -> None:
    """Up to five, down to one: status and pods follow."""
    pool = name("scale")
    system.apply(agent(pool, replicas=1))
    wait_for(lambda: ready(system, pool) == 1, "one is ready")

    system.kubectl("scale", f"ag/{pool}", "--replicas=5")
    wait_for(lambda: ready(system, pool) == 5, "five are ready")
    system.kubectl("scale", f"ag/{pool}", "--replicas=1")

    wait_for(lambda: len(pods(system, pool)) == 1, "one pod is left")
    assert [pod["metadata"]["name"] for pod in pods(system, pool)] == [f"{pool}-0"]
    system.kubectl("delete", "agent", pool)


def test_scaling_down_lets_running_tasks_end(system: System, name: Name) -> None:
    """A drained replica finishes what it does, in its first attempt."""
    pool, work = name("drain"), name("work")
    system.apply(agent(pool))
    system.apply(task(work, agentRef=pool, command=shell("sleep 1; echo done")))
    system.wait_for_phase(work, "Running")

    system.kubectl("scale", f"ag/{pool}", "--replicas=0")

    status = system.wait_for_phase(work)
    assert (status["phase"], status["attempts"]) == ("Succeeded", 1)
    wait_for(lambda: pods(system, pool) == [], "no pod is left")
    system.kubectl("delete", "agent", pool)


def test_a_lost_agents_task_is_done_by_another(system: System, name: Name) -> None:
    """Its pod is deleted by force; the task is queued again at once and ends elsewhere."""
    pool, work = name("lost"), name("work")
    system.apply(agent(pool, replicas=2, drainSeconds=0))
    wait_for(lambda: ready(system, pool) == 2, "two are ready")
    system.apply(task(work, agentRef=pool, command=shell('[ "$WATCHBILL_ATTEMPT" -gt 1 ] || sleep 300; echo again')))
    victim = system.wait_for_phase(work, "Running")["agent"]

    system.kubectl("delete", "pod", victim, "--grace-period=0", "--force")

    status = system.wait_for_phase(work, seconds=60)
    assert (status["phase"], status["attempts"], status["result"].strip()) == ("Succeeded", 2, "again")
    system.kubectl("delete", "agent", pool)


def test_an_agent_deleted_while_its_task_runs_gives_the_task_back(system: System, name: Name) -> None:
    """The task waits, with a reason, until a pool of that name is there again."""
    pool, work = name("temp"), name("work")
    system.apply(agent(pool, drainSeconds=0))
    system.apply(task(work, agentRef=pool, command=shell('[ "$WATCHBILL_ATTEMPT" -gt 1 ] || sleep 300')))
    system.wait_for_phase(work, "Running")

    system.kubectl("delete", "agent", pool)
    wait_for(lambda: system.status(work).get("reason") == "NoSuchAgent", "it waits for the pool", 40)
    system.apply(agent(pool))

    assert system.wait_for_phase(work, seconds=60)["phase"] == "Succeeded"
    system.kubectl("delete", "agent", pool)


def test_ten_thousand_replicas_are_bounded_and_said_so(system: System, name: Name) -> None:
    """A condition says how many there are at most, whatever becomes of their pods: here nobody runs them."""
    pool = name("many")
    nowhere = {"spec": {"nodeSelector": {"example.invalid/there": "is-none"}}}
    system.apply(agent(pool, replicas=10_000, image="example.invalid/none", podTemplate=nowhere))

    def bounded() -> dict[str, Any]:
        status = (system.get("agent", pool) or {}).get("status") or {}
        found = [item for item in status.get("conditions") or () if item["type"] == "ReplicasBounded"]
        return found[0] if found else {}

    wait_for(lambda: bounded().get("status") == "True", "the condition is there")
    assert "64" in bounded()["message"]
    assert len(pods(system, pool)) <= 64
    system.kubectl("delete", "agent", pool)


def test_pods_cannot_reach_the_api_and_are_restricted(system: System) -> None:
    """No token, no root, no capabilities, a read-only root, and no mount but their own."""
    pod = pods(system, "blue")[0]["spec"]
    container = pod["containers"][0]
    mounts = {mount["mountPath"]: mount.get("readOnly", False) for mount in container["volumeMounts"]}

    assert pod["automountServiceAccountToken"] is False
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert {path: only for path, only in mounts.items() if path.startswith("/watchbill/")} == {
        "/watchbill/inbox": True,
        "/watchbill/outbox": False,
        "/watchbill/work": False,
        "/watchbill/state": False,
        "/watchbill/shared-context": True,
    }


def test_agents_log_what_they_do(system: System, name: Name) -> None:
    """`kubectl logs` of an agent names the task."""
    system.apply(task(name("logged"), command=args("true")))
    replica = system.wait_for_phase(name("logged"))["agent"]

    said = wait_for(
        lambda: [x for x in system.kubectl("logs", replica).splitlines() if name("logged") in x], "it is named"
    )
    assert any("starts" in line for line in said)


def test_a_changed_agent_gets_new_pods_one_after_another(system: System, name: Name) -> None:
    """Each replica is replaced when it is idle, and in the end all of them are ready and new."""
    pool = name("roll")
    system.apply(agent(pool, replicas=3))
    wait_for(lambda: ready(system, pool) == 3, "three are ready")
    before = {pod["metadata"]["uid"] for pod in pods(system, pool)}

    for turn in range(3):
        system.apply(agent(pool, replicas=3, env=[{"name": "TURN", "value": str(turn)}]))

    def renewed() -> bool:
        values = [
            item["value"]
            for p in pods(system, pool)
            for item in p["spec"]["containers"][0]["env"]
            if item["name"] == "TURN"
        ]
        return values == ["2", "2", "2"] and ready(system, pool) == 3

    wait_for(renewed, "all three are new and ready")
    assert before.isdisjoint(pod["metadata"]["uid"] for pod in pods(system, pool))
    system.kubectl("delete", "agent", pool)
