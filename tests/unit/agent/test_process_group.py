"""Finding and ending the processes below one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from support.agent_process import is_alive
from support.waiting import wait_for
from watchbill_agent import process_group


@pytest.fixture
def tree() -> Iterator[subprocess.Popen[bytes]]:
    """A shell in a session of its own with two children, one of which left the session."""
    line = "setsid sleep 1000 & sleep 1000 & wait"
    environment = os.environ | {"WATCHBILL_TEST_MARK": "a tree"}
    process = subprocess.Popen(["/bin/sh", "-c", line], start_new_session=True, env=environment)
    wait_for(lambda: len(process_group.list_children(process.pid)) == 2, "both children")
    yield process
    process_group.kill({process.pid, *process_group.list_descendants(process.pid)}, signal.SIGKILL)
    process.wait()


def test_both_ways_to_find_children_agree(tree: subprocess.Popen[bytes]) -> None:
    """Where the kernel lists them, and where every process must be looked at."""
    assert process_group.scan_children(tree.pid) == process_group.list_children(tree.pid)


def test_a_process_that_is_gone_has_no_children() -> None:
    """And that is no error."""
    process = subprocess.Popen(["true"])
    process.wait()

    assert process_group.list_children(process.pid) == set()
    assert process_group.scan_children(process.pid) == set()


def test_marked_processes_are_found_whatever_their_parents(tree: subprocess.Popen[bytes]) -> None:
    """All marks must be there."""
    family = {tree.pid, *process_group.list_descendants(tree.pid)}

    assert process_group.find_marked(b"WATCHBILL_TEST_MARK=a tr", b"PATH=") == family
    assert process_group.find_marked(b"WATCHBILL_TEST_MARK=a tr", b"NO_SUCH_NAME=") == set()


def test_ending_all_waits_until_they_are_gone(tree: subprocess.Popen[bytes]) -> None:
    """What left its session too."""
    family = process_group.list_descendants(tree.pid)
    assert len(family) == 2

    left = process_group.end_all(lambda: process_group.list_descendants(tree.pid))

    assert not left
    assert tree.wait(10) == 0


def test_a_process_that_forks_and_ends_in_every_moment_is_not_overlooked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two looks it has another number; only the program that the agent started itself is left alone."""
    looks = iter([{11, 12}, {11, 13}])
    monkeypatch.setattr(process_group, "_list_own_children", lambda: next(looks))
    monkeypatch.setattr(process_group, "reap", lambda pids: None)

    assert process_group.find_orphans({11}) == {13}


def test_a_child_dies_with_its_parent_if_it_asked_for_it() -> None:
    """The kernel tells it."""
    program = (
        "import os, signal, sys\n"
        "from watchbill_agent.process_group import die_with_parent\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    die_with_parent(signal.SIGKILL)\n"
        "    print(os.getpid(), flush=True)\n"
        "signal.pause()\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())

        parent.kill()

        assert wait_for(lambda: not is_alive(child), "the child to die")
