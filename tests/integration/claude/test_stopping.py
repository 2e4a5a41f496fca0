"""The end of a session that is to end before it is done, and what is alive after it."""

from __future__ import annotations

import os
import signal
import uuid
from collections.abc import Callable

import pytest

from support.agent_process import is_alive, kill_hard
from support.claude_lab import ClaudeLab
from support.model_scenarios import runs, says
from support.waiting import PATIENCE_SECONDS, wait_for
from watchbill_coordination.core.messages import Cancel, Drain, Released
from watchbill_coordination.core.specs import TaskUid

pytest.importorskip("claude_agent_sdk")
pytestmark = pytest.mark.claude

MakeLab = Callable[..., ClaudeLab]
SLEEP = "echo $$ > pid; exec sleep 600"


def begin_command(lab: ClaudeLab, command: str = SLEEP) -> tuple[str, int]:
    """Let a session run a command that does not end; returns the task and the command's pid."""
    task = lab.begin("bash," + command.encode().hex())
    return task, lab.read_pid(task)


def cancel(lab: ClaudeLab, task: str) -> None:
    lab.agent.deliver(Cancel(task=TaskUid(task), attempt=1, reason="Cancelled"))


def test_a_cancelled_session_that_waits_for_the_model_ends(green: ClaudeLab) -> None:
    """As Cancelled, with nothing alive; the model would never have answered."""
    task = green.begin("hang")
    green.wait_for_request(task)
    cancel(green, task)
    finished = green.end(task)
    assert (finished.outcome, finished.reason) == ("Cancelled", "Cancelled")
    assert green.find_running() == set()


def test_a_cancelled_session_that_runs_a_command_ends_it(green: ClaudeLab) -> None:
    """The command is gone when the end is reported."""
    task, pid = begin_command(green)
    cancel(green, task)
    assert green.end(task).outcome == "Cancelled"
    assert not is_alive(pid)


def test_a_session_that_is_cancelled_while_it_starts_ends(green: ClaudeLab) -> None:
    """Nothing was asked of the model yet."""
    task = green.begin("hang")
    green.find_program()
    cancel(green, task)
    assert green.end(task).outcome == "Cancelled"
    assert green.find_running() == set()


def test_a_session_has_a_deadline(green: ClaudeLab) -> None:
    """It is stopped at its timeoutSeconds, and another try may help."""
    task = green.begin("bash," + SLEEP.encode().hex(), timeout_seconds=3.0)
    finished = green.end(task)
    assert (finished.outcome, finished.reason, finished.retryable) == ("Failed", "DeadlineExceeded", True)
    assert green.find_running() == set()


def test_a_daemon_that_a_command_leaves_behind_is_ended(green: ClaudeLab) -> None:
    """It has its own session and no parent; it ends all the same."""
    daemon = "setsid nohup sh -c 'echo $$ > pid; exec sleep 600' > /dev/null 2>&1 &"
    waiting = "timeout 100 sh -c 'until [ -s pid ]; do :; done'"
    finished = green.run("bash," + f"{daemon} {waiting}".encode().hex())
    assert finished.outcome == "Succeeded", finished
    assert not is_alive(green.read_pid(finished.task))


def test_a_killed_claude_code_is_a_crash_that_is_retried(green: ClaudeLab) -> None:
    """kill -9 in the middle of a command: the command is ended, the attempt fails."""
    task, pid = begin_command(green)
    kill_hard(green.find_program())
    finished = green.end(task)
    assert (finished.outcome, finished.reason, finished.retryable) == ("Failed", "CliCrashed", True), finished
    assert not is_alive(pid)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_claude_code_that_is_told_to_end_is_no_success(green: ClaudeLab, number: int) -> None:
    """By somebody else, while it waits for the model; another try may help."""
    task = green.begin("hang")
    green.wait_for_request(task)
    os.kill(green.find_program(), number)
    finished = green.end(task)
    assert (finished.outcome, finished.retryable) == ("Failed", True), finished
    assert finished.reason in ("CliCrashed", "Interrupted")


def test_nothing_outlives_a_killed_runtime(make_lab: MakeLab) -> None:
    """kill -9 of the agent in the middle of a command: the guard ends Claude Code and the command."""
    lab = make_lab()
    _, pid = begin_command(lab)
    program = lab.find_program()
    kill_hard(lab.agent.agent_pid)
    wait_for(lambda: not is_alive(program) and not is_alive(pid), "the end of all that ran")


def test_nothing_outlives_a_killed_guard(make_lab: MakeLab) -> None:
    """The agent is told by the kernel and ends Claude Code and the command."""
    lab = make_lab()
    _, pid = begin_command(lab)
    program = lab.find_program()
    assert lab.agent.process is not None
    kill_hard(lab.agent.process.pid)
    wait_for(lambda: not is_alive(program) and not is_alive(pid), "the end of all that ran")


def test_a_new_life_ends_what_a_killed_one_left(make_lab: MakeLab) -> None:
    """Agent and guard killed at once leave Claude Code running; the next life finds it by its marks."""
    lab = make_lab()
    _, pid = begin_command(lab)
    program, agent = lab.find_program(), lab.agent.agent_pid
    assert lab.agent.process is not None
    lab.agent.process.send_signal(signal.SIGSTOP)
    kill_hard(agent)
    kill_hard(lab.agent.process.pid)
    lab.agent.process.wait()
    lab.agent.start()
    wait_for(lambda: not is_alive(program) and not is_alive(pid), "the end of what was left")


def test_a_terminated_agent_gives_its_session_back(make_lab: MakeLab) -> None:
    """SIGTERM: nothing runs any more, the agent is gone, and the operator hears `released`."""
    lab = make_lab()
    _, pid = begin_command(lab)
    assert lab.agent.process is not None
    lab.agent.process.terminate()
    assert lab.agent.process.wait(PATIENCE_SECONDS) == 0
    assert not is_alive(pid)
    assert lab.agent.said(Released)


def test_a_drain_lets_a_session_end(make_lab: MakeLab) -> None:
    """One that ends in time is finished and not interrupted."""
    lab = make_lab()
    task = lab.begin("bash," + b"echo $$ > pid; timeout 1 tail -f /dev/null; true".hex())
    lab.read_pid(task)
    lab.agent.deliver(Drain(deadline_seconds=60.0))
    assert lab.end(task).outcome == "Succeeded"
    lab.agent.expect(Released)


def test_a_drain_that_is_over_gives_the_session_back(make_lab: MakeLab) -> None:
    """It is interrupted at the drain's deadline, and nothing of it is alive."""
    lab = make_lab()
    task, pid = begin_command(lab)
    lab.agent.deliver(Drain(deadline_seconds=0.1))
    lab.agent.expect(Released)
    assert not is_alive(pid)
    assert lab.transcript(task)[-1]["outcome"] == "Cancelled"


def test_a_session_that_asks_in_a_loop_is_stopped(green: ClaudeLab) -> None:
    """The end does not wait for the loop's end."""
    task = str(uuid.uuid4())
    green.stub.play(f"{task}-1", lambda number, _: runs(f"echo {number}") if number < 500 else says("done"))
    green.begin("play", task=task)
    green.wait_for_request(task, 2)
    cancel(green, task)
    assert green.end(task).outcome == "Cancelled"
