"""The sentences that a user reads while agents start."""

from __future__ import annotations

from typing import Any

from watchbill_cli.waiting import describe


def agent(*, generation: int, observed: int, ready: str, message: str) -> dict[str, Any]:
    """An Agent of two replicas whose status speaks of this generation."""
    condition = {"type": "Ready", "status": ready, "message": message}
    status = {"observedGeneration": observed, "readyReplicas": 2, "conditions": [condition]}
    return {"metadata": {"name": "blue", "generation": generation}, "spec": {"replicas": 2}, "status": status}


def test_an_agent_that_is_ready_needs_no_words() -> None:
    """The numbers say it."""
    assert describe(agent(generation=1, observed=1, ready="True", message="All is well.")) == "blue 2/2"


def test_an_agent_that_is_not_ready_says_why() -> None:
    """In the operator's words."""
    assert describe(agent(generation=1, observed=1, ready="False", message="No disk.")) == "blue 2/2 (No disk.)"


def test_a_status_of_before_a_change_is_not_told_as_the_reason() -> None:
    """`waiting for blue (2 of 2 replicas are ready)` would be no reason to wait."""
    told = describe(agent(generation=2, observed=1, ready="True", message="2 of 2 replicas are ready."))

    assert "was changed" in told
    assert "are ready" not in told
