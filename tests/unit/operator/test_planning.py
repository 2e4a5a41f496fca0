"""Plans for pods: what is made, deleted and told to leave."""

from __future__ import annotations

from typing import Any

import pytest

from support.deciding import START, Ledger, accept, declare, register, start_pool, submit
from support.operator_cases import a_pod, an_agent, container_status, surroundings
from watchbill_coordination.core.commands import DrainReplica, LoseReplica, RemoveAgent
from watchbill_coordination.core.specs import AgentName, ReplicaName
from watchbill_operator.conditions import Finding
from watchbill_operator.observed_pods import PodView
from watchbill_operator.planning import Surroundings, build_name_taken, plan_pods, plan_removal
from watchbill_operator.pod_backoff import PodFailures, evolve_failures, evolve_refused
from watchbill_operator.pod_plan import CreatePod, DeletePod, Plan
from watchbill_operator.pod_settings import PodSettings

BLUE = AgentName("blue")
REFUSED_TEMPLATE = {"spec": {"hostNetwork": True}}


def plan(agent: dict[str, Any], ledger: Ledger, *pods: PodView, **more: Any) -> Plan:
    """The plan at the ledger's time."""
    return plan_pods(agent, surroundings(ledger, pods, **more), ledger.now)


def test_a_new_agent_gets_its_pods() -> None:
    """One for each ordinal from 0."""
    assert plan(an_agent(replicas=3), Ledger()).creates == (CreatePod(0), CreatePod(1), CreatePod(2))


def test_ten_thousand_replicas_make_64_pods() -> None:
    """A wish without sense costs no more than the bound."""
    assert len(plan(an_agent(replicas=10_000), Ledger()).creates) == 64


def test_a_missing_pod_is_made_again() -> None:
    """Its neighbours stay as they are."""
    ledger = start_pool("blue-0")
    agent = an_agent(replicas=2)

    assert plan(agent, ledger, a_pod(agent, 0)) == Plan(creates=(CreatePod(1),))


def test_a_settled_pool_needs_nothing() -> None:
    """Reconciling what is right does nothing."""
    ledger = start_pool("blue-0", "blue-1")
    agent = an_agent(replicas=2)

    assert plan(agent, ledger, a_pod(agent, 0), a_pod(agent, 1)) == Plan()


def test_a_vanished_pod_is_first_given_up_in_the_log() -> None:
    """No second pod of a replica before the log has let go of the first: its tasks go elsewhere."""
    ledger = start_pool("blue-0")
    first = plan(an_agent(), ledger)

    assert [type(command) for command in first.commands] == [LoseReplica]
    assert first.creates == ()
    for command in first.commands:
        ledger.do(command)
    assert plan(an_agent(), ledger) == Plan(creates=(CreatePod(0),))


@pytest.mark.parametrize(
    "stranger",
    [a_pod(an_agent(uid="another"), 0), a_pod(an_agent(), 0, ownerReferences=[], labels={})],
    ids=["another owner", "made by hand"],
)
def test_a_pod_of_somebody_else_is_never_touched(stranger: PodView) -> None:
    """It has our name, and the one even our label; a sentence says what is in the way."""
    answer = plan(an_agent(replicas=1), Ledger(), stranger)

    assert answer.is_empty
    assert [finding.reason for finding in answer.findings] == ["NameTaken"]


def test_a_surplus_idle_pod_goes_once_the_log_drains_it() -> None:
    """Scaled from 2 to 1: drained first, then deleted by name and uid."""
    ledger = start_pool("blue-0", "blue-1")
    agent = an_agent(replicas=1, generation=2)
    pods = (a_pod(agent, 0), a_pod(agent, 1))
    assert plan(agent, ledger, *pods) == Plan()

    ledger.do(declare(replicas=1, generation=2))

    expected = DeletePod(name="blue-1", uid="pod-of-blue-1", reason="Drained")
    assert plan(agent, ledger, *pods) == Plan(deletes=(expected,))


def test_a_surplus_busy_pod_may_finish_its_task() -> None:
    """It is left alone until its drain deadline."""
    ledger = start_pool("blue-0", "blue-1")
    ledger.do(submit("t1"))
    ledger.do(submit("t2"))
    ledger.do(declare(replicas=1, generation=2, drainSeconds=30))
    agent = an_agent(replicas=1, drainSeconds=30)

    answer = plan(agent, ledger, a_pod(agent, 0), a_pod(agent, 1))

    assert answer.is_empty
    assert answer.next_due == START + 30


