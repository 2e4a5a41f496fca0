"""Two operators: an expired Lease, a leader that was paused and comes back, and the fences that meet it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest

from support.rivals import RivalOperator, end_own, start_rival
from support.system import System, agent, shell, task
from support.waiting import wait_for
from support.workload import COMMAND, check_done_once, create, load_state, wait_for_successes

pytestmark = pytest.mark.long  # programs are killed or paused, and everybody waits until they are missed

MORE = 20
GATE = "go-on"  #: a file that running tasks wait for
WORK = "agent-workspaces/*/work/*"
REPLACED = 75

Start = Callable[[str], RivalOperator]


@pytest.fixture
def rival(own_system: System) -> Iterator[Start]:
    """Starts operators in the place of the system's own one."""
    environment = end_own(own_system)
    started: list[RivalOperator] = []

    def start(name: str) -> RivalOperator:
        started.append(start_rival(own_system, name, environment))
        return started[-1]

    yield start
    for operator in started:
        operator.end()


def idle(_: System) -> list[str]:
    """Nothing is done."""
    return []


def running(system: System) -> list[str]:
    """Each agent has a task that ends while the leader is away."""
    names = [f"long{number}" for number in range(2)]
    waiting = f"until [ -e ../{GATE} ]; do sleep 0.05; done; {COMMAND}"
    system.apply(*(task(name, command=shell(waiting)) for name in names))
    for name in names:
        system.wait_for_phase(name, "Running")
    wait_for(lambda: len(list(system.root.glob(WORK))) == len(names), "both have begun")
    return names


def crowded(system: System) -> list[str]:
    """Many tasks are queued, some are running, patches are under way."""
    names = create(system, 120, "early")
    wait_for_successes(system, 10)
    return names


@pytest.mark.parametrize("moment", [idle, running, crowded])
def test_a_leader_that_comes_back_from_a_pause_changes_nothing(
    own_system: System, rival: Start, moment: Callable[[System], list[str]]
) -> None:
    """The second takes over though the first one's process lives; the first ends by itself, and nobody reads it."""
    first = rival("first")
    first_epoch = first.wait_until_leading()
    names = moment(own_system)
    first.pause()
    for folder in own_system.root.glob(WORK):
        (folder / GATE).touch()

    second = rival("second")
    epoch = second.wait_until_leading()
    names += create(own_system, MORE, "late")
    wait_for_successes(own_system, len(names))
    last_seq = load_state(own_system).seq
    written = len(own_system.audited())
    first.resume()

    assert first.wait() == REPLACED, first.log[-3000:]
    assert "another operator leads" in first.log
    assert epoch > first_epoch
    names += create(own_system, MORE, "after")
    check_done_once(own_system, names)
    records = own_system.events()
    assert {record["ep"] for record in records if record["seq"] > last_seq} == {epoch}
    assert [record["seq"] for record in records] == list(range(1, len(records) + 1))
    unwanted = {"AttemptLost", "ResultRefused", "ReplicaLost", "AttemptFailed"}
    assert not unwanted & {record["type"] for record in records if record["ep"] in (first_epoch, epoch)}
    if own_system.has_guards:
        accepted = {what for _, what, code in first.writes(written) if code < 300}
        assert accepted <= {"tasks/status", "agents/status", "events"}


@pytest.mark.parametrize("kind", ["task", "agent"])
def test_a_status_of_a_former_epoch_is_refused_by_the_server(system: System, kind: str) -> None:
    """Whoever sends it: the words are those of the rule in the CRD."""
    system.apply(task("fenced", command=shell("true")), agent("fenced", replicas=0))
    system.wait_for_phase("fenced")
    system.kubectl("wait", "--for=jsonpath={.status.observedGeneration}=1", "agent/fenced", "--timeout=90s")
    status = (system.get(kind, "fenced") or {})["status"]

    refused = [
        system.try_kubectl(
            "patch", kind, "fenced", "--subresource=status", "--type=merge", "-p", json.dumps({"status": late})
        )
        for late in (
            {"epoch": status["epoch"] - 1, "lastSeq": status["lastSeq"] + 9},
            {"epoch": status["epoch"], "lastSeq": status["lastSeq"] - 1},
        )
    ]

    assert [done.code for done in refused] == [1, 1]
    assert "epoch never goes down" in refused[0].err
    assert "lastSeq never goes down" in refused[1].err
