"""What tasks spend on models, and what they may still spend."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.deciding import Ledger, finish, give_back, names, register, remove, report, start_pool, submit
from watchbill_coordination.core.assignments import pending_messages
from watchbill_coordination.core.commands import LoseReplica, Rejected
from watchbill_coordination.core.messages import Assign
from watchbill_coordination.core.specs import ReplicaName
from watchbill_coordination.core.spending import grow, remaining_budget, task_usage
from watchbill_coordination.core.state import Phase
from watchbill_coordination.core.usage import Usage

COSTS = st.floats(0, 100, allow_nan=False)
USAGES = st.builds(Usage, input_tokens=st.integers(0, 10**12), cost_usd=COSTS, turns=st.integers(0, 100))


def run_task(budget: float | None = None, **spec: object) -> Ledger:
    """A ledger in which task t runs on the only slot of a pool with that budget for each task."""
    ledger = start_pool("blue-0", **({} if budget is None else {"budget": {"perTaskUSD": budget}}))
    ledger.do(submit("t", **spec))
    return ledger


def left(ledger: Ledger, attempt: int) -> float | None:
    """What that attempt of t may spend."""
    return remaining_budget(ledger.state, ledger.task("t"), attempt)


def test_what_an_attempt_used_is_recorded() -> None:
    """All counters of it."""
    ledger = run_task()
    used: dict[str, Any] = {"input_tokens": 1, "output_tokens": 2, "cache_read_tokens": 3, "cache_write_tokens": 4}

    assert names(ledger.do(report("t", **used, cost_usd=0.25, requests=5, turns=6, seconds=7.5))) == ["UsageReported"]
    assert ledger.task("t").usage == {1: Usage(**used, cost_usd=0.25, requests=5, turns=6, seconds=7.5)}


def test_the_same_report_is_recorded_once() -> None:
    """The ledger is read again and again."""
    ledger = run_task()
    ledger.do(report("t", cost_usd=0.25))

    assert ledger.do(report("t", cost_usd=0.25)) == []


def test_a_report_of_nothing_is_not_recorded() -> None:
    """Most attempts use no model."""
    assert run_task().do(report("t")) == []


def test_a_late_report_takes_nothing_back() -> None:
    """Counters only grow: neither a lost ledger nor an old copy of it frees a budget."""
    ledger = run_task()
    ledger.do(report("t", cost_usd=0.25, requests=3, turns=2))

    ledger.do(report("t", cost_usd=0.1, requests=4))

    assert ledger.task("t").usage[1] == Usage(cost_usd=0.25, requests=4, turns=2)


def test_an_attempt_that_is_over_can_still_be_reported() -> None:
    """Its broker may write its last line after the agent's last word, or after its loss."""
    ledger = run_task()
    ledger.do(finish("t"))

    assert names(ledger.do(report("t", cost_usd=1))) == ["UsageReported"]
    assert ledger.task("t").phase is Phase.SUCCEEDED


