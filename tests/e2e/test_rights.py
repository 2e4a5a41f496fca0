"""The Role of `manifests/base` against what a real API server saw: no right is missing, and none is unused."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from support.played_agent import PlayedAgent
from support.system import System, agent, args, task
from support.waiting import wait_for
from watchbill_coordination.core.messages import Answer, ChildSubmitted

BASE = Path(__file__).resolve().parents[2] / "manifests" / "base"
Right = tuple[str, str, str, str]  #: API group, resource with subresource, verb, object; no object: all of them


def load_granted() -> set[Right]:
    """What the Role grants, one by one."""
    documents = YAML(typ="safe").load_all((BASE / "rbac.yaml").read_text())
    [role] = [item for item in documents if item["kind"] == "Role"]
    return {
        (group, resource, verb, name)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
        for name in rule.get("resourceNames", [""])
    }


def parse_used(entries: list[dict[str, Any]], granted: set[Right]) -> set[Right]:
    """What was asked and allowed, from the audit log, by object where the right is `granted` by object.

    What everybody may ask (discovery) is no resource.
    """
    by_object = {right[:3] for right in granted if right[3]}
    return {
        (*asked, ref.get("name", "") if asked in by_object else "")
        for entry in entries
        if (ref := entry.get("objectRef")) and ref.get("namespace")
        if entry["annotations"]["authorization.k8s.io/decision"] == "allow"
        for asked in [(ref.get("apiGroup", ""), _join(ref["resource"], ref.get("subresource")), entry["verb"])]
    }


def _join(resource: str, subresource: str | None) -> str:
    return f"{resource}/{subresource}" if subresource else resource


def submit_child(system: System) -> None:
    """Have an attempt ask for a Task. Its agent is played here: in its pod somebody sleeps, beside a real broker."""
    sleeping = {"spec": {"containers": [{"name": "agent", "command": ["sleep", "600"]}]}}
    system.apply(agent("played", runner={"claude": {}}, podTemplate=sleeping))
    system.apply(task("parent", prompt="split it", agentRef="played"))
    pod = wait_for(lambda: system.get("pod", "played-0"), "the pod is there") or {}
    wait_for(lambda: is_running(system, "played-0"), "agent and broker run", 60.0)
    played = PlayedAgent(system.root, pod["metadata"]["uid"], "played-0")
    order = played.take()
    about = {"incarnation": played.incarnation, "task": order.task, "attempt": order.attempt}
    played.say(ChildSubmitted(**about, request=1, name="half", spec={"prompt": "do half of it", "role": "blue"}))
    answer = played.expect(Answer)
    assert answer.granted, answer.text


def is_running(system: System, pod: str) -> bool:
    """Whether both containers of a pod run."""
    status = (system.get("pod", pod) or {}).get("status") or {}
    states = {each["name"]: each["state"] for each in status.get("containerStatuses") or ()}
    return set(states) == {"agent", "broker"} and all("running" in state for state in states.values())


def test_every_right_of_the_role_is_used_and_no_other(own_system: System) -> None:
    """Over a life of the system: agents come and go, tasks end, fail and expire."""
    if not own_system.has_guards:
        pytest.skip("the small API server checks no rights: run with --control-plane=real")
    own_system.apply(
        task("fails", command=args("false"), retryPolicy={"maxRetries": 0}),
        task("expires", command=args("true"), ttlSecondsAfterFinished=0),
        agent("short"),
    )
    submit_child(own_system)
    own_system.wait_for_phase("fails")
    own_system.kubectl("wait", "--for=condition=Ready", "agent/short", "--timeout=90s")
    own_system.kubectl("delete", "agent", "short")
    granted = load_granted()

    def used() -> set[Right]:
        return parse_used(own_system.audited(), granted)

    with contextlib.suppress(AssertionError):  # the sets below say more
        wait_for(lambda: used() >= granted, "every right is used")
    unused, missing = granted - used(), own_system.forbidden()
    assert not unused, f"rbac.yaml grants what nobody used: {sorted(unused)}"
    assert not missing, f"rbac.yaml forbids what the operator asked: {missing}"
    assert used() == granted


def test_the_operator_may_do_nothing_on_the_cluster_nor_with_what_is_not_its_own(system: System) -> None:
    """Its service account is asked for by name; a namespace's Role gives nothing outside."""
    if not system.has_guards:
        pytest.skip("the small API server checks no rights: run with --control-plane=real")
    account = f"--as=system:serviceaccount:{system.namespace}:watchbill-operator"

    answers = {
        question: system.try_kubectl("auth", "can-i", *question.split(), account).out.strip()
        for question in (
            "list nodes",
            "list secrets",
            "create roles",
            "list tasks.watchbill.dev -n default",
            "patch tasks.watchbill.dev",
            "create pods --subresource=exec",
            "update leases.coordination.k8s.io/someone-elses",
        )
    }

    assert set(answers.values()) == {"no"}, answers


@pytest.mark.parametrize("weakness", ["privileged", "host-network", "root"])
def test_the_agents_namespace_refuses_a_pod_that_is_not_restricted(system: System, weakness: str) -> None:
    """The guard that an unrestricted agent pod would meet is really there."""
    if not system.has_guards:
        pytest.skip("the small API server has no Pod Security admission: run with --control-plane=real")
    container = {"name": "main", "image": "busybox", "securityContext": WEAKNESSES[weakness][1]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "weak"}}
    done = system.apply({**pod, "spec": {**WEAKNESSES[weakness][0], "containers": [container]}})

    assert done.code == 1
    assert 'violates PodSecurity "restricted' in done.err


RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "runAsNonRoot": True,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}
WEAKNESSES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "privileged": ({}, {**RESTRICTED, "privileged": True, "allowPrivilegeEscalation": True}),
    "host-network": ({"hostNetwork": True}, RESTRICTED),
    "root": ({}, {**RESTRICTED, "runAsNonRoot": False}),
}
