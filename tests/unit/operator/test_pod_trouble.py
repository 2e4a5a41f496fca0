"""Why a pod does not run: statuses as kubelet and scheduler of Kubernetes 1.36 wrote them, and refusals of the API."""

from __future__ import annotations

from typing import Any

import pytest

from support.deciding import Ledger, declare, start_pool
from support.operator_cases import CREATED, a_pod, an_agent, container_status, surroundings
from watchbill_coordination.core.commands import LoseReplica
from watchbill_operator.conditions import parse_time
from watchbill_operator.observed_pods import parse_pod
from watchbill_operator.planning import plan_pods
from watchbill_operator.pod_trouble import build_refusal, find_trouble

NO_HOST = 'failed to do request: Head "https://example.invalid/v2/no/such/manifests/1": no such host'
BACK_OFF = 'Back-off pulling image "example.invalid/no/such:1": ErrImagePull: failed to resolve reference'
RUNC = 'runc create failed: unable to start container process: exec: "nosuch": executable file not found in $PATH'
UNBOUND = "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims. not found"
NO_CPU = "0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate"
EVICTED = "The node was low on resource: memory. Threshold quantity: 100Mi, available: 92Mi."
STARTED = parse_time(CREATED) or 0.0


def waiting(reason: str, message: str = "", **last: Any) -> dict[str, Any]:
    """The status of a container that waits."""
    said = {"reason": reason, **({"message": message} if message else {})}
    return {"name": "agent", "image": "nosuch/agent:1", "state": {"waiting": said}, "lastState": last}


def unscheduled(message: str) -> dict[str, Any]:
    """The status of a pod that no node takes."""
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    return {"phase": "Pending", "conditions": [condition]}


CONTAINERS = [
    (waiting("ErrImagePull", NO_HOST), "ImageUnavailable", "no such host"),
    (waiting("ImagePullBackOff", BACK_OFF), "ImageUnavailable", "example.invalid/no/such:1"),
    (waiting("ErrImageNeverPull"), "ImageUnavailable", "the node has no such image"),
    (waiting("InvalidImageName"), "ImageUnavailable", "this is no name of an image"),
    (
        waiting("CreateContainerConfigError", 'secret "nosecret" not found'),
        "ContainerNotCreated",
        '"nosecret" not found',
    ),
    (waiting("CreateContainerConfigError", 'configmap "x" not found'), "ContainerNotCreated", 'configmap "x"'),
    (waiting("RunContainerError", RUNC), "ContainerNotCreated", '"nosuch": executable file not found'),
    (
        waiting("CrashLoopBackOff", terminated={"exitCode": 3, "message": "no inbox\n", "reason": "Error"}),
        "CrashLooping",
        "ends again and again: exit code 3, no inbox.",
    ),
    (
        waiting("CrashLoopBackOff", terminated={"exitCode": 137, "reason": "OOMKilled"}),
        "CrashLooping",
        "used more memory than its limit (OOMKilled): raise that.",
    ),
    (
        waiting("CrashLoopBackOff", terminated={"exitCode": 137, "reason": "Error"}),
        "CrashLooping",
        "killed, as when it needs more memory than its limit.",
    ),
]
PODS = [
    (unscheduled(NO_CPU), "Unschedulable", "No node takes the pod: 0/1 nodes are available: 1 Insufficient cpu"),
    (unscheduled(UNBOUND), "Unschedulable", "`watchbill doctor` says what the claim waits for."),
    ({"phase": "Failed", "reason": "Evicted", "message": EVICTED}, "Evicted", "low on resource: memory"),
    ({"phase": "Failed"}, "PodFailed", "The pod failed."),
]


@pytest.mark.parametrize(("container", "reason", "words"), CONTAINERS, ids=lambda value: str(value)[:30])
def test_a_container_that_waits_is_told_with_its_cause(container: dict[str, Any], reason: str, words: str) -> None:
    """In one sentence."""
    finding = find_trouble({"phase": "Pending"}, container)

    assert finding is not None
    assert finding.reason == reason
    assert words in finding.message


@pytest.mark.parametrize(("status", "reason", "words"), PODS, ids=lambda value: str(value)[:30])
def test_a_pod_that_has_no_node_or_failed_is_told_with_its_cause(
    status: dict[str, Any], reason: str, words: str
) -> None:
    """Where no container says anything."""
    finding = find_trouble(status, {})

    assert finding is not None
    assert finding.reason == reason
    assert words in finding.message


@pytest.mark.parametrize("container", [{}, waiting("ContainerCreating"), waiting("PodInitializing")])
def test_a_container_whose_turn_comes_is_no_trouble(container: dict[str, Any]) -> None:
    """Nor is one of which nothing is known yet."""
    assert find_trouble({"phase": "Pending"}, container) is None


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (
            'create pods: pods "blue-0" is forbidden: exceeded quota: none, requested: pods=1, used: pods=0',
            "QuotaExceeded",
        ),
        ('pods "blue-0" is forbidden: failed quota: q: must specify limits.cpu for: agent', "QuotaExceeded"),
        ('pods "blue-0" is forbidden: violates PodSecurity "restricted:latest": privileged', "PodSecurityRefused"),
        ("admission webhook said no", "PodNotCreated"),
    ],
)
def test_a_refusal_of_the_api_server_has_the_reason_of_the_rule(said: str, reason: str) -> None:
    """And the server's own words."""
    finding = build_refusal("blue-0", said)

    assert finding.reason == reason
    assert said in finding.message


def creating(seconds: float) -> Any:
    """The plan for an Agent whose pod has been in ContainerCreating for so long."""
    scheduled = {"type": "PodScheduled", "status": "True", "lastTransitionTime": CREATED}
    status = {"phase": "Pending", "conditions": [scheduled], "containerStatuses": [waiting("ContainerCreating")]}
    agent, ledger = an_agent(), Ledger()
    ledger.do(declare())
    return plan_pods(agent, surroundings(ledger, [a_pod(agent, 0, status=status)]), STARTED + seconds)


def test_a_container_that_is_not_made_within_a_minute_is_told_of() -> None:
    """A folder, a Secret or a volume may lack; the pod's Events say which."""
    [finding] = creating(61).findings

    assert finding.reason == "ContainerCreating"
    assert "`kubectl describe pod blue-0`" in finding.message


def test_a_container_that_is_being_made_is_looked_at_again_when_it_is_late() -> None:
    """Nobody else would wake the operator then."""
    plan = creating(10)

    assert plan.findings == ()
    assert plan.next_due == STARTED + 60


def test_a_container_that_runs_is_being_made_no_longer() -> None:
    """The reading of the pod ends it."""
    running = {"name": "agent", "state": {"running": {"startedAt": CREATED}}}

    assert parse_pod({"metadata": {"name": "x"}, "status": {"containerStatuses": [running]}}).creating_since is None


def test_a_loss_for_want_of_memory_says_so() -> None:
    """So that the Event about it names what is to be raised."""
    agent, ledger = an_agent(), start_pool("blue-0")
    ended = {"finishedAt": "2030-01-01T00:00:00Z", "exitCode": 137, "reason": "OOMKilled"}
    pod = a_pod(agent, 0, status=container_status(state={"terminated": ended}))

    (loss,) = (
        each
        for each in plan_pods(agent, surroundings(ledger, (pod,)), ledger.now).commands
        if isinstance(each, LoseReplica)
    )

    assert loss.message == "Its container was started again: it used more memory than its limit (OOMKilled)."
