"""The status of Agents: counts, and conditions that say what to mend."""

from __future__ import annotations

from typing import Any

import pytest

from support.deciding import Ledger, declare, give_back, start_pool, submit
from support.operator_cases import CREATED, SETTINGS, a_pod, a_pod_object, an_agent, container_status
from watchbill_coordination.core.commands import LoseReplica
from watchbill_coordination.core.specs import ReplicaName
from watchbill_operator.agent_status import build_agent_status
from watchbill_operator.conditions import Finding, format_time
from watchbill_operator.observed_pods import PodView, parse_pod


def declared(**spec: Any) -> Ledger:
    """A log that knows the Agent, without any replica."""
    ledger = Ledger()
    ledger.do(declare(**spec))
    return ledger


def condition(status: dict[str, Any], kind: str) -> dict[str, Any]:
    """One condition of it."""
    return next(item for item in status["conditions"] if item["type"] == kind)


def ready(agent: dict[str, Any], ledger: Ledger, *pods: PodView, findings: tuple[Finding, ...] = ()) -> dict[str, Any]:
    """Its Ready condition."""
    return condition(build_agent_status(agent, ledger.state, pods, SETTINGS, findings), "Ready")


def test_counts_are_those_of_log_and_pods() -> None:
    """Two pods, two ready, one busy."""
    ledger = start_pool("blue-0", "blue-1")
    ledger.do(submit("t1"))
    agent = an_agent(replicas=2)
    status = build_agent_status(agent, ledger.state, [a_pod(agent, 0), a_pod(agent, 1)], SETTINGS)

    assert (status["replicas"], status["readyReplicas"], status["busyReplicas"]) == (2, 2, 1)
    assert status["selector"] == "watchbill.dev/agent=blue"
    assert condition(status, "Ready")["status"] == "True"


def test_pods_of_somebody_else_are_not_counted() -> None:
    """The owner's uid decides."""
    foreign = a_pod(an_agent(uid="another"), 0)

    assert build_agent_status(an_agent(), declared().state, [foreign], SETTINGS)["replicas"] == 0


def test_an_image_that_cannot_be_pulled_is_named() -> None:
    """With the words of whoever tried."""
    waiting = {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}
    answer = ready(an_agent(), declared(), a_pod(an_agent(), 0, status=container_status(state=waiting)))

    assert (answer["status"], answer["reason"]) == ("False", "ImageUnavailable")
    assert "nowhere/agent:1" in answer["message"]
    assert "no such image" in answer["message"]


def no_image(message: str) -> dict[str, Any]:
    """The status of a pod that waits for its image, with the node's words."""
    return container_status(state={"waiting": {"reason": "ErrImagePull", "message": message}})


def test_a_node_that_names_the_image_is_not_repeated() -> None:
    """Its sentence is the whole one."""
    pod = a_pod(an_agent(), 0, status=no_image('image "nowhere/agent:1" cannot be pulled: no such name'))
    message = ready(an_agent(), declared(), pod)["message"]

    assert message.count("nowhere/agent:1") == 1
    assert 'blue-0: Image "nowhere/agent:1" cannot be pulled: no such name. ' in message


def test_the_agents_own_image_is_mended_in_the_agent() -> None:
    """The pod has what the Agent asks for."""
    agent = an_agent(image="nowhere/agent:1")
    message = ready(agent, declared(), a_pod(agent, 0, status=no_image("gone")))["message"]

    assert message.endswith("If that name is wrong, change the Agent's image.")


def test_an_image_that_the_agent_does_not_ask_for_is_mended_by_deleting_the_pod() -> None:
    """Somebody changed the pod, so nothing about the Agent is wrong."""
    changed = a_pod_object(an_agent(), 0, status=no_image("gone"))
    changed["spec"]["containers"][0]["image"] = "nowhere/agent:1"
    message = ready(an_agent(), declared(), parse_pod(changed))["message"]

    assert message.endswith("The Agent asks for watchbill/agent:dev: kubectl delete pod blue-0 has the pod made anew.")


TROUBLES: dict[str, tuple[dict[str, Any], str, str]] = {
    "crash loop": (
        container_status(
            state={"waiting": {"reason": "CrashLoopBackOff"}},
            lastState={"terminated": {"exitCode": 3, "message": "no inbox"}},
        ),
        "CrashLooping",
        "exit code 3, no inbox",
    ),
    "no memory": (
        container_status(
            state={"waiting": {"reason": "CrashLoopBackOff"}},
            lastState={"terminated": {"exitCode": 137, "reason": "OOMKilled", "message": "last words"}},
        ),
        "CrashLooping",
        "it used more memory than its limit (OOMKilled)",
    ),
    "missing secret": (
        container_status(state={"waiting": {"reason": "CreateContainerConfigError", "message": 'secret "k" missing'}}),
        "ContainerNotCreated",
        'secret "k" missing',
    ),
    "no node": (
        {"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", "message": "0/3 nodes fit"}]},
        "Unschedulable",
        "0/3 nodes fit",
    ),
}