def test_attempts_are_added_up() -> None:
    """A task's use is that of all of its attempts."""
    ledger = run_task()
    ledger.do(report("t", cost_usd=0.1, output_tokens=10, seconds=1.5))
    ledger.do(give_back("t", after=1))
    ledger.wait(1)
    ledger.do(report("t", attempt=2, cost_usd=0.2, output_tokens=5, seconds=2))

    assert task_usage(ledger.task("t")) == Usage(cost_usd=0.3, output_tokens=15, seconds=3.5)


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (report("nobody", cost_usd=1), "NoSuchTask"),
        (report("t", attempt=2, cost_usd=1), "NoSuchAttempt"),
        (report("t", attempt=0, cost_usd=1), "NoSuchAttempt"),
        (report("t", replica="blue-1", cost_usd=1), "NotItsAttempt"),
        (report("t", cost_usd=-0.01), "UsageOutOfBounds"),
        (report("t", cost_usd=math.nan), "UsageOutOfBounds"),
        (report("t", cost_usd=math.inf), "UsageOutOfBounds"),
        (report("t", cost_usd=1e9), "UsageOutOfBounds"),
        (report("t", seconds=math.nan), "UsageOutOfBounds"),
        (report("t", requests=-1), "UsageOutOfBounds"),
        (report("t", input_tokens=10**13), "UsageOutOfBounds"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_report_that_cannot_be_is_rejected(command: Any, reason: str) -> None:
    """About whom it does not know, or in numbers that no model can reach."""
    assert run_task().decide(command) == Rejected(reason)


def test_without_a_budget_there_is_no_limit() -> None:
    """None, not a large number."""
    ledger = run_task()
    ledger.do(report("t", cost_usd=1000))

    assert left(ledger, 1) is None


def test_an_attempt_may_spend_what_its_predecessors_left() -> None:
    """The budget is the task's; what the attempt itself spends is counted by its broker."""
    ledger = run_task(budget=0.5)
    ledger.do(report("t", cost_usd=0.2))
    assert left(ledger, 1) == 0.5

    ledger.do(give_back("t", after=1))
    ledger.wait(1)

    assert left(ledger, 2) == 0.3


def test_what_is_left_is_never_below_nothing() -> None:
    """One answer of the model may cost more than was left."""
    ledger = run_task(budget=0.5)
    ledger.do(report("t", cost_usd=0.7))
    ledger.do(give_back("t", after=30))

    assert left(ledger, 2) == 0


def test_a_task_that_has_spent_its_budget_gets_no_further_attempt() -> None:
    """The model would not answer it a single time."""
    ledger = run_task(budget=0.5)
    ledger.do(report("t", cost_usd=0.5))
    ledger.do(LoseReplica(agent=ReplicaName("blue-0"), incarnation="", reason="PodGone"))
    ledger.do(submit("other"))

    events = ledger.do(register("blue-0", "another-pod/1"))

    assert names(events) == ["ReplicaRegistered", "TaskFailed", "TaskDispatched"]
    task = ledger.task("t")
    assert (task.phase, task.reason, task.attempt) == (Phase.FAILED, "BudgetExceeded", 1)
    assert task.message == "its attempts cost $0.5000, and Agent blue gives a task $0.5 (budget.perTaskUSD)"


def test_the_agent_is_told_what_it_may_spend() -> None:
    """With the order to run the attempt."""
    ledger = run_task(budget=0.5)
    ledger.do(report("t", cost_usd=0.2))
    ledger.do(give_back("t", after=1))
    ledger.wait(1)

    orders = [outgoing.message for outgoing in pending_messages(ledger.state, ledger.replica("blue-0"))]

    assert [order.budget_usd for order in orders if isinstance(order, Assign)] == [0.3]


def test_a_report_about_an_earlier_attempt_of_another_replica_is_rejected() -> None:
    """It would spend the budget of a task that it does not have."""
    ledger = start_pool("blue-0", "blue-1")
    ledger.do(submit("t"))
    first = str(ledger.task("t").agent)
    other = "blue-1" if first == "blue-0" else "blue-0"
    ledger.do(LoseReplica(agent=ReplicaName(first), incarnation="", reason="PodGone"))
    assert (ledger.task("t").agent, ledger.task("t").attempt) == (other, 2)

    assert ledger.decide(report("t", replica="evil-0", cost_usd=1e6)) == Rejected("NotItsAttempt")
    assert ledger.decide(report("t", replica=other, cost_usd=1)) == Rejected("NotItsAttempt")
    assert names(ledger.do(report("t", replica=first, cost_usd=1))) == ["UsageReported"]


def test_the_report_of_a_deleted_task_is_rejected() -> None:
    """Nobody can look at it any more."""
    ledger = run_task()
    ledger.do(remove("t"))

    assert ledger.decide(report("t", cost_usd=1)) == Rejected("NoSuchTask")


@given(st.lists(USAGES, min_size=1, max_size=6), st.randoms())
def test_the_order_of_reports_does_not_matter(reports: list[Usage], random: Any) -> None:
    """What is known in the end is the largest of each counter."""
    shuffled = list(reports)
    random.shuffle(shuffled)
    ends = []
    for order in (reports, shuffled):
        known = Usage()
        for said in order:
            known = grow(known, said)
        ends.append(known)

    assert ends[0] == ends[1]
    assert ends[0].cost_usd == max(said.cost_usd for said in reports)


@given(st.floats(0.01, 100), st.lists(COSTS, max_size=5))
def test_no_task_is_given_more_than_its_budget(budget: float, costs: list[float]) -> None:
    """What earlier attempts cost and what the next one may spend is the budget, or it was overdrawn before."""
    ledger = run_task(budget=budget)
    for attempt, cost in enumerate(costs, start=1):
        ledger.do(report("t", attempt=attempt, cost_usd=cost))
        ledger.do(give_back("t", attempt=attempt, after=1))
        ledger.wait(1)
    task = ledger.task("t")
    rest = left(ledger, task.attempt + 1)

    assert rest is not None
    assert rest >= 0
    assert rest + task_usage(task).cost_usd <= max(budget, task_usage(task).cost_usd) + 1e-5
    assert (task.phase is Phase.FAILED) is (any(left(ledger, k) == 0 for k in range(2, len(costs) + 2)))
