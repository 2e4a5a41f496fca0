"""Agents that run the real Claude Code, on the whole running system; the model's HTTP API alone is a stub."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from support.claude_pool import KEY, ClaudePool, claude_pool
from support.model_scenarios import Body, Step, fails, runs, says, uses
from support.model_stub import ModelStub
from support.system import System
from support.waiting import wait_for

pytest.importorskip("claude_agent_sdk", reason="Claude Code is not installed: scripts/environment complete")
pytestmark = pytest.mark.claude
PRICE = (100 * 2 + 20 * 10) / 1e6  #: of an answer of the stub by claude-sonnet-5-5: 100 tokens in and 20 out, USD


@pytest.fixture
def pool(system: System, stub: ModelStub, request: pytest.FixtureRequest) -> Iterator[ClaudePool]:
    """An Agent that this test makes, named after it."""
    words = request.node.name.removeprefix("test_").split("[")[0].split("_")
    name = "-".join(words)[:30].strip("-")
    with claude_pool(system, stub, f"{name}-c") as made:
        yield made


def play(*steps: Step) -> Any:
    """Answer with these steps in turn, and with the last one for ever."""
    return lambda number, _body: steps[min(number, len(steps) - 1)]


def test_a_prompt_is_answered_and_its_price_is_told(pool: ClaudePool) -> None:
    """The answer is the result; what it used stands in the status."""
    status = pool.ask(play(runs("echo 42 > answer; cat answer"), says("The answer is 42.")))

    assert (status["phase"], status["result"]) == ("Succeeded", "The answer is 42.")
    assert status["usage"]["requests"] == 2
    assert status["usage"]["costUSD"] > 0
    assert pool.requests()[-1].tool_results == ["42"]


def test_the_transcript_tells_the_session(pool: ClaudePool) -> None:
    """Prompt, tool, answer, end."""
    pool.ask(play(runs("echo here"), says("Done.")))

    kinds = [line["kind"] for line in pool.transcript(pool.name)]

    assert [kind for kind in kinds if kind != "note"] == [
        "task",
        "init",
        "tool_use",
        "tool_result",
        "assistant",
        "result",
    ]


def test_the_broker_adds_the_key(pool: ClaudePool) -> None:
    """The model's API gets it, in every request."""
    pool.ask(play(says("Hello.")))

    assert {request.headers["x-api-key"] for request in pool.requests()} == {KEY}


def test_a_task_that_an_agent_submits_is_done_by_another(pool: ClaudePool) -> None:
    """It is a Task like any other, with its parent as origin, and its result can be asked for."""
    child = {"name": "count", "prompt": "Count.", "type": pool.name}

    def steps(number: int, body: Body) -> Step:
        if pool.name not in str(body["messages"]):  # not the parent, whose prompt names the kind of Task
            return says("There are 7.")
        first = uses("mcp__watchbill__submit_task", child)
        return first if number == 0 else says("It was submitted.")

    pool.ask(steps, prompt=f"Submit a Task of the type {pool.name}.")

    (made,) = pool.system.list("tasks", "-l", f"watchbill.dev/parent={pool.name}")
    assert pool.system.wait_for_phase(made["metadata"]["name"], seconds=60)["result"] == "There are 7."


def test_a_lock_that_a_task_holds_is_denied_to_an_agent(pool: ClaudePool) -> None:
    """At once, and it is told who has it; a free one is granted."""
    ask_held = uses("mcp__watchbill__acquire_lock", {"name": f"repo:{pool.name}"})
    ask_free = uses("mcp__watchbill__acquire_lock", {"name": f"free:{pool.name}"})
    holder = f"{pool.name}-holder"
    lock = {"name": f"repo:{pool.name}"}
    pool.system.apply(
        {
            "apiVersion": "watchbill.dev/v1alpha1",
            "kind": "Task",
            "metadata": {"name": holder},
            "spec": {"role": "blue", "locks": [lock], "command": {"args": ["sleep", "600"]}},
        }
    )
    pool.system.wait_for_phase(holder, "Running")
    try:
        pool.ask(play(ask_held, ask_free, says("Done.")))
    finally:
        pool.system.kubectl("delete", "task", holder)

    denied, granted = pool.requests()[-1].tool_results
    assert holder in denied
    assert granted.startswith("Granted: ")


def test_progress_is_seen_by_kubectl(pool: ClaudePool) -> None:
    """While it runs, in the message."""
    says_so = uses("mcp__watchbill__report_progress", {"text": "reads the tests", "percent": 40})
    pool.put_key()
    pool.declare(pool.stub.play(pool.name, play(says_so, runs("sleep 600"))))
    pool.submit(pool.name)

    assert wait_for(lambda: "40 %: reads the tests" in pool.system.status(pool.name)["message"], "it is told")
    pool.system.kubectl("delete", "task", pool.name)


