"""Which attempts may use their model, and what they may spend."""

from __future__ import annotations

from typing import Any

from support.deciding import Ledger, finish, register, start_pool, submit
from watchbill_coordination.core.commands import ReportUsage, SubmitTask
from watchbill_coordination.core.specs import ReplicaName, TaskUid
from watchbill_coordination.core.usage import Usage
from watchbill_operator.grants import plan_grants

CLAUDE: dict[str, Any] = {"runner": {"claude": {}}}


def granted(ledger: Ledger, replica: str = "blue-0") -> list[dict[str, Any]]:
    """What the replica's broker is told."""
    document = plan_grants(ledger.state, ledger.replica(replica))
    assert document["v"] == 1
    attempts: list[dict[str, Any]] = document["attempts"]
    return attempts


def spend(ledger: Ledger, usd: float, *, attempt: int = 1, replica: str = "blue-0") -> None:
    """The broker's ledger said that an attempt of t1 cost so much."""
    usage = Usage(requests=1, cost_usd=usd)
    ledger.do(ReportUsage(agent=ReplicaName(replica), task=TaskUid("t1"), attempt=attempt, usage=usage))


def test_an_idle_replica_is_granted_nothing() -> None:
    """There is nothing that it could be for."""
    assert granted(start_pool("blue-0", **CLAUDE)) == []


def test_an_attempt_that_was_dispatched_is_granted() -> None:
    """Before its agent has even heard of it; without a budget there is no limit."""
    ledger = start_pool("blue-0", **CLAUDE)
    ledger.do(submit("t1"))

    assert granted(ledger) == [{"task": "t1", "attempt": 1, "budgetUSD": None}]


def test_an_attempt_that_is_being_stopped_is_granted_no_longer() -> None:
    """What it would still spend is for nothing."""
    ledger = start_pool("blue-0", **CLAUDE)
    ledger.do(submit("t1"))
    ledger.do(SubmitTask(task=TaskUid("t1"), name="t1", spec={"type": "search", "cancel": True}, generation=2))

    assert granted(ledger) == []


def test_an_attempt_that_ended_is_granted_no_longer() -> None:
    """However it ended."""
    ledger = start_pool("blue-0", **CLAUDE)
    ledger.do(submit("t1"))
    ledger.do(finish("t1"))

    assert granted(ledger) == []


def test_a_replica_that_was_lost_is_granted_nothing() -> None:
    """Its attempts go on elsewhere, or in its next life."""
    ledger = start_pool("blue-0", "blue-1", **CLAUDE)
    ledger.do(submit("t1"))
    first = str(ledger.task("t1").agent)
    other = "blue-1" if first == "blue-0" else "blue-0"
    ledger.do(register(other, f"pod-of-{other}/2"))
    ledger.do(register(first, f"pod-of-{first}/2"))

    assert sum(len(granted(ledger, replica)) for replica in ("blue-0", "blue-1")) == 1
    assert granted(ledger, str(ledger.task("t1").agent))[0]["attempt"] == 2


def test_a_first_attempt_has_the_whole_budget() -> None:
    """What it spends itself is for the broker to count."""
    ledger = start_pool("blue-0", budget={"perTaskUSD": 0.5}, **CLAUDE)
    ledger.do(submit("t1"))
    spend(ledger, 0.2)

    assert granted(ledger)[0]["budgetUSD"] == 0.5


def test_a_later_attempt_has_what_earlier_ones_left() -> None:
    """The budget is one of the task."""
    ledger = start_pool("blue-0", budget={"perTaskUSD": 0.5}, **CLAUDE)
    ledger.do(submit("t1"))
    spend(ledger, 0.2)
    ledger.do(register("blue-0", "pod-of-blue-0/2"))

    assert granted(ledger) == [{"task": "t1", "attempt": 2, "budgetUSD": 0.3}]


def test_a_report_that_comes_late_shrinks_what_is_granted() -> None:
    """The ledger of a lost attempt is read after the next one was dispatched."""
    ledger = start_pool("blue-0", budget={"perTaskUSD": 0.5}, **CLAUDE)
    ledger.do(submit("t1"))
    ledger.do(register("blue-0", "pod-of-blue-0/2"))
    before = granted(ledger)[0]["budgetUSD"]
    spend(ledger, 0.6)

    assert (before, granted(ledger)[0]["budgetUSD"]) == (0.5, 0.0)
