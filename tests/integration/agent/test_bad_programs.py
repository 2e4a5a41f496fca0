"""Programs that misbehave: each ends with an outcome that says why, and the agent goes on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.agent_process import REPLICA, AgentProcess, is_alive, read_pid
from support.waiting import wait_for
from watchbill_agent.process_group import list_children
from watchbill_coordination.core.messages import Accepted, Cancel, Finished
from watchbill_coordination.core.specs import TaskUid
from watchbill_coordination.storage.results import ResultCopied, copy_result


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[AgentProcess]:
    with AgentProcess(tmp_path / "a volume", {"WATCHBILL_COMMAND": '{"graceSeconds": 1}'}) as process:
        yield process


def resident_kib(pid: int) -> int:
    with open(f"/proc/{pid}/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS"))


def test_a_program_that_does_not_exist_is_not_tried_again(agent: AgentProcess) -> None:
    """The outcome names the program."""
    end = agent.run("t", {"args": ["/no/such/program"]})

    assert (end.outcome, end.reason, end.retryable) == ("Failed", "ProgramNotFound", False)
    assert "/no/such/program" in end.message


def test_a_program_that_a_shell_does_not_find_is_not_tried_again(agent: AgentProcess) -> None:
    """The shell's exit code 127 means the same."""
    end = agent.run("t", {"shell": "no-such-program-either"})

    assert (end.reason, end.retryable, end.exit_code) == ("ProgramNotFound", False, 127)


def test_a_file_that_is_no_program_is_not_tried_again(agent: AgentProcess) -> None:
    """A file without the right to execute it."""
    end = agent.run("t", {"args": ["/etc/passwd"]})

    assert (end.reason, end.retryable) == ("NotExecutable", False)


def test_arguments_beyond_the_system_s_limit_are_refused(agent: AgentProcess) -> None:
    """The kernel takes at most 128 KiB for one argument."""
    end = agent.run("t", {"shell": "echo " + "x" * 200_000})

    assert (end.reason, end.retryable) == ("ArgumentsTooLong", False)


def test_an_argument_with_a_nul_character_is_refused(agent: AgentProcess) -> None:
    """No program can be given one."""
    end = agent.run("t", {"args": ["echo", "a\0b"]})

    assert (end.reason, end.retryable) == ("InvalidCommand", False)


@pytest.mark.long
def test_a_program_that_prints_a_gigabyte_costs_neither_memory_nor_disk(agent: AgentProcess) -> None:
    """Head and tail are kept, the rest is counted, and the result stays within its limit."""
    before = resident_kib(agent.agent_pid)

    end = agent.run("t", {"shell": "head -c 1000000000 /dev/zero | tr '\\0' x; printf THE-END"})

    stdout = agent.attempt_folder("t") / "result" / "stdout"
    assert (end.outcome, len(end.result)) == ("Succeeded", 4096)
    assert b"bytes left out" in stdout.read_bytes()
    assert stdout.read_bytes().endswith(b"THE-END")
    assert stdout.stat().st_size < 300_000
    assert resident_kib(agent.agent_pid) - before < 5_000
    assert isinstance(copy_result(agent.layout, REPLICA, TaskUid("t"), 1), ResultCopied)


def test_a_program_that_closes_its_streams_is_waited_for(agent: AgentProcess) -> None:
    """Its exit counts, not the end of its output."""
    end = agent.run("t", {"shell": "exec <&- >&- 2>&-; sleep 0.2; exit 3"}, prompt="x" * 200_000)

    assert (end.outcome, end.exit_code) == ("Failed", 3)


def test_a_program_that_never_reads_its_input_does_not_hang(agent: AgentProcess) -> None:
    """The prompt is longer than a pipe holds."""
    end = agent.run("t", {"args": ["true"]}, prompt="x" * 200_000)

    assert end.outcome == "Succeeded"


def test_a_daemon_does_not_outlive_its_attempt(agent: AgentProcess) -> None:
    """It left its session and its parent, and keeps the output open; the attempt ends all the same, and so does it."""
    pid_file = agent.attempt_folder("t") / "daemon"
    shell = f"setsid sh -c 'echo $$ > {pid_file.name}; exec sleep 1000' & while ! test -s {pid_file.name}; do :; done"

    end = agent.run("t", {"shell": shell})

    assert end.outcome == "Succeeded"
    assert not is_alive(read_pid(pid_file))


def test_a_daemon_that_hides_its_environment_ends_when_no_attempt_runs(agent: AgentProcess) -> None:
    """Without its marker it cannot be told whose it is; alone it must be this one's."""
    pid_file = agent.attempt_folder("t") / "daemon"
    inner = f"echo $$ > {pid_file.name}; exec sleep 1000"
    shell = f"setsid env -i /bin/sh -c '{inner}' & while ! test -s {pid_file.name}; do :; done"

    agent.run("t", {"shell": shell})

    assert not is_alive(read_pid(pid_file))


