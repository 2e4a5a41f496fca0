"""Sessions that hold their credential themselves: what Claude Code says when the model's API refuses it."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import pytest

from support.claude_lab import ClaudeLab
from support.model_stub import ModelStub
from watchbill_coordination.core.messages import Finished

pytest.importorskip("claude_agent_sdk")
pytestmark = pytest.mark.claude

MakeLab = Callable[..., ClaudeLab]
TOKEN = "sk-ant-oat01-marked-0123456789"


@pytest.fixture
def run(make_lab: MakeLab, stub: ModelStub) -> Callable[..., Finished]:
    """Play a scenario to a session whose agent has these variables."""

    def run_one(scenario: str, **environment: str) -> Finished:
        settings = {"broker": False, "baseURL": stub.base_url(scenario, str(uuid.uuid4()))}
        lab = make_lab(claude=settings, environment=environment)
        task = str(uuid.uuid4())
        lab.agent.assign(task, prompt="Do it.")
        return lab.end(task)

    return run_one


def test_a_subscription_says_when_its_limit_ends(run: Callable[..., Finished]) -> None:
    """The scheduler waits as long as Claude Code was told."""
    finished = run("429sub", CLAUDE_CODE_OAUTH_TOKEN=TOKEN)
    assert (finished.outcome, finished.reason) == ("GivenBack", "RateLimited"), finished
    assert 3000 < finished.retry_after_seconds <= 3600


def test_a_warning_of_a_limit_is_no_failure(run: Callable[..., Finished]) -> None:
    """The work goes on as long as it may."""
    finished = run("okrl", CLAUDE_CODE_OAUTH_TOKEN=TOKEN)
    assert finished.outcome == "Succeeded", finished


def test_a_session_without_any_credential_is_given_back(run: Callable[..., Finished]) -> None:
    """Claude Code asks nothing then; a Secret that is made later helps."""
    finished = run("text")
    assert (finished.outcome, finished.reason) == ("GivenBack", "AuthenticationFailed"), finished


def test_a_subscription_that_is_refused_is_given_back(run: Callable[..., Finished]) -> None:
    """At once, and the token is in no message."""
    finished = run("403", CLAUDE_CODE_OAUTH_TOKEN=TOKEN)
    assert (finished.outcome, finished.reason) == ("GivenBack", "AuthenticationFailed"), finished
    assert TOKEN not in finished.message
