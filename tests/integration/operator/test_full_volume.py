"""A volume without space: nothing is done that could not be recorded, and all goes on when there is room."""

from __future__ import annotations

import contextlib
import itertools
import os
import resource
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from support.api_server import ApiServer
from support.operator_process import AGENTS, TASKS, OperatorProcess, task
from support.played_agent import play
from support.waiting import wait_for
from watchbill_coordination.coordinator.verify import verify
from watchbill_coordination.projections.watermark import parse_watermark
from watchbill_coordination.storage.layout import Layout
from watchbill_operator.projecting import QUEUE_SECONDS, RETRY_SECONDS

NOT_WRITTEN = "projections are not written"
Start = Callable[..., OperatorProcess]


@contextmanager
def full_volume(operator: OperatorProcess) -> Iterator[None]:
    """Let this process write no file beyond what the log has now, as on a full volume."""
    assert operator.process is not None
    size = (operator.root / "orchestration" / "event-log.jsonl").stat().st_size
    former = resource.prlimit(operator.process.pid, resource.RLIMIT_FSIZE, (size + 50, resource.RLIM_INFINITY))
    yield
    resource.prlimit(operator.process.pid, resource.RLIMIT_FSIZE, former)


def test_a_full_volume_holds_new_work_and_says_so(server: ApiServer, operator: Start) -> None:
    """What cannot be recorded is not acted on; with space it is taken up again, in the same process."""
    one = operator().lead()
    with full_volume(one):
        server.create(TASKS, task("a"))
        wait_for(lambda: one.get("/readyz")[0] == 503, "it says that it cannot record")
        assert "event-log.jsonl" in one.get("/readyz")[1]
        assert one.get("/healthz")[0] == 200
        assert server.get(f"{TASKS}/a")["status"]["reason"] == "AwaitingOperator"
        assert one.calls("patch") == 0

    wait_for(lambda: server.get(f"{TASKS}/a")["status"]["reason"] == "NoSuchAgent", "the work goes on")
    assert one.get("/readyz")[0] == 200
    assert one.is_alive


@pytest.fixture
def small_volume(tmp_path: Path) -> Iterator[Path]:
    """A volume of 32 MiB and a thousand files where operators of these tests have theirs."""
    root = tmp_path / "volume"
    root.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32m,nr_inodes=1000", "none", root], check=False).returncode:
        pytest.skip("this user may not mount")
    yield root
    subprocess.run(["umount", "-l", root], check=True)


def fill(root: Path, *, leave: int = 0) -> Path:
    """Write until no more goes in, then take `leave` bytes back; return the file."""
    junk = root / "junk"
    with junk.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 65536)
    os.truncate(junk, junk.stat().st_size - leave)
    return junk


def fill_with_files(root: Path) -> Path:
    """Make empty files until there can be no more: the log can still be written to, and nothing be replaced."""
    junk = root / "junk"
    junk.mkdir()
    with contextlib.suppress(OSError):
        for number in itertools.count():
            (junk / str(number)).touch()
    return junk


def lag(operator: OperatorProcess) -> int:
    """How many records the queue on the volume is behind the log."""
    watermark = parse_watermark((operator.root / "orchestration" / "task-queue.json").read_bytes())
    assert watermark
    return len(operator.types()) - watermark.seq


def find_status(server: ApiServer, name: str, reason: str) -> dict[str, Any]:
    """The status of a Task that stands where it stands for that reason; empty before it does."""
    status: dict[str, Any] = server.get(f"{TASKS}/{name}").get("status") or {}
    return status if status.get("reason") == reason else {}


def find_condition(server: ApiServer, name: str) -> dict[str, Any]:
    """The condition VolumeFull of an Agent; empty where it has none."""
    conditions = (server.get(f"{AGENTS}/{name}").get("status") or {}).get("conditions") or []
    return next((each for each in conditions if each["type"] == "VolumeFull"), {})


def wait_until_noticed(server: ApiServer, operator: OperatorProcess) -> None:
    """Have it look until it knows: it does so once a second, and only where there is something to do."""
    for number in itertools.count():
        server.create(TASKS, task(f"word-{number}", suspend=True))
        wait_for(lambda name=f"word-{number}": find_status(server, name, "Suspended"), "it has looked")
        if operator.metric("watchbill_volume_full"):
            return


