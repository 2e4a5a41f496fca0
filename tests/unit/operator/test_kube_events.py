"""Kubernetes Events: which records people see, and how many."""

from __future__ import annotations

from typing import Any

from support.deciding import START, Ledger, finish, remove, start_pool, submit
from watchbill_coordination.core.commands import LoseReplica, RejectMessage, SubmitChild
from watchbill_coordination.core.specs import ReplicaName, TaskUid
from watchbill_operator.kube_events import BURST, REFUSAL_BURST, Budget, build_kube_events

BUSY = Budget(tokens=0.0, at=START + 1e9)


def events(ledger: Ledger, budget: Budget | None = None, first: int = 0) -> list[dict[str, Any]]:
    """The Events of a ledger's records from the `first` one on."""
    return build_kube_events(ledger.records[first:], ledger.state, "crew", budget or Budget())[0]


def reasons(bodies: list[dict[str, Any]]) -> list[str]:
    """Their reasons, in order."""
    return [body["reason"] for body in bodies]


def test_a_quiet_system_tells_of_ordinary_things() -> None:
    """Ready, given away, done."""
    ledger = start_pool("blue-0")
    ledger.do(submit("t1"))
    ledger.do(finish("t1"))

    assert reasons(events(ledger)) == ["ReplicaReady", "Dispatched", "Succeeded"]


def test_a_busy_system_tells_of_exceptional_things_alone() -> None:
    """The budget is used up; a failure is told all the same."""
    ledger = start_pool("blue-0")
    ledger.do(submit("t1", retryPolicy={"maxRetries": 0}))
    ledger.do(finish("t1", "Failed", reason="NonZeroExit", message="exit code 1"))

    assert reasons(events(ledger, BUSY)) == ["AttemptFailed", "Failed"]


def test_a_crowd_of_ordinary_things_uses_up_the_budget() -> None:
    """One hundred tasks at once make a handful of Events."""
    ledger = start_pool("blue-0", slots=32)
    for n in range(100):
        ledger.do(submit(f"t{n}"))
        ledger.do(finish(f"t{n}"))

    assert len(events(ledger)) == BURST


def test_the_budget_fills_again() -> None:
    """Half an Event a second."""
    ledger = start_pool("blue-0")
    for n in range(20):
        ledger.do(submit(f"t{n}"))
        ledger.do(finish(f"t{n}"))
    _, spent = build_kube_events(ledger.records, ledger.state, "crew", Budget())
    seen = len(ledger.records)
    ledger.now += 60
    ledger.do(submit("later"))

    assert reasons(events(ledger, spent, seen)) == ["Dispatched"]


def test_making_an_event_twice_makes_one() -> None:
    """The name follows from the record."""
    ledger = start_pool("blue-0")
    ledger.do(submit("t1"))

    assert [body["metadata"]["name"] for body in events(ledger)] == [
        body["metadata"]["name"] for body in events(ledger)
    ]
    assert len({body["metadata"]["name"] for body in events(ledger)}) == len(events(ledger))


def test_an_event_is_about_the_object_of_that_uid() -> None:
    """`kubectl describe` finds it by name and uid."""
    ledger = start_pool("blue-0")
    ledger.do(submit("t1", name="my-task"))
    dispatched = events(ledger)[-1]

    assert dispatched["involvedObject"] == {
        "apiVersion": "watchbill.dev/v1alpha1",
        "kind": "Task",
        "name": "my-task",
        "uid": "t1",
        "namespace": "crew",
    }
    assert dispatched["metadata"]["namespace"] == "crew"
    assert dispatched["type"] == "Normal"


def test_a_lost_replica_is_a_warning_about_its_agent() -> None:
    """And its task is told of its lost attempt."""
    ledger = start_pool("blue-0")
    ledger.do(submit("t1"))
    seen = len(ledger.records)
    ledger.do(
        LoseReplica(agent=ReplicaName("blue-0"), incarnation="pod-of-blue-0/1", reason="PodGone", message="Evicted.")
    )
    told = events(ledger, BUSY, seen)

    assert sorted(reasons(told)) == ["AttemptLost", "ReplicaLost"]
    assert {body["type"] for body in told} == {"Warning"}
    assert {body["involvedObject"]["kind"] for body in told} == {"Agent", "Task"}


