"""Where a key may be found after sessions that tried to get hold of it: where it was put, and nowhere else."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.claude_pool import ClaudePool, claude_pool
from support.model_scenarios import Body, Step, runs, says, uses
from support.model_stub import ModelStub
from support.secret_search import find_files, find_processes
from support.system import System

pytest.importorskip("claude_agent_sdk", reason="Claude Code is not installed: scripts/environment complete")
pytestmark = pytest.mark.claude

MARKED = "dummy-key-marked-7f3a9c51e2"
THIEF = Path(__file__).resolve().parents[1] / "support" / "key_thief.py"
STEAL = """import re, thief
thief.MARKED = re.compile(b"dummy-key-marke[d]")
thief.find_tops = lambda **_: ["/watchbill", "/tmp", "/etc", "/home", "/run", "/var"]  # the rest is the Python itself
thief.steal(alone=True)
"""
TRIES = (
    "env; set; cat /proc/self/environ /proc/*/environ /proc/*/cmdline 2>/dev/null | tr '\\0' '\\n'; true",
    "ls -laR /watchbill 2>&1; cat /watchbill/credentials/* /watchbill/broker/* /watchbill/ledger/* 2>&1; true",
    "cat /proc/*/mountinfo 2>/dev/null | head -100; cat /proc/*/root/watchbill/credentials/* 2>&1; true",
    "{python} steal.py",
)
ASK_THE_BROKER = """
import glob, http.client, json, os, socket
class Local(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.host)
for path in glob.glob("/watchbill/broker/*.sock") + [os.environ.get("ANTHROPIC_UNIX_SOCKET", "")]:
    for target in ("/watchbill/usage", "/", "/v1/messages", "/../credentials/ANTHROPIC_API_KEY", "/v1/models"):
        for method in ("GET", "TRACE", "POST"):
            try:
                there = Local(path)
                there.request(method, target, body=b"{}", headers={"X-Api-Key": "mine", "Connection": "X-Api-Key"})
                answer = there.getresponse()
                print(method, target, answer.status, answer.getheaders(), answer.read()[:2000])
            except Exception as error:
                print(method, target, error)
"""


@pytest.fixture(scope="module")
def robbed(make_system: object, stub: ModelStub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClaudePool]:
    """A system whose model tried everything that it could think of, with the tools of a green agent."""
    system: System = make_system(tmp_path_factory.mktemp("robbed") / "home")  # type: ignore[operator]
    done = system.start()
    assert done.code == 0, done.err
    steps = [
        uses("Write", {"file_path": "thief.py", "content": THIEF.read_text()}),
        uses("Write", {"file_path": "steal.py", "content": STEAL}),
        uses("Write", {"file_path": "ask.py", "content": ASK_THE_BROKER}),
        *(runs(line.replace("{python}", system.python)) for line in TRIES),
        runs(f"{system.python} ask.py"),
        says("I have tried everything."),
    ]

    def play(number: int, _body: Body) -> Step:
        return steps[min(number, len(steps) - 1)]

    try:
        with claude_pool(system, stub, "thief") as pool:
            pool.put_key(MARKED)
            pool.declare(stub.play("thief", play))
            status = system.wait_for_phase(pool.submit("theft"), seconds=100)
            assert status["phase"] == "Succeeded", status
            yield pool
    finally:
        system.stop()


def test_the_model_saw_nothing_of_the_key(robbed: ClaudePool) -> None:
    """Whatever its tools printed went into its next request, and the key into the header alone."""
    if "user processes" in json.dumps(robbed.system.list("nodes")) or os.getuid() != 0:
        pytest.skip("without namespaces pods are plain processes of one user, who may read what is his")
    said = json.dumps([request.body for request in robbed.requests()])

    assert len(robbed.requests()) >= len(TRIES) + 4
    assert MARKED not in said
    assert MARKED in {request.headers["x-api-key"] for request in robbed.requests()}


def test_no_file_but_its_own_places_holds_the_key(robbed: ClaudePool) -> None:
    """Plain, reversed, in hex or base64: the API server's store and the broker's mount are the two places."""
    mounted = robbed.system.secret_volume("thief-0", "credentials")

    found = {path for place in robbed.system.written for path in find_files(place, MARKED)}

    elsewhere = {path for path in found if not path.is_relative_to(mounted) and "api-server" not in path.parts}
    assert elsewhere == set()
    assert any(path.is_relative_to(mounted) for path in found)


@pytest.mark.local("an API server whose store is a file of its user")
def test_the_places_that_hold_the_key_are_private(robbed: ClaudePool) -> None:
    """The API server's store can be read by its user alone."""
    if robbed.system.has_guards:
        pytest.skip("etcd's folder is that of the real control plane")
    for path in find_files(robbed.system.home / "api-server", MARKED):
        assert path.stat().st_mode & 0o077 == 0, path


def test_no_process_shows_the_key(robbed: ClaudePool) -> None:
    """Neither in its command line nor in its environment."""
    assert list(find_processes(MARKED)) == []


def test_what_people_are_told_does_not_hold_the_key(robbed: ClaudePool) -> None:
    """Objects but the Secret, logs of both containers, the event log, the transcript."""
    system = robbed.system
    told = [
        system.kubectl("get", "agents,tasks,pods,configmaps,events", "-o", "yaml"),
        *(system.kubectl("logs", "thief-0", "-c", container) for container in ("agent", "broker")),
        system.watchbill("events", "-o", "json").out,
        system.watchbill("transcript", "theft", "-o", "json").out,
    ]

    assert all(told)
    assert [text for text in told if MARKED in text] == []