def test_a_surplus_pod_that_never_registered_goes_at_once() -> None:
    """Nothing can run in it."""
    agent = an_agent(replicas=0)

    assert [delete.reason for delete in plan(agent, Ledger(), a_pod(agent, 0)).deletes] == ["ScaledDown"]


def test_a_pod_that_somebody_deletes_gets_no_new_tasks() -> None:
    """`kubectl delete pod`: drained while it terminates."""
    ledger = start_pool("blue-0")
    agent = an_agent()
    leaving = a_pod(agent, 0, deletionTimestamp="2026-01-01T00:01:00Z")

    assert plan(agent, ledger, leaving).commands == (DrainReplica(agent=ReplicaName("blue-0"), reason="PodDeleted"),)


def test_a_lost_replica_in_a_pod_that_still_runs_is_replaced() -> None:
    """Its heartbeat stopped: the process hangs, so the pod must go."""
    ledger = start_pool("blue-0")
    ledger.do(LoseReplica(agent=ReplicaName("blue-0"), incarnation="pod-of-blue-0/1", reason="HeartbeatStale"))
    agent = an_agent()

    (delete,) = plan(agent, ledger, a_pod(agent, 0)).deletes

    assert (delete.reason, delete.grace_seconds) == ("Unresponsive", 5)


def test_a_restarted_container_is_waited_for() -> None:
    """The kubelet started it again: it will register, the pod is good."""
    ledger = start_pool("blue-0")
    ledger.do(LoseReplica(agent=ReplicaName("blue-0"), incarnation="pod-of-blue-0/1", reason="ContainerRestarted"))
    agent = an_agent()
    waiting = container_status(state={"waiting": {"reason": "CrashLoopBackOff"}}, restartCount=1)
    running = container_status(state={"running": {"startedAt": "1970-01-12T13:46:40Z"}}, restartCount=1)

    assert plan(agent, ledger, a_pod(agent, 0, status=waiting)) == Plan()
    assert plan(agent, ledger, a_pod(agent, 0, status=running)) == Plan(next_due=START + 30)


def test_a_lost_pod_that_cannot_start_again_follows_its_agents_mend() -> None:
    """Its image vanished while it ran; nothing runs in it, so another image in the Agent need not wait for it."""
    ledger = start_pool("blue-0")
    ledger.do(LoseReplica(agent=ReplicaName("blue-0"), incarnation="pod-of-blue-0/1", reason="ContainerRestarted"))
    waiting = container_status(state={"waiting": {"reason": "ImagePullBackOff"}}, restartCount=1)
    old, new = an_agent(), an_agent(image="agent:2")

    assert [delete.reason for delete in plan(new, ledger, a_pod(old, 0, status=waiting)).deletes] == ["Outdated"]


def test_a_restarted_container_that_never_registers_is_replaced() -> None:
    """It hangs before it could say anything."""
    ledger = start_pool("blue-0")
    ledger.do(LoseReplica(agent=ReplicaName("blue-0"), incarnation="pod-of-blue-0/1", reason="HeartbeatStale"))
    ledger.now += 30
    agent = an_agent()
    running = container_status(state={"running": {"startedAt": "1970-01-12T13:46:40Z"}}, restartCount=1)

    deletes = plan(agent, ledger, a_pod(agent, 0, status=running)).deletes

    assert [delete.reason for delete in deletes] == ["Unresponsive"]


def test_a_container_that_ended_after_its_agent_registered_is_a_loss() -> None:
    """Its tasks need not wait for the heartbeat to go stale."""
    ledger = start_pool("blue-0")
    agent = an_agent()
    ended = container_status(state={"terminated": {"finishedAt": "2030-01-01T00:00:00Z", "exitCode": 137}})

    answer = plan(agent, ledger, a_pod(agent, 0, status=ended))

    assert [command.reason for command in answer.commands if isinstance(command, LoseReplica)] == ["ContainerRestarted"]


def test_a_node_whose_clock_is_fast_makes_no_loss() -> None:
    """The container ended before this agent registered, ten seconds later by its node's clock."""
    ledger = start_pool("blue-0")
    agent = an_agent()
    skewed = container_status(lastState={"terminated": {"finishedAt": "1970-01-12T13:46:50Z"}}, restartCount=1)

    assert plan(agent, ledger, a_pod(agent, 0, status=skewed)) == Plan()