def test_a_cancelled_session_ends_within_seconds(pool: ClaudePool) -> None:
    """With what the model's tools started."""
    pool.put_key()
    pool.declare(pool.stub.play(pool.name, play(runs("sleep 601"))))
    pool.submit(pool.name)
    pool.wait_for_requests(1)
    wait_for(lambda: len(pool.find_processes("agent")) > 3, "the tool runs")

    pool.system.kubectl("patch", "task", pool.name, "--type=merge", "-p", '{"spec":{"cancel":true}}')

    assert pool.system.wait_for_phase(pool.name)["phase"] == "Cancelled"
    assert wait_for(lambda: len(pool.find_processes("agent")) == 2, "guard and runtime alone are left")


def test_an_operator_killed_in_a_tool_call_costs_nothing(own_system: System, stub: ModelStub) -> None:
    """The session goes on without it, and its result is taken by the next one."""
    with claude_pool(own_system, stub, "orphan") as pool:
        pool.put_key()
        waits = runs("while [ ! -e go ]; do sleep 0.05; done; echo went")
        pool.declare(stub.play("orphan", play(waits, says("It went."))))
        pool.submit("orphan")
        pool.wait_for_requests(1)
        own_system.kill_operator()
        uid = (own_system.get("task", "orphan") or {})["metadata"]["uid"]
        (own_system.root / "agent-workspaces" / "orphan-0" / "work" / uid / "attempt-1" / "go").touch()
        pool.wait_for_requests(2)
        assert own_system.resume().code == 0

        status = own_system.wait_for_phase("orphan")

    assert (status["phase"], status["attempts"], status["result"]) == ("Succeeded", 1, "It went.")


def test_a_broker_killed_in_a_session_costs_no_attempt(pool: ClaudePool) -> None:
    """It comes back, knows what was spent, and the session goes on."""
    waits = runs("while [ ! -e go ]; do sleep 0.05; done")
    pool.put_key()
    pool.declare(pool.stub.play(pool.name, play(waits, says("It went."))))
    pool.submit(pool.name)
    pool.wait_for_requests(1)
    pool.kill("broker")
    uid = (pool.system.get("task", pool.name) or {})["metadata"]["uid"]
    (pool.system.root / "agent-workspaces" / f"{pool.name}-0" / "work" / uid / "attempt-1" / "go").touch()

    status = pool.system.wait_for_phase(pool.name, seconds=60)

    assert (status["phase"], status["usage"]["requests"]) == ("Succeeded", 2)


def test_an_agent_killed_in_a_session_is_repeated(pool: ClaudePool) -> None:
    """By its next life, which goes on with the session; no process of the former one is left."""
    pool.put_key()
    pool.declare(pool.stub.play(pool.name, play(runs("sleep 602"), says("Done at last."))))
    pool.submit(pool.name)
    pool.wait_for_requests(1)
    before = wait_for(lambda: found if len(found := pool.find_processes("agent")) > 3 else [], "the tool runs")
    pool.kill("agent")

    status = pool.system.wait_for_phase(pool.name, seconds=90)

    assert (status["phase"], status["attempts"]) == ("Succeeded", 2)
    assert not set(before) & set(pool.find_processes("agent"))


def test_a_key_is_rotated_without_a_restart(pool: ClaudePool) -> None:
    """A session that runs meanwhile uses the new one from its next request on."""
    waits = runs("while [ ! -e go ]; do sleep 0.05; done")
    pool.put_key("dummy-key-old-0001")
    pool.declare(pool.stub.play(pool.name, play(waits, says("Done."))))
    pool.submit(pool.name)
    pool.wait_for_requests(1)
    pool.stub.accept_keys(pool.name, "dummy-key-new-0002")
    pool.put_key("dummy-key-new-0002", verb="replace")
    uid = (pool.system.get("task", pool.name) or {})["metadata"]["uid"]
    pool.wait_for_key("dummy-key-new-0002")
    (pool.system.root / "agent-workspaces" / f"{pool.name}-0" / "work" / uid / "attempt-1" / "go").touch()

    status = pool.system.wait_for_phase(pool.name, seconds=60)

    assert (status["phase"], status["attempts"]) == ("Succeeded", 1)
    assert pool.requests()[-1].headers["x-api-key"] == "dummy-key-new-0002"


