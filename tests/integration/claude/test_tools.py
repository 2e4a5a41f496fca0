"""Watchbill's own tools in real sessions of Claude Code: what the model sees, and what dies in the middle of a use."""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import pytest

from support.agent_process import is_alive, kill_hard
from support.claude_lab import ClaudeLab
from support.model_scenarios import scripted
from support.waiting import PATIENCE_SECONDS, wait_for
from watchbill_coordination.core.messages import (
    Answer,
    Cancel,
    ChildEnded,
    ChildSubmitted,
    Finished,
    LockReleased,
    LockRequested,
    Message,
    Progress,
    Released,
)
from watchbill_coordination.core.specs import TaskUid
from watchbill_local.model.sse import Block, build_text, build_use

pytest.importorskip("claude_agent_sdk")
pytestmark = pytest.mark.claude

MakeLab = Callable[..., ClaudeLab]
M = TypeVar("M", bound=Message)

OURS = ("acquire_lock", "release_lock", "submit_task", "report_progress", "read_context", "task_result")
END = [build_text("done")]


def tool(tool: str, /, **arguments: Any) -> Block:
    """The use of one of our tools."""
    return build_use(f"mcp__watchbill__{tool}", arguments)


def asked(lab: ClaudeLab, task: str, kind: type[M], request: int = 1) -> M:
    """Wait for a numbered request of an attempt."""
    return lab.agent.expect(kind, lambda said: (said.task, said.request) == (task, request))  # type: ignore[attr-defined]  # of requests alone


def answer(lab: ClaudeLab, request: Any, **fields: Any) -> None:
    """Answer a request."""
    given: dict[str, Any] = {"granted": True, "name": request.name} | fields
    lab.agent.deliver(Answer(task=request.task, attempt=request.attempt, request=request.request, **given))


def told(lab: ClaudeLab, finished: Finished) -> list[str]:
    """What the tools answered, as the model saw it at the end."""
    assert finished.outcome == "Succeeded", finished
    return lab.requests(finished)[-1].tool_results


def are_errors(lab: ClaudeLab, finished: Finished) -> list[bool]:
    """Which of the answers were errors."""
    messages: list[Mapping[str, Any]] = lab.requests(finished)[-1].body["messages"]
    blocks = [block for message in messages if isinstance(message["content"], list) for block in message["content"]]
    return [bool(block.get("is_error")) for block in blocks if block.get("type") == "tool_result"]


def test_a_role_that_may_write_nothing_has_all_of_the_tools(make_lab: MakeLab) -> None:
    """None of them writes a file, and what may be asked for is the operator's to decide."""
    lab = make_lab(role="red")
    finished = lab.run(scripted([tool("read_context")], END))

    assert set(OURS) == {name.rpartition("__")[2] for name in lab.requests(finished)[0].tools if "watchbill" in name}
    assert told(lab, finished) == ["results/"]


def test_each_tool_is_answered_when_what_it_asks_for_is_granted(green: ClaudeLab) -> None:
    """All in one session."""
    result = green.agent.layout.results / "u-search"
    result.mkdir()
    (result / "answer.md").write_text("It is 42.")
    task = green.begin(
        scripted(
            [tool("acquire_lock", name="repo:src")],
            [tool("release_lock", name="repo:src")],
            [tool("submit_task", name="tests", prompt="Write tests.", type="codegen", dependsOn=["search"])],
            [
                tool("report_progress", text="half done", percent=50),
                tool("read_context", path="results/u-search/answer.md"),
            ],
            [tool("task_result", name="search"), tool("task_result", name="tests")],
            END,
        ),
        dependencies={"search": "u-search"},
    )

    answer(green, asked(green, task, LockRequested, 1), token=17)
    answer(green, asked(green, task, LockReleased, 2))
    submitted = asked(green, task, ChildSubmitted, 3)
    answer(green, submitted, name="tests-0a1b2c3d", uid="u-tests")

    assert submitted.spec == {"prompt": "Write tests.", "type": "codegen", "dependsOn": ["search"]}
    finished = green.end(task)
    texts = told(green, finished)
    assert texts[0].startswith("Granted: you hold the lock repo:src (exclusive, fencing token 17) until")
    assert texts[1] == "You gave back the lock repo:src."
    assert texts[2].startswith("The Task tests-0a1b2c3d was created")
    assert texts[3:5] == ["Noted.", "It is 42."]
    assert texts[5].startswith("The Task search Succeeded.")
    assert texts[6].startswith("The Task tests-0a1b2c3d has not ended")
    assert not any(are_errors(green, finished))
    assert [(said.text, said.percent) for said in green.agent.said(Progress) if said.task == task] == [
        ("half done", 50)
    ]


