"""Watchbill's own tools on the whole running system: agents that work together, and an operator that dies meanwhile."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.claude_pool import claude_pool
from support.model_scenarios import Body, Step, says, uses
from support.model_stub import ModelStub
from support.system import System
from support.waiting import wait_for

pytest.importorskip("claude_agent_sdk", reason="Claude Code is not installed: scripts/environment complete")
pytestmark = pytest.mark.claude


def test_a_task_waits_for_nobody_and_has_the_result_of_what_it_submitted(system: System, stub: ModelStub) -> None:
    """Another agent does it at the same time; its parent looks again between other work."""
    child = {"name": "Count them", "prompt": "Count.", "type": "pair-up"}
    look = uses("mcp__watchbill__task_result", {"name": "Count them"})
    work = uses("Bash", {"command": "timeout 1 tail -f /dev/null", "description": "other work"})

    def steps(_number: int, body: Body) -> Step:
        last = str([message for message in body["messages"] if message["role"] == "user"][-1])
        if "Count." in str(body["messages"][0]):
            return says("There are 7.")
        if "There are 7." in last:
            return says("The other one says 7.")
        if "has not ended" in last:
            return work
        return look if "tool_result" in last else uses("mcp__watchbill__submit_task", child)

    with claude_pool(system, stub, "pair-up", replicas=2, taskTypes=["pair-up"]) as pool:
        status = pool.ask(steps)

    assert (status["phase"], status["result"]) == ("Succeeded", "The other one says 7."), status


def test_an_operator_that_is_killed_while_a_tool_waits_answers_after_its_restart(
    own_system: System, stub: ModelStub
) -> None:
    """The request lies in the outbox until somebody reads it."""
    outbox = own_system.root / "agent-workspaces" / "patient-0" / "outbox"

    def steps(number: int, _body: Body) -> Step:
        if number:
            return says("Done.")
        own_system.kill_operator()
        return uses("mcp__watchbill__acquire_lock", {"name": "repo:src"})

    def asked() -> list[Path]:
        return list(outbox.glob("*-lockrequested-*"))

    with claude_pool(own_system, stub, "patient") as pool:
        pool.put_key()
        pool.declare(stub.play("patient", steps))
        pool.submit("patient")
        wait_for(asked, "the lock is asked for")
        assert own_system.resume().code == 0
        status = own_system.wait_for_phase("patient")

        assert (status["phase"], status["attempts"]) == ("Succeeded", 1)
        assert pool.requests()[-1].tool_results[0].startswith("Granted")
