"""What a replica must find in its inbox."""

from __future__ import annotations

import pytest

from support.deciding import Ledger, accept, finish, register, remove, start_pool, submit
from watchbill_coordination.core.assignments import pending_messages
from watchbill_coordination.core.commands import DrainReplica, LoseReplica
from watchbill_coordination.core.messages import Assign, Cancel, Drain, Message
from watchbill_coordination.core.specs import ReplicaName, TaskUid

BLUE_0 = ReplicaName("blue-0")


def inbox(ledger: Ledger) -> list[Message]:
    """The messages for blue-0."""
    return [outgoing.message for outgoing in pending_messages(ledger.state, ledger.replica("blue-0"))]


def test_a_dispatched_attempt_is_assigned_with_all_that_it_needs() -> None:
    """The agent knows no more of the task than this."""
    ledger = start_pool("blue-0")
    ledger.do(submit("first"))
    ledger.do(finish("first"))
    ledger.do(
        submit(
            "t",
            name="find",
            prompt="look",
            command={"args": ["true"]},
            dependsOn=["first"],
            locks=[{"name": "x"}],
            timeoutSeconds=7,
        )
    )

    assert inbox(ledger) == [
        Assign(
            task=TaskUid("t"),
            attempt=1,
            name="find",
            incarnation="pod-of-blue-0/1",
            timeout_seconds=7.0,
            prompt="look",
            command={"args": ["true"]},
            dependencies={"first": "first"},
            locks={"x": 1},
            work="t/attempt-1",
            task_type="search",
        )
    ]


@pytest.mark.parametrize(
    ("replicas", "had"),
    [
        (["blue-0"], False),
        (["blue-0", "blue-0"], True),
        (["blue-1", "blue-0"], False),
        (["blue-0", "blue-1", "blue-0"], False),
        (["blue-1", "blue-0", "blue-0"], True),
    ],
)
def test_a_replica_is_told_whether_it_had_the_attempt_directly_before(replicas: list[str], had: bool) -> None:
    """What lies there of that attempt is that attempt's only then."""
    ledger = start_pool("blue-0", "blue-1")
    for replica in ("blue-0", "blue-1"):
        ledger.do(LoseReplica(agent=ReplicaName(replica), incarnation="", reason="PodGone"))
    ledger.do(submit("t"))
    for life, replica in enumerate(replicas, start=2):
        if life > 2:
            ledger.do(LoseReplica(agent=ReplicaName(replicas[life - 3]), incarnation="", reason="PodGone"))
        ledger.do(register(replica, f"pod-of-{replica}/{life}"))

    [order] = inbox(ledger)

    assert isinstance(order, Assign)
    assert (order.attempt, order.had_previous) == (len(replicas), had)


def test_an_accepted_attempt_needs_no_message() -> None:
    """The agent has it."""
    ledger = start_pool("blue-0")
    ledger.do(submit("t"))
    ledger.do(accept("t"))

    assert inbox(ledger) == []


def test_the_same_message_has_the_same_key_whenever_it_is_derived() -> None:
    """A full reconcile must not deliver it twice."""
    ledger = start_pool("blue-0", slots=2)
    ledger.do(submit("t"))
    (before,) = pending_messages(ledger.state, ledger.replica("blue-0"))
    ledger.do(submit("u"))

    after = pending_messages(ledger.state, ledger.replica("blue-0"))

    assert after[0].key == before.key
    assert len({outgoing.key for outgoing in after}) == 2


def test_a_cancelled_attempt_is_told_to_stop_after_its_assignment() -> None:
    """An agent that has seen neither handles them in order."""
    ledger = start_pool("blue-0")
    ledger.do(submit("t"))
    ledger.do(submit("t", generation=2, cancel=True))

    assert [type(message) for message in inbox(ledger)] == [Assign, Cancel]


def test_the_attempt_of_a_deleted_task_is_only_told_to_stop() -> None:
    """Whether or not the agent has heard of it."""
    ledger = start_pool("blue-0")
    ledger.do(submit("t"))
    ledger.do(remove("t"))

    assert inbox(ledger) == [Cancel(task=TaskUid("t"), attempt=1, reason="TaskDeleted")]


def test_a_draining_replica_is_told_how_long_it_has() -> None:
    """It takes nothing new and leaves when all has ended."""
    ledger = start_pool("blue-0", drainSeconds=12)
    ledger.do(DrainReplica(agent=BLUE_0, reason="Outdated"))

    assert inbox(ledger) == [Drain(deadline_seconds=12.0)]


def test_a_lost_replica_is_told_nothing() -> None:
    """Nobody reads it."""
    ledger = start_pool("blue-0")
    ledger.do(submit("t"))
    ledger.do(LoseReplica(agent=BLUE_0, incarnation="", reason="PodGone"))

    assert inbox(ledger) == []
