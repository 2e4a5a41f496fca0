"""The life of an agent process: registration, duplicates, drain, restart, sudden death."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.agent_process import AgentProcess, is_alive, kill_hard, read_pid
from support.waiting import wait_for
from watchbill_coordination.core.messages import (
    Accepted,
    Assign,
    Cancel,
    Cleanup,
    Drain,
    Finished,
    Registered,
    Released,
)
from watchbill_coordination.core.specs import TaskUid

SLEEP = {"shell": "echo $$ > pid; exec sleep 1000"}


@pytest.fixture(params=["inotify", "poll"])
def notify(request: pytest.FixtureRequest) -> str:
    """How the agent learns of new files."""
    return str(request.param)


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[AgentProcess]:
    """An agent with two slots."""
    with AgentProcess(tmp_path, {"WATCHBILL_SLOTS": "2", "WATCHBILL_POD_UID": "pod-1"}) as process:
        yield process


def test_a_command_gets_prompt_environment_and_a_folder_of_its_own(tmp_path: Path, notify: str) -> None:
    """Accepted, run, reported, acknowledged, removed from the outbox; with both ways of being woken."""
    with AgentProcess(tmp_path, {"WATCHBILL_NOTIFY": notify, "WATCHBILL_MODEL": "haiku"}) as agent:
        command: dict[str, Any] = {"shell": 'cat; echo "$WATCHBILL_TASK $WATCHBILL_MODEL $EXTRA $(basename "$PWD")"'}
        command["env"] = [{"name": "EXTRA", "value": "more"}, {"name": "WATCHBILL_MODEL", "value": "stolen"}]

        end = agent.run("t", command, name="a-task", prompt="the prompt\n")

        assert end.result == "the prompt\na-task haiku more attempt-1\n"
        assert agent.said(Accepted)[0].task == "t"
        wait_for(lambda: not os.listdir(agent.workspace / "outbox"), "an empty outbox")


def test_standard_input_of_the_task_comes_before_its_prompt(agent: AgentProcess) -> None:
    """Even an empty one."""
    assert agent.run("a", {"args": ["cat"], "stdin": "given"}, prompt="the prompt").result == "given"
    assert agent.run("b", {"args": ["cat"], "stdin": ""}, prompt="the prompt").result == ""


def number_of(agent: AgentProcess) -> int:
    """The part of its incarnation that grows with every start."""
    pod, _, number = agent.incarnation.partition("/")
    assert pod == "pod-1"
    return int(number)


def test_an_incarnation_names_the_pod_and_the_start(tmp_path: Path) -> None:
    """The start is told by the clock, in milliseconds."""
    before = time.time()
    with AgentProcess(tmp_path, {"WATCHBILL_POD_UID": "pod-1"}) as agent:
        assert before - 0.001 <= number_of(agent) / 1000 <= time.time()


def test_an_attempt_that_is_assigned_twice_runs_once(agent: AgentProcess) -> None:
    """Delivery is at least once, effects are not."""
    command = {"shell": 'echo run >> "$WATCHBILL_PROMPT_FILE.runs"; cat "$WATCHBILL_PROMPT_FILE.runs"; sleep 0.3'}
    agent.assign("t", command)
    agent.assign("t", command)

    end = agent.expect(Finished)

    assert end.result == "run\n"


def test_an_attempt_that_is_assigned_after_its_end_is_reported_again(agent: AgentProcess) -> None:
    """The same report, without a second run."""
    first = agent.run("t", {"shell": "echo $$"})

    agent.assign("t", {"shell": "echo $$"})
    wait_for(lambda: len(agent.said(Finished)) == 2, "a second report")

    assert agent.said(Finished) == [first, first]


def test_an_assignment_for_another_incarnation_is_ignored(agent: AgentProcess) -> None:
    """It was meant for a life that is over."""
    agent.assign("stale", {"args": ["true"]}, incarnation="pod-1/0")
    agent.run("t", {"args": ["true"]})

    assert [message.task for message in agent.said(Accepted)] == ["t"]


def test_a_message_of_a_deposed_operator_is_ignored(agent: AgentProcess) -> None:
    """Its epoch is lower than one seen before."""
    agent.epoch = 7
    agent.run("t", {"args": ["true"]})
    late = Assign(task=TaskUid("late"), attempt=1, name="", incarnation=agent.incarnation, timeout_seconds=9)

    agent.deliver(late, epoch=6)
    agent.run("next", {"args": ["true"]})

    assert [message.task for message in agent.said(Accepted)] == ["t", "next"]


def test_a_damaged_inbox_file_does_not_stop_the_ones_behind_it(agent: AgentProcess) -> None:
    """It is logged and left out."""
    (agent.workspace / "inbox" / f"{5:020d}-assign-00000000.jsonl").write_bytes(b'{"torn')

    assert agent.run("t", {"args": ["true"]}).outcome == "Succeeded"


def test_a_cancelled_attempt_ends_at_once(agent: AgentProcess) -> None:
    """With outcome Cancelled, and nothing of it is left."""
    agent.assign("t", SLEEP)
    pid = read_pid(agent.attempt_folder("t") / "pid")

    agent.deliver(Cancel(task=TaskUid("t"), attempt=1, reason="Cancelled"))

    assert agent.expect(Finished).outcome == "Cancelled"
    assert not is_alive(pid)


def test_cancelling_what_does_not_run_frees_its_slot(agent: AgentProcess) -> None:
    """The operator waits for an answer whatever happened to the assignment."""
    agent.deliver(Cancel(task=TaskUid("unknown"), attempt=3, reason="Cancelled"))

    end = agent.expect(Finished)

    assert (end.task, end.attempt, end.outcome, end.reason) == ("unknown", 3, "Cancelled", "NeverStarted")


def test_two_slots_run_side_by_side(agent: AgentProcess) -> None:
    """Each waits for the other's file, so neither could end alone."""
    for me, other in (("a", "b"), ("b", "a")):
        agent.assign(me, {"shell": f"touch here; while ! test -e ../../{other}/attempt-1/here; do sleep 0.01; done"})

    assert agent.expect(Finished, lambda m: m.task == "a").outcome == "Succeeded"
    assert agent.expect(Finished, lambda m: m.task == "b").outcome == "Succeeded"