def test_a_daemon_that_hides_beside_others_ends_with_the_last_of_them(tmp_path: Path) -> None:
    """Attempts overlap all the time; those that began after it do not protect it."""
    with AgentProcess(tmp_path, {"WATCHBILL_SLOTS": "3"}) as agent:
        wait = {"shell": "while ! test -e go; do sleep 0.01; done"}
        agent.assign("beside", wait)
        daemon = agent.attempt_folder("hidden") / "daemon"
        inner = "echo $$ > daemon; exec sleep 1000"
        agent.run("hidden", {"shell": f"setsid env -i /bin/sh -c '{inner}' & while ! test -s daemon; do :; done"})
        agent.assign("later", wait)
        agent.expect(Accepted, lambda message: message.task == "later")

        (agent.attempt_folder("beside") / "go").touch()
        agent.expect(Finished, lambda message: message.task == "beside")

        assert not is_alive(read_pid(daemon))


def test_zombies_do_not_pile_up_while_an_attempt_runs(agent: AgentProcess) -> None:
    """Its orphans become the agent's children, and are collected when they end."""
    orphan = "(setsid true &)"
    agent.assign("t", {"shell": f"for i in $(seq 100); do {orphan}; done; touch made; exec sleep 1000"})
    wait_for((agent.attempt_folder("t") / "made").exists, "a hundred orphans")

    assert wait_for(lambda: len(list_children(agent.agent_pid)) == 1, "none but the program itself below the agent")


def test_a_program_that_ignores_sigterm_is_killed_after_the_grace_period(agent: AgentProcess) -> None:
    """The answer to the cancellation comes when it is dead."""
    agent.assign("t", {"shell": "trap '' TERM; echo $$ > pid; while :; do sleep 1; done"})
    pid = read_pid(agent.attempt_folder("t") / "pid")

    agent.deliver(Cancel(task=TaskUid("t"), attempt=1, reason="Cancelled"))
    end = agent.expect(Finished)

    assert (end.outcome, end.reason) == ("Cancelled", "Cancelled")
    assert not is_alive(pid)


def test_time_runs_out_for_a_program_that_takes_too_long(agent: AgentProcess) -> None:
    """All its processes end, and another try is allowed."""
    agent.assign("t", {"shell": "sleep 1000 & echo $! > pid; wait"}, timeout_seconds=0.3)
    pid = read_pid(agent.attempt_folder("t") / "pid")

    end = agent.expect(Finished)

    assert (end.outcome, end.reason, end.retryable) == ("Failed", "DeadlineExceeded", True)
    assert not is_alive(pid)


def test_output_that_is_not_utf_8_is_replaced_in_the_message_and_kept_in_the_file(agent: AgentProcess) -> None:
    """No byte that a program prints can break a reader of the log."""
    end = agent.run("t", {"shell": r"printf '\377\376ok'; printf '\300bad' >&2; exit 1"})

    assert end.result == "��ok"
    assert end.message.endswith("�bad")
    assert (agent.attempt_folder("t") / "result" / "stdout").read_bytes() == b"\xff\xfeok"


def test_a_signal_is_told_by_its_name(agent: AgentProcess) -> None:
    """128 + number, as shells say it."""
    end = agent.run("t", {"shell": "kill -SEGV $$"})

    assert (end.reason, end.exit_code, end.retryable) == ("Signalled", 139, True)
    assert "SIGSEGV" in end.message


def test_a_task_without_a_program_says_so(agent: AgentProcess) -> None:
    """The Agent has no program by default, and the Task names none."""
    end = agent.run("t", prompt="do something")

    assert (end.reason, end.retryable) == ("NoCommand", False)


def test_a_program_that_removes_its_folder_ends_like_any_other(agent: AgentProcess) -> None:
    """Its result cannot be written, which is a failure with a reason."""
    end = agent.run("t", {"shell": 'rm -rf "$PWD"; echo done'})

    assert (end.outcome, end.reason) == ("Failed", "ResultNotWritten")


def test_what_is_printed_is_not_written_through_a_link(agent: AgentProcess) -> None:
    """A program that puts a link in the place of its result folder fails, and what the link names stays as it was."""
    outside = agent.layout.root / "outside"
    outside.mkdir()

    end = agent.run("t", {"shell": f"rm -r result; ln -s '{outside}' result; echo secret"})

    assert (end.outcome, end.reason) == ("Failed", "ResultNotWritten")
    assert not (outside / "stdout").exists()


def test_the_agent_serves_on_after_a_bad_program(agent: AgentProcess) -> None:
    """One after another, and the last is a good one."""
    commands: list[dict[str, Any]] = [{"args": ["/no/such"]}, {"shell": "kill -9 $$"}, {"shell": "exit 78"}]
    for number, command in enumerate(commands):
        agent.run(f"bad-{number}", command)

    assert agent.run("good", {"args": ["echo", "fine"]}).result == "fine\n"


def test_a_loud_program_does_not_hold_up_the_others(tmp_path: Path) -> None:
    """While one prints without end, another is started and ends."""
    with AgentProcess(tmp_path, {"WATCHBILL_SLOTS": "2", "WATCHBILL_COMMAND": '{"graceSeconds": 0}'}) as agent:
        agent.assign("loud", {"args": ["yes"]})
        agent.expect(Accepted, lambda message: message.task == "loud")

        end = agent.run("quiet", {"args": ["true"]})

        assert end.outcome == "Succeeded"
        wait_for(lambda: "loud/1" in agent.heartbeat()["running"], "a heartbeat that names it")