@pytest.mark.parametrize(("status", "reason", "told"), TROUBLES.values(), ids=TROUBLES.keys())
def test_a_pod_in_trouble_is_told_with_its_cause(status: dict[str, Any], reason: str, told: str) -> None:
    """The person who reads the Agent need not look at its pods."""
    answer = ready(an_agent(), declared(), a_pod(an_agent(), 0, status=status))

    assert answer["reason"] == reason
    assert told in answer["message"]
    assert "blue-0" in answer["message"]


def test_an_agent_that_was_killed_for_memory_says_so_though_it_is_ready_again() -> None:
    """The next task may need as much: what to raise is named."""
    running = {"running": {"startedAt": CREATED}}
    ended = {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}
    pod = a_pod(an_agent(), 0, status=container_status(state=running, lastState=ended))

    answer = ready(an_agent(), start_pool("blue-0"), pod)

    assert (answer["status"], answer["reason"]) == ("True", "AllReady")
    assert "blue-0 had to be started again: it used more memory than its limit (OOMKilled)" in answer["message"]
    assert "spec.resources" in answer["message"]


def test_a_pod_that_only_starts_is_no_trouble() -> None:
    """Pending without a reason is a matter of time."""
    assert ready(an_agent(), declared(), a_pod(an_agent(), 0))["reason"] == "Starting"


def test_too_many_replicas_are_bounded_with_a_sentence() -> None:
    """10,000 were asked for."""
    status = build_agent_status(an_agent(replicas=10_000), declared(replicas=10_000).state, [], SETTINGS)
    bounded = condition(status, "ReplicasBounded")

    assert bounded["status"] == "True"
    assert "10000" in bounded["message"]
    assert "64" in bounded["message"]


def test_a_bounded_agent_tells_both_numbers_where_it_counts() -> None:
    """WANTED shows 10,000, so a count of 64 alone would puzzle."""
    message = ready(an_agent(replicas=10_000), declared(replicas=10_000))["message"]

    assert "0 of 64 replicas are ready (10000 were asked for, see ReplicasBounded)" in message


def test_an_ordinary_number_of_replicas_is_within_bounds() -> None:
    """The condition is there, and False."""
    status = build_agent_status(an_agent(), declared().state, [], SETTINGS)

    assert condition(status, "ReplicasBounded")["status"] == "False"


def test_a_refused_template_is_told_with_all_that_is_wrong() -> None:
    """TemplateAccepted names each finding; Ready points there."""
    template = {"spec": {"hostNetwork": True, "serviceAccountName": "admin"}}
    status = build_agent_status(an_agent(podTemplate=template), declared().state, [], SETTINGS)
    accepted = condition(status, "TemplateAccepted")

    assert (accepted["status"], accepted["reason"]) == ("False", "HostAccessNotAllowed")
    assert "hostNetwork" in accepted["message"]
    assert "serviceAccountName" in accepted["message"]
    assert condition(status, "Ready")["reason"] == "TemplateRefused"


def test_a_suspended_agent_is_not_ready() -> None:
    """It takes no tasks, however many replicas are there."""
    ledger = start_pool("blue-0", suspend=True)

    assert ready(an_agent(suspend=True), ledger)["reason"] == "Suspended"


def test_no_replicas_wanted_is_ready() -> None:
    """Scaled to zero on purpose."""
    assert ready(an_agent(replicas=0), declared(replicas=0))["status"] == "True"


def test_what_the_plan_found_is_told() -> None:
    """A name that is taken, a quota."""
    finding = Finding("NameTaken", "A pod called blue-0 exists.")

    assert ready(an_agent(), declared(), findings=(finding,))["reason"] == "NameTaken"


def test_a_level_is_a_condition_with_its_cause() -> None:
    """None of three wanted replicas is there after the grace."""
    ledger = start_pool("blue-0", "blue-1", "blue-2")
    ledger.now += 61
    for name in ("blue-0", "blue-1", "blue-2"):
        lost = LoseReplica(agent=ReplicaName(name), incarnation=f"pod-of-{name}/1", reason="PodGone")
        ledger.do(lost)
    ledger.wait(16)
    status = build_agent_status(an_agent(replicas=3), ledger.state, [], SETTINGS)

    assert status["level"] == "Critical"
    assert condition(status, "Degraded")["status"] == "True"
    assert condition(status, "Degraded")["lastTransitionTime"] == "1970-01-12T13:47:57Z"


