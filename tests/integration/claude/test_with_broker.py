"""Sessions through a real broker: what the runner makes of what the broker knows."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from support.agent_process import is_alive, kill_hard
from support.broker_process import KEY, BrokerProcess
from support.claude_lab import ClaudeLab
from support.model_stub import ModelStub
from watchbill_coordination.core.messages import Finished

pytest.importorskip("claude_agent_sdk")
pytestmark = pytest.mark.claude


class Pair:
    """An agent and its broker; the model plays one scenario."""

    def __init__(self, lab: ClaudeLab, broker: BrokerProcess, run: str) -> None:
        self.lab = lab
        self.broker = broker
        self.run_name = run

    def begin(self, *, budget: float | None = None) -> str:
        """Grant and assign an attempt."""
        task = str(uuid.uuid4())
        self.broker.grant(budget, task=task)
        self.lab.agent.assign(task, prompt="Do it.", budget_usd=budget)
        return task

    def run(self, *, budget: float | None = None) -> Finished:
        """Run an attempt to its end."""
        return self.lab.end(self.begin(budget=budget))


MakePair = Callable[..., Pair]


@pytest.fixture
def make_pair(stub: ModelStub, tmp_path: Path) -> Iterator[MakePair]:
    with ExitStack() as open_things:

        def make(scenario: str, *, retries: int = 0) -> Pair:
            run = str(uuid.uuid4())
            broker = open_things.enter_context(BrokerProcess(stub.base_url(scenario, run)))
            sockets = {"WATCHBILL_SOCKETS": str(broker.root / "sockets"), "CLAUDE_CODE_MAX_RETRIES": str(retries)}
            lab = open_things.enter_context(ClaudeLab(tmp_path / "lab", stub, environment=sockets))
            return Pair(lab, broker, run)

        yield make


def test_the_model_gets_the_key_and_the_session_does_not(make_pair: MakePair, stub: ModelStub) -> None:
    """The transcript's last line has the cost."""
    pair = make_pair("bash," + b"env".hex())
    finished = pair.run()
    asked = stub.requests(pair.run_name)
    assert finished.outcome == "Succeeded", finished
    assert asked[0].headers["x-api-key"] == KEY
    assert KEY not in asked[-1].tool_results[-1]
    assert pair.lab.transcript(finished.task)[-1]["costUSD"] > 0


def test_the_time_of_a_rate_limit_is_passed_on(make_pair: MakePair) -> None:
    """Claude Code does not tell it; the broker has seen the header."""
    finished = make_pair("429,120").run()
    assert (finished.outcome, finished.reason) == ("GivenBack", "RateLimited")
    assert 100 < finished.retry_after_seconds <= 120


def test_a_long_wait_is_the_schedulers(make_pair: MakePair) -> None:
    """Claude Code would wait 45 s and hold the slot."""
    began = time.monotonic()
    finished = make_pair("429,45", retries=2).run()
    assert (finished.outcome, finished.reason) == ("GivenBack", "RateLimited"), finished
    assert time.monotonic() - began < 40
    assert 30 < finished.retry_after_seconds <= 45


def test_a_budget_that_the_broker_holds_ends_the_session(make_pair: MakePair, stub: ModelStub) -> None:
    """At most one answer more is paid for, and another try would not help."""
    pair = make_pair("costly")
    finished = pair.run(budget=0.3)
    assert (finished.outcome, finished.reason, finished.retryable) == ("Failed", "BudgetExceeded", False), finished
    assert len(stub.requests(pair.run_name)) == 1


def test_a_missing_credential_gives_the_task_back(make_pair: MakePair) -> None:
    """The message names the Secret."""
    pair = make_pair("text")
    pair.broker.set_credential(None)
    finished = pair.run()
    assert (finished.outcome, finished.reason) == ("GivenBack", "CredentialMissing"), finished
    assert "watchbill-credentials" in finished.message


def test_a_refused_credential_gives_the_task_back_at_once(make_pair: MakePair, stub: ModelStub) -> None:
    """Claude Code would try it three times."""
    pair = make_pair("401", retries=2)
    finished = pair.run()
    assert (finished.outcome, finished.reason) == ("GivenBack", "AuthenticationFailed"), finished
    assert KEY not in finished.message


def test_a_model_that_cannot_be_reached_is_a_failure_of_the_network(make_pair: MakePair) -> None:
    """As without a broker."""
    finished = make_pair("abort").run()
    assert (finished.outcome, finished.reason, finished.retryable) == ("Failed", "NetworkError", True), finished


def test_a_broker_that_is_killed_in_a_command_costs_nothing_once_it_is_back(make_pair: MakePair) -> None:
    """The session asks again on the new socket."""
    command = "echo $$ > pid; timeout 20 sh -c 'until [ -e go ]; do :; done'"
    pair = make_pair("bash," + command.encode().hex(), retries=2)
    task = pair.begin()
    pid = pair.lab.read_pid(task)
    assert pair.broker.process is not None
    kill_hard(pair.broker.process.pid)
    pair.broker.process.wait()
    pair.broker.start()
    pair.broker.grant(task=task)
    (pair.lab.folder(task) / "go").touch()
    finished = pair.lab.end(task)
    assert finished.outcome == "Succeeded", finished
    assert not is_alive(pid)


def test_a_key_that_is_replaced_in_a_session_is_used_at_once(make_pair: MakePair, stub: ModelStub) -> None:
    """Nothing is restarted."""
    command = "echo $$ > pid; timeout 20 sh -c 'until [ -e go ]; do :; done'"
    pair = make_pair("bash," + command.encode().hex())
    stub.accept_keys(pair.run_name, KEY)
    task = pair.begin()
    pair.lab.read_pid(task)
    stub.accept_keys(pair.run_name, "another-key-0123456789")
    pair.broker.set_credential("another-key-0123456789")
    (pair.lab.folder(task) / "go").touch()
    assert pair.lab.end(task).outcome == "Succeeded"


def test_a_key_that_is_refused_in_the_middle_costs_the_session_nothing(make_pair: MakePair) -> None:
    """It is given back, and goes on later where it was."""
    pair = make_pair("401,1", retries=2)
    first = pair.run()
    assert (first.outcome, first.reason) == ("GivenBack", "AuthenticationFailed"), first
    pair.broker.grant(task=first.task, attempt=2)
    pair.lab.agent.assign(first.task, attempt=2, prompt="Do it.")
    pair.lab.end(first.task, 2)
    assert pair.lab.transcript(first.task, 2)[0]["continued"] is True