def test_an_old_end_of_a_container_says_nothing_about_the_present_agent() -> None:
    """The watch may lag behind the mailbox."""
    ledger = start_pool("blue-0")
    agent = an_agent()
    before = container_status(lastState={"terminated": {"finishedAt": "1970-01-01T00:00:01Z"}}, restartCount=1)

    assert plan(agent, ledger, a_pod(agent, 0, status=before)) == Plan()


def test_an_evicted_pod_is_given_up_and_deleted() -> None:
    """A failed pod never runs again, whatever its restart policy."""
    ledger = start_pool("blue-0")
    agent = an_agent()
    evicted = {"phase": "Failed", "reason": "Evicted", "message": "The node was low on memory."}

    answer = plan(agent, ledger, a_pod(agent, 0, status=evicted))

    assert answer.commands == (
        LoseReplica(
            agent=ReplicaName("blue-0"),
            incarnation="pod-of-blue-0/1",
            reason="PodGone",
            message="The node was low on memory.",
        ),
    )
    assert [(delete.uid, delete.grace_seconds) for delete in answer.deletes] == [("pod-of-blue-0", 0)]


def test_a_second_failure_of_a_pod_is_waited_out() -> None:
    """The first replacement comes at once, the next after ten seconds: a broken template does not spin."""
    agent, now = an_agent(), START
    failures = PodFailures()
    for uid in ("first", "second"):
        failures = evolve_failures(failures, [PodView(name="blue-0", uid=uid, phase="Failed", created_at=now)], now)
    ledger = Ledger()

    answer = plan(agent, ledger, failures=failures)

    assert (answer.creates, answer.next_due) == ((), START + 10)
    ledger.now += 10
    assert plan(agent, ledger, failures=failures).creates == (CreatePod(0),)


def test_a_pod_that_the_api_server_refused_is_not_asked_for_again_at_once() -> None:
    """And the Agent's status can say why."""
    failures = evolve_refused(PodFailures(), "blue-0", START, Finding("PodNotCreated", "exceeded quota"))

    answer = plan(an_agent(), Ledger(), failures=failures)

    assert answer.next_due == START + 10
    assert [finding.message for finding in answer.findings] == ["exceeded quota"]


def test_a_name_that_is_taken_is_tried_again_every_ten_seconds() -> None:
    """However often: somebody deletes the pod in the way, and nobody tells of pods without our labels."""
    failures = PodFailures()
    for turn in range(20):
        failures = evolve_refused(failures, "blue-0", START + turn, build_name_taken("blue-0"))
    ledger = Ledger(now=START + 19)

    answer = plan(an_agent(), ledger, failures=failures)

    assert answer.next_due == START + 29
    assert [finding.reason for finding in answer.findings] == ["NameTaken"]


def test_a_refused_template_makes_no_pods() -> None:
    """Nothing weaker is made instead."""
    assert plan(an_agent(podTemplate=REFUSED_TEMPLATE), Ledger()).is_empty


def test_a_refused_template_leaves_running_pods_alone() -> None:
    """They were made from one that was accepted."""
    ledger = start_pool("blue-0")

    assert plan(an_agent(podTemplate=REFUSED_TEMPLATE), ledger, a_pod(an_agent(), 0)).is_empty


def test_of_outdated_pods_one_at_a_time_is_told_to_leave() -> None:
    """The idle one goes first."""
    ledger = start_pool("blue-0", "blue-1")
    ledger.do(submit("t1"))
    busy = next(name for name, replica in ledger.state.replicas.items() if replica.attempts)
    old, new = an_agent(replicas=2), an_agent(replicas=2, image="agent:2")

    answer = plan(new, ledger, a_pod(old, 0), a_pod(old, 1))

    assert [(command.agent, command.reason) for command in answer.commands if isinstance(command, DrainReplica)] == [
        ("blue-1" if busy == "blue-0" else "blue-0", "Outdated")
    ]
    assert answer.deletes == ()


def test_the_next_outdated_pod_waits_until_the_first_one_is_replaced() -> None:
    """A template that does not start stops the roll-out at its first pod."""
    ledger = Ledger()
    ledger.do(declare(replicas=2))
    ledger.do(register("blue-1"))
    old, new = an_agent(replicas=2), an_agent(replicas=2, image="agent:2")
    replaced = a_pod(new, 0, status=container_status(state={"waiting": {"reason": "ImagePullBackOff"}}))

    assert plan(new, ledger, replaced, a_pod(old, 1)).is_empty


def test_an_outdated_pod_that_does_not_work_is_replaced_at_once() -> None:
    """An Agent whose image was mistyped is mended by the next apply."""
    old, new = an_agent(image="nowhere:1"), an_agent(image="agent:2")

    assert [delete.reason for delete in plan(new, Ledger(), a_pod(old, 0)).deletes] == ["Outdated"]