def test_transitions_have_the_logs_times() -> None:
    """The last replica to become ready made the Agent ready."""
    ledger = start_pool("blue-0")
    built = ready(an_agent(), ledger, a_pod(an_agent(), 0))

    assert built["lastTransitionTime"] == "1970-01-12T13:46:40Z"


def test_a_status_is_the_same_whenever_it_is_built() -> None:
    """From the same log and pods, byte for byte."""
    ledger = start_pool("blue-0")
    agent = an_agent()
    before = build_agent_status(agent, ledger.state, [a_pod(agent, 0)], SETTINGS)
    ledger.now += 3600

    assert build_agent_status(agent, ledger.state, [a_pod(agent, 0)], SETTINGS) == before


def broker_status(**state: Any) -> dict[str, Any]:
    """The status of a pod whose agent runs and whose broker has this state."""
    agent = {"name": "agent", "image": "x", "state": {"running": {"startedAt": CREATED}}}
    return {"phase": "Running", "containerStatuses": [agent, {"name": "broker", "image": "x", **state}]}


def claude_pool(*replicas: str) -> tuple[Ledger, dict[str, Any]]:
    """A pool that runs Claude Code and whose replicas, by default one, are ready: its log and its object."""
    names = replicas or ("blue-0",)
    return start_pool(*names, runner={"claude": {}}), an_agent(runner={"claude": {}}, replicas=len(names))


def test_a_broker_that_ends_again_and_again_is_told() -> None:
    """Though its agent takes tasks: they cannot reach their model."""
    ledger, agent = claude_pool()
    waiting = {"waiting": {"reason": "CrashLoopBackOff"}}
    ended = {"terminated": {"exitCode": 78, "message": "WATCHBILL_UPSTREAM is not a URL", "finishedAt": CREATED}}
    pod = a_pod(agent, 0, status=broker_status(state=waiting, lastState=ended))

    answer = ready(agent, ledger, pod)

    assert (answer["status"], answer["reason"]) == ("False", "BrokerNotReady")
    assert "blue-0 cannot reach the model without its broker" in answer["message"]
    assert "WATCHBILL_UPSTREAM is not a URL" in answer["message"]


def test_a_broker_that_runs_is_not_told() -> None:
    """Nobody needs to know of it."""
    ledger, agent = claude_pool()
    pod = a_pod(agent, 0, status=broker_status(state={"running": {"startedAt": CREATED}}))

    assert ready(agent, ledger, pod)["reason"] == "AllReady"


def test_a_pool_whose_credential_is_of_no_use_says_so() -> None:
    """With the words of whoever was refused, until when, and since when."""
    ledger, agent = claude_pool()
    ledger.do(submit("t"))
    ledger.now += 10
    ledger.do(give_back("t", reason="RateLimited", message="the model is rate limited", after=90))
    parked_at = ledger.now

    answer = condition(build_agent_status(agent, ledger.state, [], SETTINGS), "CredentialUsable")

    assert (answer["status"], answer["reason"]) == ("False", "RateLimited")
    assert answer["message"].endswith(f"Its tasks wait until {format_time(parked_at + 90)}.")
    assert answer["lastTransitionTime"] == format_time(parked_at)


def test_a_pool_that_is_parked_for_longer_is_parked_since_the_first_time() -> None:
    """The condition did not change meanwhile."""
    ledger, agent = claude_pool("blue-0", "blue-1")
    for uid in ("t", "u"):
        ledger.do(submit(uid))
    parked_at = ledger.now
    ledger.do(give_back("t", after=90))
    ledger.now += 20
    ledger.do(give_back("u", replica="blue-1", after=90))

    answer = condition(build_agent_status(agent, ledger.state, [], SETTINGS), "CredentialUsable")

    assert answer["lastTransitionTime"] == format_time(parked_at)
    assert format_time(ledger.now + 90) in answer["message"]


def test_a_pool_that_is_parked_no_longer_is_usable_since_then() -> None:
    """The time is the log's."""
    ledger, agent = claude_pool()
    ledger.do(submit("t"))
    ledger.do(give_back("t", after=90))
    ledger.wait(91)

    answer = condition(build_agent_status(agent, ledger.state, [], SETTINGS), "CredentialUsable")

    assert (answer["status"], answer["lastTransitionTime"]) == ("True", format_time(ledger.now))


def test_commands_need_no_credential() -> None:
    """Their pools have no such condition."""
    status = build_agent_status(an_agent(), declared().state, [], SETTINGS)

    assert "CredentialUsable" not in {item["type"] for item in status["conditions"]}
