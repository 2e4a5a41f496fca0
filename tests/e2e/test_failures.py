"""The control plane fails while the system works: nothing is lost, nothing is done twice."""

from __future__ import annotations

import json
import os
import signal
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.local_system import LocalSystem
from support.rivals import end_own, start_rival
from support.system import agent, args, task
from support.waiting import wait_for
from support.workload import check_done_once, create, wait_for_successes

pytestmark = [
    pytest.mark.long,  # programs are killed or paused, and everybody waits until they are missed
    pytest.mark.local("a control plane that nobody else uses meanwhile"),
]

TASKS = 200
NOTICED_SECONDS = 25.0  #: much less than the minute between two comparisons of everything
PATH = "/apis/watchbill.dev/v1alpha1/namespaces/{}/tasks"
CRDS = Path(__file__).parents[2] / "crds"


def kill_server(system: LocalSystem) -> None:
    """SIGKILL the API server."""
    if system.plane is not None:
        system.plane.kill("kube-apiserver")
    else:
        os.kill(system.pid("api-server"), signal.SIGKILL)


def restart_server(system: LocalSystem) -> None:
    """Start the API server again."""
    if system.plane is not None:
        system.plane.restart("kube-apiserver")
    else:
        done = system.watchbill("start")
        assert done.code == 0, done.err


def test_an_api_server_killed_in_the_middle_of_200_tasks_costs_nothing(breakable_system: LocalSystem) -> None:
    """Agents go on meanwhile; each task is done once and each status is right afterwards."""
    names = create(breakable_system, TASKS)
    wait_for_successes(breakable_system, 20)

    kill_server(breakable_system)
    restart_server(breakable_system)

    check_done_once(breakable_system, names)


def test_an_etcd_killed_in_the_middle_of_200_tasks_costs_nothing(breakable_system: LocalSystem) -> None:
    """The API server answers with errors meanwhile; each task is done once and each status is right afterwards."""
    if breakable_system.plane is None:
        pytest.skip("the small API server has no etcd: its store is a part of it")
    names = create(breakable_system, TASKS)
    wait_for_successes(breakable_system, 20)

    breakable_system.plane.restart("etcd")

    check_done_once(breakable_system, names)


@contextmanager
def paused(system: LocalSystem, *names: str) -> Iterator[None]:
    """Processes of the system stand still meanwhile."""
    pids = [system.pid(name) for name in names]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def forget_history(system: LocalSystem) -> None:
    """Let the control plane forget every version of before."""
    if system.plane is not None:
        system.plane.compact()
    kill_server(system)
    restart_server(system)


def has_forgotten(system: LocalSystem) -> bool:
    """Whether its history is gone. The small server keeps 2,000 changes of each kind over a restart."""
    return system.plane is not None


def wait_for_comparison(system: LocalSystem) -> None:
    """Wait until the operator has compared everything for the third time: next it does so in a minute, or in doubt."""
    sample = 'watchbill_api_calls_total{code="200",resource="tasks",verb="list"}'

    def lists() -> float:
        address = json.loads((system.home / "run" / "operator-status.json").read_text())["http"]
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as answer:
            told = [line for line in answer.read().decode().splitlines() if line.startswith(sample)]
        return float(told[0].split()[-1]) if told else 0.0

    wait_for(lambda: lists() >= 3, "everything was compared after the start")


def test_what_vanished_beyond_the_watched_history_is_noticed(breakable_system: LocalSystem) -> None:
    """The versions that operator and node go on from are gone (410): both look at everything anew, and soon."""
    system = breakable_system
    system.apply(agent("crew", replicas=2), task("old", agentRef="nobody", prompt="x"))
    system.wait_for_phase("old", "Pending", "Queued")
    wait_for(lambda: (system.get("agent", "crew") or {})["status"].get("readyReplicas") == 2, "two are ready")
    path = PATH.format(system.namespace)
    version = json.loads(system.kubectl("get", "--raw", path))["metadata"]["resourceVersion"]
    wait_for_comparison(system)
    former = {pod["metadata"]["uid"] for pod in system.list("pods", "-l", "watchbill.dev/agent=crew")}

    with paused(system, "operator", "node"):
        kill_server(system)  # what an open connection brings is read after the pause
        restart_server(system)
        system.kubectl("delete", "task", "old")
        system.kubectl("delete", "pod", "crew-0", "crew-1", "--grace-period=0", "--force")
        forget_history(system)
        system.apply(task("new", agentRef="crew", command=args("true")))
        query = f"{path}?watch=true&resourceVersion={version}&timeoutSeconds=1"
        said = system.try_kubectl("get", "--raw", query)
    assert ("too old resource version" in said.out + said.err) == has_forgotten(system)

    wait_for(
        lambda: [event for event in system.events() if event["type"] == "TaskDeleted"],
        "the deletion is recorded",
        NOTICED_SECONDS,
    )
    assert system.wait_for_phase("new", seconds=NOTICED_SECONDS)["phase"] == "Succeeded"
    wait_for(lambda: (system.get("agent", "crew") or {})["status"].get("readyReplicas") == 2, "two are ready again")
    assert former.isdisjoint(pod["metadata"]["uid"] for pod in system.list("pods", "-l", "watchbill.dev/agent=crew"))
    assert system.watchbill("verify").code == 0


def test_crds_that_come_late_or_anew_are_waited_for(breakable_system: LocalSystem) -> None:
    """An operator without them says so and goes on once they are there, at its start as in the midst of its work."""
    system = breakable_system
    environment = end_own(system)
    system.kubectl("delete", "-k", str(CRDS))

    operator = start_rival(system, "late", environment)
    try:
        wait_for(lambda: "waiting: the CRDs are not installed yet" in operator.log, "it waits for the CRDs")
        system.kubectl("apply", "-k", str(CRDS))
        operator.wait_until_leading()
        do_one(system, "first")

        system.kubectl("delete", "-k", str(CRDS))
        wait_for(lambda: operator.log.count("waiting: the CRDs are not installed yet") == 2, "it waits for them again")
        system.kubectl("apply", "-k", str(CRDS))

        do_one(system, "second")
        assert operator.process.poll() is None
    finally:
        operator.end()


def do_one(system: LocalSystem, name: str) -> None:
    """Make a pool of that name and have it do a task."""
    objects = (agent(name), task(name, agentRef=name, command=args("true")))
    wait_for(lambda: system.apply(*objects).code == 0, "the CRDs are served")
    assert system.wait_for_phase(name, seconds=40)["phase"] == "Succeeded"