def test_a_removed_agents_pods_go_as_they_have_drained() -> None:
    """Busy ones may finish within their time."""
    ledger = start_pool("blue-0", "blue-1")
    ledger.do(submit("t1"))
    agent = an_agent(replicas=2)
    ledger.do(RemoveAgent(agent=BLUE, uid="uid-of-blue"))
    pods = (a_pod(agent, 0), a_pod(agent, 1))

    answer = plan_removal(BLUE, "uid-of-blue", surroundings(ledger, pods), ledger.now)

    idle = next(name for name, replica in ledger.state.replicas.items() if not replica.attempts)
    assert [delete.name for delete in answer.deletes] == [idle]
    assert answer.next_due is not None


def test_an_orphaned_pod_of_a_removed_agent_goes() -> None:
    """The collector may have taken its owner off before the Agent's end was seen."""
    ledger = start_pool("blue-0")
    ledger.do(RemoveAgent(agent=BLUE, uid="uid-of-blue"))

    deletes = plan_removal(
        BLUE, "uid-of-blue", surroundings(ledger, [a_pod(an_agent(), 0, ownerReferences=[])]), ledger.now
    ).deletes

    assert [delete.name for delete in deletes] == ["blue-0"]


def test_an_orphaned_pod_makes_room_for_the_next_agent_of_the_name() -> None:
    """It is no stranger's pod: it carries the label of the template that it was made from."""
    agent = an_agent(uid="uid-of-another-blue")

    answer = plan(agent, Ledger(), a_pod(agent, 0, ownerReferences=[]))

    assert [delete.name for delete in answer.deletes] == ["blue-0"]
    assert answer.findings == ()


def test_a_pod_past_its_drain_deadline_gets_a_short_grace() -> None:
    """Its tasks are queued elsewhere by then."""
    ledger = start_pool("blue-0")
    ledger.do(submit("t1"))
    ledger.do(accept("t1"))
    ledger.do(declare(replicas=0, generation=2, drainSeconds=5))
    agent = an_agent(replicas=0)
    ledger.now += 6

    deletes = plan(agent, ledger, a_pod(agent, 0)).deletes

    assert [(delete.reason, delete.grace_seconds) for delete in deletes] == [("DrainDeadlinePassed", 5)]


@pytest.mark.parametrize("replicas", [0, 1, 2, 5])
def test_a_plan_that_was_carried_out_leaves_nothing_to_do(replicas: int) -> None:
    """From 3 running replicas to any number, with a new template: it comes to rest, and then it is at rest."""
    ledger = start_pool("blue-0", "blue-1", "blue-2")
    old = an_agent(replicas=3)
    agent = an_agent(replicas=replicas, image="agent:2")
    pods = {f"blue-{n}": a_pod(old, n) for n in range(3)}
    ledger.do(declare(replicas=replicas, generation=2))

    for turn in range(50):
        answer = plan(agent, ledger, *pods.values())
        if answer.is_empty:
            break
        carry_out(answer, agent, ledger, pods, turn)

    assert plan(agent, ledger, *pods.values()).is_empty
    assert sorted(pods) == [f"blue-{n}" for n in range(replicas)]
    assert {pod.template for pod in pods.values()} <= {a_pod(agent, 0).template}


def carry_out(answer: Plan, agent: dict[str, Any], ledger: Ledger, pods: dict[str, PodView], turn: int) -> None:
    """Do what a plan says, as log, API server and agents would."""
    for command in answer.commands:
        ledger.do(command)
    for delete in answer.deletes:
        assert pods[delete.name].uid == delete.uid
        del pods[delete.name]
    for create in answer.creates:
        name, uid = f"blue-{create.ordinal}", f"pod-{turn}-{create.ordinal}"
        pods[name] = a_pod(agent, create.ordinal, uid=uid)
        ledger.do(register(name, f"{uid}/1"))


def test_another_default_image_makes_running_pods_outdated() -> None:
    """An upgraded operator rolls its agents over, like another image in the Agent does."""
    ledger = start_pool("blue-0")
    agent = an_agent()
    around = Surroundings(
        state=ledger.state,
        pods={"blue-0": a_pod(agent, 0)},
        settings=PodSettings(namespace="crew", image="watchbill/agent:next"),
    )

    answer = plan_pods(agent, around, ledger.now)

    assert answer.commands == (DrainReplica(agent=ReplicaName("blue-0"), reason="Outdated"),)
