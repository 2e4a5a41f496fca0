"""What attempts with a model need of a real operator: grants, accounts, Tasks of their own, and time for a credential.

The test plays the agent and its broker.
"""

from __future__ import annotations

import os
import signal
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.api_server import ApiServer
from support.operator_process import TASKS, OperatorProcess, task
from support.played_agent import PlayedAgent, play
from support.waiting import wait_for
from watchbill_coordination.core.children import name_child
from watchbill_coordination.core.evolve import fold
from watchbill_coordination.core.messages import Answer, Assign, ChildEnded, ChildSubmitted, Progress
from watchbill_coordination.core.specs import TaskUid
from watchbill_coordination.storage.layout import Layout
from watchbill_coordination.storage.reading import read_log
from watchbill_operator.children import build_child

Start = Callable[..., OperatorProcess]
AT_ONCE = {"maxRetries": 5, "initialDelaySeconds": 0}


def job(name: str = "a", **spec: Any) -> dict[str, Any]:
    """A Task for the played agent."""
    return task(name, agentRef="blue", **spec)


def status(server: ApiServer, name: str = "a") -> dict[str, Any]:
    """Status of a Task."""
    found: dict[str, Any] = server.get(f"{TASKS}/{name}").get("status") or {}
    return found


def submit_child(agent: PlayedAgent, assign: Assign, request: int = 1) -> str:
    """Ask for a Task; return the name that it will have."""
    said = ChildSubmitted(
        incarnation=agent.incarnation,
        task=assign.task,
        attempt=assign.attempt,
        request=request,
        name="search",
        spec={"prompt": "look there", "role": "blue"},
    )
    agent.say(said)
    return name_child(assign.task, assign.attempt, request, "search")


def list_children(server: ApiServer) -> list[str]:
    """Names of the Tasks that attempts asked for."""
    items = server.get(TASKS)["items"]
    return [item["metadata"]["name"] for item in items if "watchbill.dev/parent" in item["metadata"].get("labels", {})]


def test_an_attempt_is_granted_before_it_is_given(server: ApiServer, operator: Start) -> None:
    """Its broker lets it in before its agent can ask; and not when it is over."""
    one = operator().lead()
    agent = play(server, one.root)
    server.create(TASKS, job())
    assign = agent.take()
    granted = agent.grants()
    agent.end(assign, "Succeeded")

    assert granted == [{"task": assign.task, "attempt": 1, "budgetUSD": None}]
    assert wait_for(lambda: agent.grants() == [], "nothing is granted any more")


def test_a_strict_umask_hides_nothing_from_agents(server: ApiServer, operator: Start) -> None:
    """Agents and brokers are other users than the operator."""
    old = os.umask(0o077)
    try:
        one = operator().lead()
    finally:
        os.umask(old)
    agent = play(server, one.root)
    server.create(TASKS, job())
    agent.expect(Assign)
    [order] = (agent.workspace / "inbox").glob("*-assign-*")
    grants = agent.workspace / "grants" / "grants.json"

    assert [stat.S_IMODE(path.stat().st_mode) for path in (order, grants)] == [0o644, 0o644]


def test_a_later_attempt_has_what_the_first_one_left(server: ApiServer, operator: Start) -> None:
    """By the ledger that was read with its last words; the status tells the sum."""
    one = operator().lead()
    agent = play(server, one.root, budget={"perTaskUSD": 0.5})
    server.create(TASKS, job(retryPolicy=AT_ONCE))
    first = agent.take()
    agent.keep_ledger(first.task, costUSD=0.2, inputTokens=10, outputTokens=3)
    agent.end(first, "Failed", reason="ServerError", turns=4, seconds=2.5)
    second = agent.take(2)

    assert agent.grants() == [{"task": first.task, "attempt": 2, "budgetUSD": 0.3}]
    assert second.budget_usd == 0.3
    usage = wait_for(lambda: status(server).get("usage") or {}, "the usage is told")
    assert (usage["costUSD"], usage["inputTokens"], usage["turns"], usage["seconds"]) == (0.2, 10, 4, 2.5)
    assert one.metric('watchbill_cost_usd_total{agent="blue"}') == 0.2


def test_an_agent_has_no_say_in_what_another_attempt_used(server: ApiServer, operator: Start) -> None:
    """Else any of them could spend the budgets of all Tasks that it has heard of."""
    one = operator().lead()
    agent = play(server, one.root, budget={"perTaskUSD": 0.5})
    server.create(TASKS, job(retryPolicy=AT_ONCE))
    first = agent.take()
    agent.end(first, "Failed", reason="ServerError", turns=1)
    second = agent.take(2)
    agent.end(first, "Succeeded", turns=400, seconds=1e9, usage={"costUSD": 1e6, "inputTokens": 10**9})
    agent.end(second, "Failed", reason="ServerError", turns=2)
    agent.take(3)

    usage = wait_for(lambda: status(server).get("usage") or {}, "the usage is told")
    assert (usage["turns"], usage.get("costUSD", 0), usage.get("inputTokens", 0)) == (3, 0, 0)


def test_what_a_lost_attempt_used_is_told_too(server: ApiServer, operator: Start) -> None:
    """No last word of it brings its ledger; the rest of the budget shrinks when it is read."""
    one = operator().lead()
    agent = play(server, one.root, budget={"perTaskUSD": 0.5})
    server.create(TASKS, job())
    first = agent.take()
    agent.keep_ledger(first.task, costUSD=0.1)
    agent.begin()
    agent.take(2)

    assert wait_for(lambda: agent.grants()[0]["budgetUSD"] == 0.4, "the rest is what the first attempt left")
    assert wait_for(lambda: (status(server).get("usage") or {}).get("costUSD") == 0.1, "the usage is told")