def test_a_draining_agent_ends_its_work_and_leaves(agent: AgentProcess) -> None:
    """Nothing new is taken; `released` is the last word, and the exit code is 0."""
    agent.assign("running", {"shell": "while ! test -e go; do sleep 0.01; done"})
    agent.expect(Accepted)
    agent.deliver(Drain(deadline_seconds=60))
    agent.assign("too-late", {"args": ["true"]})

    (agent.attempt_folder("running") / "go").touch()
    agent.expect(Released)

    assert agent.process is not None
    assert agent.process.wait(10) == 0
    assert [type(m) for m in agent.messages] == [Registered, Accepted, Finished, Released]


def test_an_agent_that_drains_too_long_gives_its_work_back(agent: AgentProcess) -> None:
    """The attempt is stopped and not reported: `released` queues its task again."""
    agent.assign("t", SLEEP)
    pid = read_pid(agent.attempt_folder("t") / "pid")

    agent.deliver(Drain(deadline_seconds=0.1))
    agent.expect(Released)

    assert agent.said(Finished) == []
    assert not is_alive(pid)


def test_sigterm_gives_running_work_back(agent: AgentProcess) -> None:
    """Killed within the grace period, then `released`, then exit code 0."""
    agent.assign("t", SLEEP)
    pid = read_pid(agent.attempt_folder("t") / "pid")
    assert agent.process is not None

    agent.process.send_signal(signal.SIGTERM)

    assert agent.process.wait(10) == 0
    agent.expect(Released)
    assert agent.said(Finished) == []
    assert not is_alive(pid)


def test_a_cleaned_up_task_leaves_no_folder(agent: AgentProcess) -> None:
    """Not even one whose command took away its own rights."""
    agent.run("t", {"shell": "mkdir -p deep/er; touch deep/er/file; chmod 000 deep/er deep"})

    agent.deliver(Cleanup(tasks=(TaskUid("t"),)))

    folder = agent.workspace / "work" / "t"
    assert wait_for(lambda: not folder.exists(), "the folder to go")


def test_the_heartbeat_names_what_runs(agent: AgentProcess) -> None:
    """With the incarnation and a counter that grows."""
    assert agent.heartbeat()["counter"] == 1
    agent.assign("t", SLEEP)

    wait_for(lambda: agent.heartbeat()["running"] == ["t/1"], "a heartbeat with the attempt")

    assert agent.heartbeat()["incarnation"] == agent.incarnation
    assert agent.heartbeat()["counter"] > 1


@pytest.mark.parametrize("victim", ["agent", "guard"])
def test_nothing_outlives_an_agent_that_is_killed(agent: AgentProcess, victim: str) -> None:
    """Whichever of its two processes dies, a command and its daemon die with it."""
    agent.assign("t", {"shell": "setsid sh -c 'echo $$ > daemon; exec sleep 1000' & echo $$ > pid; exec sleep 1000"})
    pids = [read_pid(agent.attempt_folder("t") / name) for name in ("pid", "daemon")]
    assert agent.process is not None
    pids.append(agent.agent_pid)

    kill_hard(agent.agent_pid if victim == "agent" else agent.process.pid)
    agent.process.wait(10)

    wait_for(lambda: not any(map(is_alive, pids)), "all to end")