def test_each_tool_says_why_it_refuses(green: ClaudeLab) -> None:
    """As an error, so that the model does not go on as if it had been done."""
    task = green.begin(
        scripted(
            [tool("acquire_lock", name="repo:src")],
            [tool("release_lock", name="repo:src")],
            [tool("submit_task", name="tests", prompt="Write tests.")],
            [
                tool("report_progress", text=" "),
                tool("read_context", path="/etc/passwd"),
                tool("task_result", name="other"),
                tool("acquire_lock", mode="exclusive"),
                tool("submit_task", name="tests", prompt="p", priority="high"),
            ],
            END,
        )
    )

    answer(green, asked(green, task, LockRequested, 1), granted=False, text="repo:src is held by the Task other.")
    answer(green, asked(green, task, LockReleased, 2), granted=False, text="repo:src is not held by this attempt.")
    answer(green, asked(green, task, ChildSubmitted, 3), granted=False, text="no Agent takes it.")

    finished = green.end(task)
    expected = (
        "repo:src is held by the Task other.",
        "repo:src is not held by this attempt.",
        "The Task was not created. no Agent takes it.",
        "text is empty: give a text.",
        "is not a path below shared-context",
        "no dependencies",
        "'name' is a required property",
        "'high' is not of type 'integer'",
    )
    for words, text in zip(expected, told(green, finished), strict=True):
        assert words in text
    assert all(are_errors(green, finished))


