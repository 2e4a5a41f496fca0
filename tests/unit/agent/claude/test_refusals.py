"""Attempts that no session is begun for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from watchbill_agent.claude.runner import find_refusal
from watchbill_coordination.core.messages import Assign
from watchbill_coordination.core.specs import TaskUid

ASSIGN = Assign(task=TaskUid("u"), attempt=1, name="t", incarnation="i", timeout_seconds=60.0, prompt="Do it.")


@pytest.mark.parametrize("prompt", ["", "  \n\t"])
def test_a_task_without_a_prompt_is_refused_for_good(prompt: str) -> None:
    """A session without a question would answer something, and pay for it."""
    outcome = find_refusal(replace(ASSIGN, prompt=prompt))

    assert outcome is not None
    assert (outcome.reason, outcome.retryable) == ("Misconfigured", False)
    assert "spec.prompt" in outcome.message


@pytest.mark.parametrize("budget", [0.0, -0.01])
def test_a_spent_budget_is_refused_for_good(budget: float) -> None:
    """Its first request would be refused anyway."""
    outcome = find_refusal(replace(ASSIGN, budget_usd=budget))

    assert outcome is not None
    assert (outcome.reason, outcome.retryable) == ("BudgetExceeded", False)


@pytest.mark.parametrize("budget", [None, 0.5])
def test_a_prompt_and_something_left_are_enough(budget: float | None) -> None:
    """Without a limit, or within it."""
    assert find_refusal(replace(ASSIGN, budget_usd=budget)) is None