def test_a_key_that_is_refused_parks_the_agent_and_fails_no_task(pool: ClaudePool) -> None:
    """The Agent says so; with a good key the task is done, and no retry was spent."""
    pool.put_key("dummy-key-bad-0001")
    pool.stub.accept_keys(pool.name, KEY)
    pool.declare(pool.stub.play(pool.name, play(says("Done."))))
    pool.submit(pool.name, retryPolicy={"maxRetries": 0})

    wait_for(lambda: pool.condition("CredentialUsable").get("reason") == "AuthenticationFailed", "it is parked", 60)
    pool.put_key(verb="replace")
    pool.wait_for_key(KEY)
    for value in ("true", "false"):  # a changed Agent is tried again at once
        pool.system.kubectl("patch", "agent", pool.name, "--type=merge", "-p", f'{{"spec":{{"suspend":{value}}}}}')
    status = pool.system.wait_for_phase(pool.name, seconds=60)

    assert status["phase"] == "Succeeded"
    assert status["attempts"] > 1, "a parked agent is tried again now and then, also before the new key is there"


def test_without_its_secret_an_agent_says_how_to_make_it(pool: ClaudePool) -> None:
    """And goes on when it is there."""
    pool.declare(pool.stub.play(pool.name, play(says("Done."))))
    pool.submit(pool.name)

    assert wait_for(lambda: pool.secret in pool.condition("CredentialUsable").get("message", ""), "it is named", 60)


def test_a_budget_ends_a_task_after_one_answer_too_many_at_most(system: System, stub: ModelStub) -> None:
    """No retry is begun without money."""
    with claude_pool(system, stub, "poor", budget={"perTaskUSD": 0.5}) as pool:
        pool.put_key()
        pool.declare(stub.base_url("costly", "poor"))
        status = system.wait_for_phase(pool.submit("poor"), seconds=60)

    answers = [request for request in stub.requests("poor") if request.status == 200]
    each = status["usage"]["costUSD"] / len(answers)
    assert (status["phase"], status["reason"]) == ("Failed", "BudgetExceeded")
    assert status["usage"]["costUSD"] - each < 0.5


def test_a_retry_on_the_same_agent_goes_on_with_the_session(pool: ClaudePool) -> None:
    """What was said before is said to the model again; nothing is done twice."""
    policy = {"maxRetries": 2, "initialDelaySeconds": 0, "preferSameAgentSeconds": 60}
    down = fails(500, "api_error", "Internal server error", {"x-should-retry": "false"})

    def steps(number: int, body: Body) -> Step:
        if number == 0:
            return runs("echo once >> count; cat count")
        return says("Done.") if pool.system.status(pool.name).get("attempts", 0) > 1 else down

    status = pool.ask(steps, retryPolicy=policy)

    assert (status["phase"], status["attempts"]) == ("Succeeded", 2)
    assert pool.requests()[-1].tool_results == ["once"]


def test_without_a_broker_claude_code_itself_says_what_it_used(pool: ClaudePool) -> None:
    """The key is in the agent's environment then; a session that is continued is not counted twice."""
    policy = {"maxRetries": 2, "initialDelaySeconds": 0, "preferSameAgentSeconds": 60}
    down = fails(500, "api_error", "Internal server error", {"x-should-retry": "false"})

    def steps(number: int, body: Body) -> Step:
        if number == 0:
            return runs("true")
        return says("Done.") if pool.system.status(pool.name).get("attempts", 0) > 1 else down

    pool.put_key()
    pool.declare(pool.stub.play(pool.name, steps), broker=False)
    status = pool.system.wait_for_phase(pool.submit(pool.name, retryPolicy=policy), seconds=60)

    answers = [request for request in pool.requests() if request.status == 200]
    assert (status["phase"], len(answers)) == ("Succeeded", 2)
    assert status["usage"]["inputTokens"] == 200
    assert status["usage"]["costUSD"] == pytest.approx(2 * PRICE, rel=0.01)


def test_two_agents_work_at_once(system: System, stub: ModelStub) -> None:
    """Each with a broker, a session and a budget of its own."""
    seen: set[str] = set()

    def steps(number: int, body: Body) -> Step:
        seen.update(word for word in ("left", "right") if f"hand {word}" in str(body["messages"][0]))
        wait = runs("timeout 1 tail -f /dev/null")  # a session has a limited number of turns
        return wait if len(seen) < 2 else says("Both hands are here.")

    with claude_pool(system, stub, "pair", replicas=2) as pool:
        pool.put_key()
        pool.declare(stub.play("pair", steps))
        names = [pool.submit(f"hand-{word}", prompt=f"You are hand {word}.") for word in ("left", "right")]
        ended = [system.wait_for_phase(name, seconds=100) for name in names]

    assert {status["phase"] for status in ended} == {"Succeeded"}
    assert {status["agent"] for status in ended} == {"pair-0", "pair-1"}