def test_an_agent_cannot_flood_the_api_with_refusals() -> None:
    """A thousand malformed messages make thirty Events."""
    ledger = start_pool("blue-0")
    seen = len(ledger.records)
    for n in range(1000):
        ledger.do(RejectMessage(agent=ReplicaName("blue-0"), file=f"{n}", reason="no JSON", key=str(n)))

    assert len(events(ledger, first=seen)) == REFUSAL_BURST


def test_a_deleted_task_gets_no_events() -> None:
    """There is nobody left to describe."""
    ledger = start_pool("blue-0")
    ledger.do(submit("t1"))
    ledger.do(remove("t1"))

    assert {body["involvedObject"]["kind"] for body in events(ledger)} == {"Agent"}


def test_the_longest_name_makes_a_legal_event_name() -> None:
    """253 characters are too many to add anything to."""
    ledger = start_pool("blue-0")
    name = "a" * 198 + "." + "b" * 54
    ledger.do(submit("t1", name=name))
    event = events(ledger)[-1]

    assert len(event["metadata"]["name"]) <= 253
    assert ".." not in event["metadata"]["name"]
    assert event["involvedObject"]["name"] == name


def test_a_hostile_message_is_clipped() -> None:
    """An Event's message has 1,024 bytes at most."""
    ledger = start_pool("blue-0")
    ledger.do(submit("t1", retryPolicy={"maxRetries": 0}))
    ledger.do(finish("t1", "Failed", reason="NonZeroExit", message="ü\ud800" * 5000))

    assert all(len(body["message"].encode()) <= 1024 for body in events(ledger, BUSY))


def test_a_credential_that_is_of_no_use_is_told_at_the_agent_and_at_the_task() -> None:
    """Who looks at either sees why nothing happens, and when it goes on."""
    ledger = start_pool("blue-0")
    ledger.do(submit("t1"))
    seen = len(ledger.records)
    ledger.do(finish("t1", "GivenBack", reason="RateLimited", message="Too many requests.", retry_after_seconds=60))
    ledger.wait(60)
    told = {body["reason"]: body for body in events(ledger, BUSY, seen)}

    assert {reason: body["involvedObject"]["kind"] for reason, body in told.items()} == {
        "AttemptGivenBack": "Task",
        "AgentParked": "Agent",
        "AgentUnparked": "Agent",
    }
    assert {reason for reason, body in told.items() if body["type"] == "Warning"} == {"AttemptGivenBack", "AgentParked"}
    assert "Too many requests." in told["AgentParked"]["message"]


def test_a_task_that_an_attempt_asked_for_in_vain_is_told() -> None:
    """At the Task whose attempt asked."""
    ledger = start_pool("blue-0")
    ledger.do(submit("t1"))
    seen = len(ledger.records)
    ledger.do(
        SubmitChild(
            agent=ReplicaName("blue-0"),
            incarnation="pod-of-blue-0/1",
            task=TaskUid("t1"),
            attempt=1,
            request=1,
            name="x",
            spec={},
        )
    )

    assert reasons(events(ledger, BUSY, seen)) == ["ChildRefused"]


def test_an_agent_cannot_flood_the_api_by_giving_back() -> None:
    """Events about it come out of the budget for what agents provoke."""
    ledger = start_pool("blue-0")
    ledger.do(submit("t1"))
    seen = len(ledger.records)
    for attempt in range(1, 60):
        ledger.do(finish("t1", "GivenBack", reason="RateLimited", attempt=attempt, retry_after_seconds=0.1))
        ledger.wait(2)

    assert len(events(ledger, BUSY, seen)) == REFUSAL_BURST