def test_what_was_used_while_nobody_led_is_told_at_the_next_start(server: ApiServer, operator: Start) -> None:
    """A broker outlives an operator."""
    one = operator("one").lead()
    agent = play(server, one.root)
    server.create(TASKS, job())
    first = agent.take()
    agent.begin()
    agent.take(2)
    one.stop(signal.SIGKILL)
    agent.keep_ledger(first.task, costUSD=0.1)
    operator("two").lead()

    assert wait_for(lambda: (status(server).get("usage") or {}).get("costUSD") == 0.1, "the usage is told")


def test_an_agent_that_gives_back_gets_nothing_until_its_credential_is_of_use(
    server: ApiServer, operator: Start
) -> None:
    """The task waits and says for what; no retry is spent."""
    one = operator().lead()
    agent = play(server, one.root)
    server.create(TASKS, job(retryPolicy={"maxRetries": 0}))
    first = agent.take()
    agent.end(first, "GivenBack", reason="RateLimited", message="429", retry_after_seconds=3)
    waits = wait_for(lambda: status(server)["reason"] == "CredentialParked" and status(server), "it says why it waits")
    agent.take(2)

    assert waits["phase"] == "Queued"
    assert "AgentParked" in one.types()
    assert "AgentUnparked" in one.types()


def test_other_tasks_learn_at_once_that_their_agent_is_parked(server: ApiServer, operator: Start) -> None:
    """They waited for its slot, and now wait for its credential."""
    one = operator().lead()
    agent = play(server, one.root)
    server.create(TASKS, job())
    first = agent.take()
    server.create(TASKS, job("b"))
    wait_for(lambda: status(server, "b").get("reason") == "AgentAtCapacity", "the other one waits for the slot")
    agent.end(first, "GivenBack", reason="RateLimited", message="429", retry_after_seconds=600)

    assert wait_for(lambda: status(server, "b")["reason"] == "CredentialParked", "it waits for the credential")


def test_how_far_an_attempt_is_stands_in_the_status(server: ApiServer, operator: Start) -> None:
    """In its own words, and without a patch for each of them."""
    one = operator().lead()
    agent = play(server, one.root)
    server.create(TASKS, job())
    assign = agent.take()
    wait_for(lambda: status(server).get("reason") == "Running", "it runs")
    about: dict[str, Any] = {"incarnation": agent.incarnation, "task": assign.task, "attempt": assign.attempt}
    agent.say(Progress(**about, text="reads the tests", percent=40))
    told = wait_for(lambda: "reads" in status(server)["message"] and status(server)["message"], "it says how far it is")

    assert told == "Attempt 1 is with blue-0: 40 %: reads the tests."


def test_a_task_that_an_attempt_asks_for_is_made(server: ApiServer, operator: Start) -> None:
    """It says whose it is, the attempt is answered, and told of its end."""
    one = operator().lead()
    agent = play(server, one.root)
    server.create(TASKS, job())
    assign = agent.take()
    name = submit_child(agent, assign)
    answer = agent.expect(Answer)
    made = server.get(f"{TASKS}/{name}")
    server.patch(f"{TASKS}/{name}", {"spec": {"cancel": True}})
    ended = agent.expect(ChildEnded)

    assert (answer.granted, answer.name, answer.uid) == (True, name, made["metadata"]["uid"])
    assert made["metadata"]["labels"] == {"watchbill.dev/parent": "a"}
    assert made["metadata"]["annotations"]["watchbill.dev/parent-uid"] == assign.task
    assert (ended.name, ended.phase) == (name, "Cancelled")


def test_a_name_that_somebody_else_has_is_a_refusal(server: ApiServer, operator: Start) -> None:
    """A user's Task is never taken for the attempt's."""
    one = operator().lead()
    agent = play(server, one.root)
    server.create(TASKS, job())
    assign = agent.take()
    name = name_child(TaskUid(assign.task), 1, 1, "search")
    server.create(TASKS, task(name))
    submit_child(agent, assign)
    answer = agent.expect(Answer)

    assert not answer.granted
    assert name in answer.text


def make_as(root: Path, server: ApiServer, name: str) -> None:
    """Make the Task that the log at `root` asks for, as an operator does."""
    state = fold(read_log(Layout(root)))
    server.create(TASKS, build_child(name, state.children[name], "default"))


@pytest.mark.parametrize("is_made", [False, True], ids=["before it is made", "after it was made"])
def test_a_task_is_made_once_though_the_operator_dies(server: ApiServer, operator: Start, is_made: bool) -> None:
    """The wish is in the log; who leads next makes the Task, or sees that it is there."""
    one = operator("one").lead()
    agent = play(server, one.root)
    server.create(TASKS, job())
    assign = agent.take()
    server.stop(signal.SIGKILL)
    name = submit_child(agent, assign)
    wait_for(lambda: "ChildRequested" in one.types(), "the wish is recorded")
    one.stop(signal.SIGKILL)
    server.start()
    if is_made:
        make_as(one.root, server, name)
    two = operator("two").lead()
    answer = agent.expect(Answer)

    assert (answer.granted, answer.name) == (True, name)
    assert list_children(server) == [name]
    assert two.types().count("ChildCreated") == 1
