"""Sessions through a real broker: what the runner makes of what the broker knows."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from support.agent_process import is_alive, kill_hard
from support.broker_process import KEY, BrokerProcess
from support.claude_lab import ClaudeLab
from support.model_scenarios import Body, Step, find_step
from support.model_stub import ModelStub, Received
from watchbill_coordination.core.messages import Finished

pytest.importorskip("claude_agent_sdk")
pytestmark = pytest.mark.claude


class Pair:
    """An agent and its broker, and the model behind them."""

    def __init__(self, lab: ClaudeLab, broker: BrokerProcess, run: str) -> None:
        self.lab = lab
        self.broker = broker
        self._run = run
        self._known = 0

    def play(self, scenario: str) -> None:
        """Let the model play a scenario from its beginning."""
        first: list[int] = []

        def find(number: int, body: Body) -> Step:
            first.append(number)
            return find_step(scenario, number - first[0], body)

        self._known = len(self.lab.stub.requests(self._run))
        self.lab.stub.play(self._run, find)
        self.lab.stub.accept_keys(self._run, KEY)
        self.broker.set_credential(KEY)

    @property
    def asked(self) -> list[Received]:
        """What the model was asked since it plays this scenario."""
        return self.lab.stub.requests(self._run)[self._known :]

    def accept_key(self, key: str) -> None:
        """Let the model take this one alone."""
        self.lab.stub.accept_keys(self._run, key)

    def begin(self, *, budget: float | None = None) -> str:
        """Grant and assign an attempt."""
        task = str(uuid.uuid4())
        self.broker.grant(budget, task=task)
        self.lab.agent.assign(task, prompt="Do it.", budget_usd=budget)
        return task

    def run(self, scenario: str, *, budget: float | None = None) -> Finished:
        """Run an attempt to its end."""
        self.play(scenario)
        return self.lab.end(self.begin(budget=budget))


@pytest.fixture(scope="module")
def pair(stub: ModelStub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    run = str(uuid.uuid4())
    with BrokerProcess(stub.base_url("play", run)) as broker:
        sockets = {"WATCHBILL_SOCKETS": str(broker.root / "sockets"), "CLAUDE_CODE_MAX_RETRIES": "2"}
        with ClaudeLab(tmp_path_factory.mktemp("lab"), stub, environment=sockets) as lab:
            yield Pair(lab, broker, run)


def test_the_model_gets_the_key_and_the_session_does_not(pair: Pair) -> None:
    """The transcript's last line has the cost."""
    finished = pair.run("bash," + b"env".hex())
    asked = pair.asked
    assert finished.outcome == "Succeeded", finished
    assert asked[0].headers["x-api-key"] == KEY
    assert KEY not in asked[-1].tool_results[-1]
    assert pair.lab.transcript(finished.task)[-1]["costUSD"] > 0


def test_the_time_of_a_rate_limit_is_passed_on(pair: Pair) -> None:
    """Claude Code does not tell it; the broker has seen the header."""
    finished = pair.run("429,3600")
    assert (finished.outcome, finished.reason) == ("GivenBack", "RateLimited")
    assert 3000 < finished.retry_after_seconds <= 3600


def test_a_long_wait_is_the_schedulers(pair: Pair) -> None:
    """Claude Code would wait 45 s and hold the slot."""
    finished = pair.run("429,45")
    assert (finished.outcome, finished.reason) == ("GivenBack", "RateLimited"), finished
    assert len(pair.asked) == 1


def test_a_budget_that_the_broker_holds_ends_the_session(pair: Pair) -> None:
    """At most one answer more is paid for, and another try would not help."""
    finished = pair.run("costly", budget=0.3)
    assert (finished.outcome, finished.reason, finished.retryable) == ("Failed", "BudgetExceeded", False), finished
    spent, answers = pair.lab.transcript(finished.task)[-1]["costUSD"], len(pair.asked)
    assert spent * (answers - 1) / answers < 0.3 <= spent


def test_a_missing_credential_gives_the_task_back(pair: Pair) -> None:
    """The message names the Secret."""
    pair.play("text")
    pair.broker.set_credential(None)
    finished = pair.lab.end(pair.begin())
    assert (finished.outcome, finished.reason) == ("GivenBack", "CredentialMissing"), finished
    assert "watchbill-credentials" in finished.message


def test_a_refused_credential_gives_the_task_back_at_once(pair: Pair) -> None:
    """Claude Code would try it three times."""
    finished = pair.run("401")
    assert (finished.outcome, finished.reason) == ("GivenBack", "AuthenticationFailed"), finished
    assert KEY not in finished.message


def test_a_model_that_cannot_be_reached_is_a_failure_of_the_network(pair: Pair) -> None:
    """As without a broker."""
    finished = pair.run("abort")
    assert (finished.outcome, finished.reason, finished.retryable) == ("Failed", "NetworkError", True), finished


def test_a_broker_that_is_killed_in_a_command_costs_nothing_once_it_is_back(pair: Pair) -> None:
    """The session asks again on the new socket."""
    command = "echo $$ > pid; timeout 100 sh -c 'until [ -e go ]; do :; done'"
    pair.play("bash," + command.encode().hex())
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


def test_a_key_that_is_replaced_in_a_session_is_used_at_once(pair: Pair) -> None:
    """Nothing is restarted."""
    command = "echo $$ > pid; timeout 100 sh -c 'until [ -e go ]; do :; done'"
    pair.play("bash," + command.encode().hex())
    task = pair.begin()
    pair.lab.read_pid(task)
    pair.accept_key("another-key-0123456789")
    pair.broker.set_credential("another-key-0123456789")
    (pair.lab.folder(task) / "go").touch()
    assert pair.lab.end(task).outcome == "Succeeded"


def test_a_key_that_is_refused_in_the_middle_costs_the_session_nothing(pair: Pair) -> None:
    """It is given back, and goes on later where it was."""
    first = pair.run("401,1")
    assert (first.outcome, first.reason) == ("GivenBack", "AuthenticationFailed"), first
    pair.broker.grant(task=first.task, attempt=2)
    pair.lab.agent.assign(first.task, attempt=2, prompt="Do it.")
    pair.lab.end(first.task, 2)
    assert pair.lab.transcript(first.task, 2)[0]["continued"] is True
