"""Each way in which a session can end, by the real Claude Code, and what the operator is told."""

from __future__ import annotations

import json
import socket
import uuid
from collections.abc import Callable

import pytest

from support.claude_lab import ClaudeLab

pytest.importorskip("claude_agent_sdk")
pytestmark = pytest.mark.claude

SCHEMA = {
    "type": "object",
    "properties": {"verdict": {"type": "string"}, "count": {"type": "integer"}},
    "required": ["verdict", "count"],
}

FAILURES = [
    ("429", "GivenBack", "RateLimited"),
    ("429,120", "GivenBack", "RateLimited"),
    ("429sr", "GivenBack", "RateLimited"),
    ("529", "GivenBack", "Overloaded"),
    ("401", "GivenBack", "AuthenticationFailed"),
    ("403", "GivenBack", "AuthenticationFailed"),
    ("402", "GivenBack", "BillingProblem"),
    ("credit", "GivenBack", "BillingProblem"),
    ("500", "Failed", "ServerError"),
    ("503html", "Failed", "ServerError"),
    ("garbage", "Failed", "ServerError"),
    ("abort", "Failed", "NetworkError"),
    ("empty", "Failed", "EmptyAnswer"),
    ("maxtok", "Failed", "TruncatedAnswer"),
    ("404", "Failed", "ModelNotFound"),
    ("400", "Failed", "BadRequest"),
    ("413", "Failed", "ContextFull"),
    ("toolong", "Failed", "ContextFull"),
    ("refusal", "Failed", "Refused"),
    ("loop", "Failed", "MaxTurnsExceeded"),
]
MENDED_BY_TRYING_AGAIN = {"ServerError", "NetworkError", "EmptyAnswer", "TruncatedAnswer"}


@pytest.mark.parametrize(("scenario", "outcome", "reason"), FAILURES)
def test_a_failure_is_classified(green: ClaudeLab, scenario: str, outcome: str, reason: str) -> None:
    """The reason says what hinders the task, and whether another try may help."""
    finished = green.run(scenario)
    assert (finished.outcome, finished.reason) == (outcome, reason), finished
    assert finished.retryable == (outcome == "GivenBack" or reason in MENDED_BY_TRYING_AGAIN)


@pytest.mark.parametrize("scenario", ["429,0,1", "cut,4,1", "ssee,4,1", "slow,0.05"])
def test_what_mends_itself_is_a_success(patient: ClaudeLab, scenario: str) -> None:
    """Claude Code's own second try is not seen outside."""
    finished = patient.run(scenario)
    assert (finished.outcome, finished.reason) == ("Succeeded", ""), finished


def test_a_model_that_never_answers_is_a_failure_of_the_network(make_lab: Callable[..., ClaudeLab]) -> None:
    """After Claude Code's own limit, which is a setting."""
    finished = make_lab(environment={"API_TIMEOUT_MS": "1500"}).run("hang")
    assert (finished.outcome, finished.reason, finished.retryable) == ("Failed", "NetworkError", True), finished


def test_a_stream_that_stalls_is_asked_for_again(green: ClaudeLab) -> None:
    """After ten seconds without a byte, the shortest that Claude Code takes."""
    finished = green.run("stall,4,1")
    assert finished.outcome == "Succeeded", finished


def test_an_overloaded_model_is_replaced_by_its_fallback(patient: ClaudeLab) -> None:
    """The transcript says so."""
    finished = patient.run("529model,opus")
    assert (finished.outcome, finished.result) == ("Succeeded", "ok from claude-sonnet-5-5")
    assert any(line.get("text") == "model_fallback" for line in patient.transcript(finished.task))


def test_the_final_message_is_the_result(green: ClaudeLab) -> None:
    """It is in the report and in result/answer.md."""
    finished = green.run("text")
    assert finished.result == "Hello from the stub."
    assert (green.folder(finished.task) / "result" / "answer.md").read_text() == "Hello from the stub."


def test_an_answer_that_fits_the_schema_is_a_file(green: ClaudeLab) -> None:
    """result/output.json holds it."""
    finished = green.run("so", output_schema=SCHEMA)
    assert finished.outcome == "Succeeded", finished
    output = json.loads((green.folder(finished.task) / "result" / "output.json").read_text())
    assert output == {"verdict": "ok", "count": 3}


@pytest.mark.parametrize("scenario", ["sobad", "sonone"])
def test_an_answer_that_misses_the_schema_is_a_failure(patient: ClaudeLab, scenario: str) -> None:
    """Trying again would give the same."""
    finished = patient.run(scenario, output_schema=SCHEMA)
    assert (finished.outcome, finished.reason, finished.retryable) == ("Failed", "SchemaNotMet", False), finished


def test_a_spent_budget_ends_the_session(green: ClaudeLab) -> None:
    """Claude Code's own limit is the second net below the broker's."""
    finished = green.run("costly", budget_usd=0.1)
    assert (finished.outcome, finished.reason, finished.retryable) == ("Failed", "BudgetExceeded", False), finished


def test_without_budget_no_session_begins(green: ClaudeLab) -> None:
    """Nothing is asked of the model."""
    finished = green.run("text", budget_usd=0.0)
    assert finished.reason == "BudgetExceeded"
    assert green.requests(finished) == []


def test_a_broker_that_is_gone_is_a_failure_of_the_network(green: ClaudeLab) -> None:
    """Its socket is there, and nobody listens."""
    task = str(uuid.uuid4())
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(green.sockets / f"{task}-1.sock"))
    dead.close()
    green.agent.assign(task, prompt="Do it.")
    finished = green.end(task)
    assert (finished.outcome, finished.reason) == ("Failed", "NetworkError"), finished


def test_turns_and_seconds_are_reported(green: ClaudeLab) -> None:
    """They are counted by the runner, since the broker knows neither."""
    finished = green.run("bash," + b"true".hex())
    assert finished.turns == 2
    assert finished.seconds > 0.0