def test_the_longest_answer_reaches_the_model_whole(green: ClaudeLab) -> None:
    """Claude Code does not put it aside into a file that the model would have to read."""
    line = "The quick brown fox jumps over the lazy dog, 1234567890 times; naïve façade.\n"
    text = line * (200_000 // len(line))
    (green.agent.layout.shared_context / "long.md").write_text(text)

    (shown,) = told(green, green.run(scripted([tool("read_context", path="long.md", limit=40_000)], END)))

    head, _, body = shown.partition("\n")
    assert head.startswith("(long.md, bytes 0 to ")
    assert text.startswith(body)
    assert len(body.encode()) > 39_990


def test_several_uses_in_one_turn_get_their_own_answers(green: ClaudeLab) -> None:
    """In whatever order they come."""
    task = green.begin(scripted([tool("acquire_lock", name=f"lock-{n}", mode="shared") for n in range(4)], END))

    requests = [asked(green, task, LockRequested, 1)]
    while len(requests) < 4:  # Claude Code may use them one after the other
        answer(green, requests[-1], token=int(requests[-1].name[-1]) + 100)
        requests.append(asked(green, task, LockRequested, len(requests) + 1))
    answer(green, requests[-1], token=int(requests[-1].name[-1]) + 100)

    texts = told(green, green.end(task))
    assert [f"lock-{n} (shared, fencing token {n + 100})" in text for n, text in enumerate(texts)] == [True] * 4


def test_a_cancellation_ends_a_session_that_waits_for_an_answer(green: ClaudeLab) -> None:
    """Nothing is alive when it is reported."""
    task = green.begin(scripted([tool("acquire_lock", name="a")], END))
    asked(green, task, LockRequested)
    green.agent.deliver(Cancel(task=TaskUid(task), attempt=1, reason="Cancelled"))

    assert green.end(task).outcome == "Cancelled"
    assert green.find_running() == set()


def test_a_use_that_claude_code_gives_up_costs_no_later_one(make_lab: MakeLab) -> None:
    """Its answer comes too late; the next use gets its own."""
    lab = make_lab(environment={"MCP_TOOL_TIMEOUT": "1000"})
    task = lab.begin(scripted([tool("acquire_lock", name="a")], [tool("acquire_lock", name="b")], END))

    late = asked(lab, task, LockRequested, 1)
    second = asked(lab, task, LockRequested, 2)
    answer(lab, late, token=1)
    answer(lab, second, token=2)

    texts = told(lab, lab.end(task))
    assert "timed out" in texts[0].lower()
    assert "fencing token 2" in texts[1]


def test_a_stop_signal_ends_a_session_that_waits_for_an_answer(make_lab: MakeLab) -> None:
    """The work is given back, and nothing of it is alive."""
    lab = make_lab()
    task = lab.begin(scripted([tool("acquire_lock", name="a")], END))
    asked(lab, task, LockRequested)
    program = lab.find_program()
    assert lab.agent.process is not None
    lab.agent.process.send_signal(signal.SIGTERM)

    lab.agent.expect(Released)
    assert lab.agent.process.wait(PATIENCE_SECONDS) == 0
    assert not is_alive(program)
    assert not lab.agent.said(Finished)


def test_an_agent_that_is_killed_while_a_tool_waits_leaves_nothing(make_lab: MakeLab) -> None:
    """The next life works, and what the former one was answered reaches nobody."""
    lab = make_lab()
    task = lab.begin(scripted([tool("acquire_lock", name="a")], END))
    request = asked(lab, task, LockRequested)
    program = lab.find_program()
    assert lab.agent.process is not None
    kill_hard(lab.agent.agent_pid)
    lab.agent.process.wait(PATIENCE_SECONDS)
    wait_for(lambda: not is_alive(program), "the end of Claude Code")
    answer(lab, request, token=1)
    lab.agent.start()

    lab.begin(scripted([tool("task_result", name="child-1")], END), task=task, attempt=2, children={"child-1": "u"})
    assert told(lab, lab.end(task, 2))[-1].startswith("The Task child-1 has not ended")


def test_claude_code_that_is_killed_while_a_tool_waits_is_a_failure_that_another_try_may_mend(green: ClaudeLab) -> None:
    """What comes as an answer reaches nobody, and the agent goes on."""
    task = green.begin(scripted([tool("acquire_lock", name="a")], END))
    request = asked(green, task, LockRequested)
    kill_hard(green.find_program())

    finished = green.end(task)
    assert (finished.outcome, finished.retryable) == ("Failed", True)
    answer(green, request, token=1)
    assert told(green, green.run(scripted([tool("read_context", path="results")], END)))


def test_the_end_of_a_submitted_task_is_known_without_asking_the_operator(green: ClaudeLab) -> None:
    """It was told when it happened."""
    (green.agent.layout.results / "u-child").mkdir()
    (green.agent.layout.results / "u-child" / "output.json").write_text('{"verdict": "ok"}')
    task = green.begin(
        scripted(
            [tool("submit_task", name="child", prompt="p")],
            [tool("acquire_lock", name="a")],
            [tool("task_result", name="child")],
            END,
        )
    )
    answer(green, asked(green, task, ChildSubmitted, 1), name="child-0a1b2c3d", uid="u-child")
    request = asked(green, task, LockRequested, 2)
    green.agent.deliver(
        ChildEnded(task=TaskUid(task), attempt=1, name="child-0a1b2c3d", uid="u-child", phase="Succeeded")
    )
    answer(green, request, token=1)

    assert '{"verdict": "ok"}' in told(green, green.end(task))[-1]