def test_what_outlived_both_processes_ends_with_the_next_life(agent: AgentProcess) -> None:
    """Both were killed in one moment, so nobody was left to end the command."""
    agent.assign("t", {"shell": "setsid sh -c 'echo $$ > daemon; exec sleep 1000' & echo $$ > pid; exec sleep 1000"})
    pids = [read_pid(agent.attempt_folder("t") / name) for name in ("pid", "daemon")]
    assert agent.process is not None
    inner = agent.agent_pid
    os.kill(agent.process.pid, signal.SIGSTOP)
    kill_hard(inner)
    kill_hard(agent.process.pid)
    agent.process.wait(10)
    assert all(map(is_alive, pids))

    agent.start()

    assert not any(map(is_alive, pids))


def test_a_restarted_agent_is_another_incarnation_and_answers_for_the_old_one_s_files(agent: AgentProcess) -> None:
    """What the former life had to say stays in the outbox until it is acknowledged; numbers go on growing."""
    agent.assign("t", {"args": ["true"]})
    agent.expect(Finished, acknowledge=False)
    assert agent.process is not None
    kill_hard(agent.process.pid)
    agent.process.wait(10)
    left = sorted(os.listdir(agent.workspace / "outbox"))
    former = number_of(agent)

    agent.start()

    now = sorted(os.listdir(agent.workspace / "outbox"))
    assert number_of(agent) > former
    assert [name[21:29] for name in left] == ["accepted", "finished"]
    assert now[: len(left)] == left


@pytest.mark.parametrize("name", ["anything", "heartbeat.json", ".tmp-3-heartbeat.json"])
@pytest.mark.parametrize("plant", [Path.mkdir, os.mkfifo], ids=["folder", "pipe"])
def test_what_a_command_left_in_the_state_folder_does_not_stop_the_next_life(
    tmp_path: Path, name: str, plant: Callable[[Path], None]
) -> None:
    """A command runs as its agent does, and a workspace outlives its pod: else one command ends a replica for good."""
    with AgentProcess(tmp_path, {"WATCHBILL_POD_UID": "pod-1"}) as agent:
        assert agent.process is not None
        kill_hard(agent.process.pid)
        agent.process.wait(10)
        planted = agent.workspace / "state" / name
        planted.unlink(missing_ok=True)
        plant(planted)

        agent.start()

        assert agent.run("t", {"args": ["true"]}).outcome == "Succeeded"
        assert agent.heartbeat()["incarnation"] == agent.incarnation
        assert planted.is_file() or not planted.exists()


def test_a_command_cannot_make_an_incarnation_come_again(agent: AgentProcess) -> None:
    """It may remove or write whatever lies in the state folder: a life that is over would be taken for the present."""
    former = number_of(agent)
    agent.run("t", {"args": ["find", str(agent.workspace / "state"), "-mindepth", "1", "-delete"]})
    assert agent.process is not None
    kill_hard(agent.process.pid)
    agent.process.wait(10)

    agent.start()

    assert number_of(agent) > former


def test_orders_that_a_former_life_left_unread_are_not_followed(agent: AgentProcess) -> None:
    """A drain of the past must not end the next life; the operator repeats what still holds."""
    assert agent.process is not None
    os.kill(agent.agent_pid, signal.SIGSTOP)
    agent.deliver(Drain(deadline_seconds=0))
    agent.deliver(Cancel(task=TaskUid("old"), attempt=1, reason="Cancelled"))
    kill_hard(agent.agent_pid)
    agent.process.wait(10)

    agent.start()

    assert agent.run("t", {"args": ["true"]}).outcome == "Succeeded"
    assert agent.said(Released) == []
    assert len(agent.said(Finished)) == 1


def test_an_agent_with_a_wrong_setting_says_which(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Exit code 78: starting it again would not help."""
    process = AgentProcess(tmp_path, {"WATCHBILL_SLOTS": "many"}).spawn()

    assert process.wait(10) == 78
    assert "WATCHBILL_SLOTS is 'many'" in capfd.readouterr().err


def test_the_log_names_tasks_and_tells_nothing_that_they_printed(tmp_path: Path) -> None:
    """What a program prints may be secret."""
    agent = AgentProcess(tmp_path)
    with (tmp_path / "log").open("wb") as agent.log, agent:
        agent.run("t", {"shell": "echo hush; echo hush >&2; exit 3"}, name="a-task")

    log = (tmp_path / "log").read_text()
    assert "a-task (t) attempt 1 ends: Failed NonZeroExit" in log
    assert "hush" not in log
