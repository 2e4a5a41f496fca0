"""The figures of work with models."""

from __future__ import annotations

from typing import Any

from support.deciding import Ledger, finish, remove, start_pool, submit
from watchbill_coordination.core.commands import ReportUsage, RequestLock
from watchbill_coordination.core.specs import ReplicaName, TaskUid
from watchbill_coordination.core.usage import Usage
from watchbill_operator.metrics import Metrics

CLAUDE: dict[str, Any] = {"runner": {"claude": {}}}
BLUE = ReplicaName("blue-0")


def report(ledger: Ledger, **usage: Any) -> None:
    """The broker's ledger about attempt 1 of t1."""
    ledger.do(ReportUsage(agent=BLUE, task=TaskUid("t1"), attempt=1, usage=Usage(**usage)))


def render(ledger: Ledger, metrics: Metrics | None = None, since: int = 0) -> str:
    """What Prometheus would see after the ledger's records from there on."""
    metrics = metrics or Metrics()
    metrics.count_records(ledger.records[since:], ledger.state)
    return metrics.render().decode()


def working() -> Ledger:
    """A pool with a model, and attempt 1 of t1 on it."""
    ledger = start_pool("blue-0", **CLAUDE)
    ledger.do(submit("t1"))
    return ledger


def test_tokens_are_counted_by_agent_and_kind() -> None:
    """The Agent's name, not the replica's."""
    ledger = working()
    report(ledger, input_tokens=10, output_tokens=2, cache_read_tokens=100, cache_write_tokens=7, cost_usd=0.25)
    text = render(ledger)

    assert 'watchbill_tokens_total{agent="blue",kind="input"} 10.0' in text
    assert 'watchbill_tokens_total{agent="blue",kind="cache_read"} 100.0' in text
    assert 'watchbill_cost_usd_total{agent="blue"} 0.25' in text


def test_a_report_that_replaces_another_counts_for_the_difference() -> None:
    """A counter tells what was used, not what was told."""
    ledger = working()
    report(ledger, requests=1, output_tokens=2, cost_usd=0.25)
    report(ledger, requests=3, output_tokens=5, cost_usd=0.75)
    text = render(ledger)

    assert 'watchbill_tokens_total{agent="blue",kind="output"} 5.0' in text
    assert 'watchbill_model_requests_total{agent="blue"} 3.0' in text
    assert 'watchbill_cost_usd_total{agent="blue"} 0.75' in text


def test_what_was_used_before_this_operator_led_is_not_counted_again() -> None:
    """Counters begin at 0 with each process; the next report counts for what it adds."""
    ledger = working()
    report(ledger, cost_usd=1.0)
    seen, metrics = len(ledger.records), Metrics()
    metrics.derive_from(lambda: ledger.state)
    report(ledger, cost_usd=1.5)

    assert 'watchbill_cost_usd_total{agent="blue"} 0.5' in render(ledger, metrics, seen)


def test_a_task_that_is_gone_is_remembered_no_longer() -> None:
    """What is kept of reports is bounded by the Tasks that are there."""
    ledger, metrics = working(), Metrics()
    report(ledger, cost_usd=1.0)
    ledger.do(remove("t1"))
    render(ledger, metrics)

    assert metrics.model.ledger.reports == {}


def test_attempts_that_are_given_back_are_counted_by_reason() -> None:
    """And among all attempts."""
    ledger = working()
    ledger.do(finish("t1", "GivenBack", reason="RateLimited"))
    text = render(ledger)

    assert 'watchbill_attempts_given_back_total{agent="blue",reason="RateLimited"} 1.0' in text
    assert 'watchbill_attempts_total{outcome="given_back"} 1.0' in text


def test_a_reason_that_an_agent_made_up_is_no_label() -> None:
    """Their number would be an agent's to choose."""
    ledger = working()
    ledger.do(finish("t1", "GivenBack", reason="MyVeryOwnReason"))

    assert 'watchbill_attempts_given_back_total{agent="blue",reason="Other"} 1.0' in render(ledger)


def test_a_parked_agent_is_told() -> None:
    """While it is parked, and not after."""
    ledger, metrics = working(), Metrics()
    metrics.derive_from(lambda: ledger.state)
    before = metrics.render().decode()
    ledger.do(finish("t1", "GivenBack", reason="RateLimited", retry_after_seconds=60))
    parked = metrics.render().decode()
    ledger.wait(61)
    after = metrics.render().decode()

    told = [f'watchbill_agent_parked{{agent="blue"}} {value}' for value in ("0.0", "1.0", "0.0")]
    assert [line in text for line, text in zip(told, (before, parked, after), strict=True)] == [True] * 3


def test_locks_that_attempts_ask_for_are_counted_by_outcome() -> None:
    """A name that cannot be one is denied."""
    ledger = working()
    for request, name in enumerate(("repo", "", "docs"), 1):
        ledger.do(
            RequestLock(
                agent=BLUE, incarnation="pod-of-blue-0/1", task=TaskUid("t1"), attempt=1, request=request, name=name
            )
        )
    text = render(ledger)

    assert 'watchbill_locks_requested_total{outcome="granted"} 2.0' in text
    assert 'watchbill_locks_requested_total{outcome="denied"} 1.0' in text