@pytest.mark.parametrize("leave", [0, 2 << 20], ids=["to the last byte", "but for 2 MiB"])
def test_on_a_full_volume_nothing_new_is_given_and_all_is_told(
    server: ApiServer, operator: Start, small_volume: Path, leave: int
) -> None:
    """Tasks wait with that reason, the Agents have the condition; with space all goes on by itself."""
    one = operator().lead()
    agent = play(server, one.root)
    wait_for(lambda: "ReplicaRegistered" in one.types(), "the replica is ready")
    junk = fill(small_volume, leave=leave)
    wait_until_noticed(server, one)

    server.create(TASKS, task("a", agentRef="blue"))
    waiting = wait_for(lambda: find_status(server, "a", "VolumeFull"), "the task waits for room") or {}
    assert waiting["phase"] == "Queued"
    assert f"the volume {small_volume} is full" in waiting["message"].lower()
    condition = wait_for(lambda: find_condition(server, "blue"), "the Agent has the condition") or {}
    assert (condition["status"], condition["reason"]) == ("True", "VolumeFull")
    assert one.get("/readyz")[0] == 503
    assert "is full: running work goes on" in one.get("/readyz")[1]
    assert one.metric("watchbill_volume_full") == 1
    assert "TaskDispatched" not in one.types()

    junk.unlink()
    agent.begin()
    assert agent.take().task
    wait_for(lambda: not find_condition(server, "blue"), "the condition is gone")
    assert one.get("/readyz") == (200, "ok\n")
    assert one.metric("watchbill_volume_full") == 0
    assert one.log.count("is full: running work goes on") == 1


def test_running_work_ends_on_a_volume_with_little_room(server: ApiServer, operator: Start, small_volume: Path) -> None:
    """Its result is taken; only what has not begun is held."""
    one = operator().lead()
    agent = play(server, one.root)
    server.create(TASKS, task("a", agentRef="blue"))
    order = agent.take()
    fill(small_volume, leave=1 << 20)
    server.create(TASKS, task("b", agentRef="blue"))
    wait_for(lambda: agent.look() and find_status(server, "b", "VolumeFull"), "the next one waits for room")

    agent.end(order, "Succeeded")

    wait_for(lambda: find_status(server, "a", "Succeeded"), "the first one has succeeded")
    assert server.get(f"{TASKS}/b")["status"]["phase"] == "Queued"


def test_projections_that_could_not_be_written_are_once_there_is_room(
    server: ApiServer, operator: Start, small_volume: Path
) -> None:
    """Nothing else happens meanwhile that would make the operator look; it does not try all the time either."""
    began = time.monotonic()
    one = operator().lead()
    queue = one.root / "orchestration" / "task-queue.json"
    wait_for(lambda: not lag(one) and time.time() - queue.stat().st_mtime > QUEUE_SECONDS, "the queue is due again")
    junk = fill_with_files(small_volume)
    server.create(TASKS, task("a"))
    wait_for(lambda: find_status(server, "a", "NoSuchAgent"), "the task is recorded")
    wait_for(lambda: one.log.count(NOT_WRITTEN) > 1, "they cannot be written, again and again")
    assert lag(one) > 0

    shutil.rmtree(junk)
    wait_for(lambda: not lag(one), "the queue is that of the log")

    assert verify(Layout(one.root)).is_whole
    tries, seconds = one.log.count(NOT_WRITTEN), time.monotonic() - began
    assert tries <= seconds / RETRY_SECONDS + 1


def test_a_volume_that_is_full_at_the_start_is_waited_for(
    server: ApiServer, operator: Start, small_volume: Path
) -> None:
    """Ending would not make room, and would look like a crash."""
    junk = fill(small_volume)
    one = operator().start()
    wait_for(lambda: one.status.get("http") and "is full: make room on it" in one.get("/readyz")[1], "it says so")
    assert one.is_alive

    junk.unlink()
    one.wait_until_leading()
