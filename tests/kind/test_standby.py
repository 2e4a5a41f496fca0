"""Two operators in a cluster: one leads, the other stands by, and whoever is next need not wait for a Lease's end."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from support.kind_system import DEPLOYMENT, MANIFESTS, OPERATOR, KindSystem
from support.waiting import wait_for
from support.workload import check_done_once, create, load_state
from watchbill_coordination.core.state import Phase

pytestmark = pytest.mark.kind

LEASE = "watchbill-operator"
EPOCH = "watchbill.dev/epoch"
TASKS = 20
GO = "go"  #: in the folder of a replica's work, beside those of its tasks
HELD = f"until [ -e ../../{GO} ]; do sleep 0.2; done; "
PRODUCTION: Mapping[str, Any] = {"patch": (MANIFESTS / "overlays" / "production" / "operator.yaml").read_text()}
#: Whoever leads within a test has not waited for its end.
LONG_LEASE: Mapping[str, Any] = {
    "target": {"kind": "Deployment", "name": "watchbill-operator"},
    "patch": '[{"op": "add", "path": "/spec/template/spec/containers/0/env/-", '
    '"value": {"name": "WATCHBILL_LEASE_SECONDS", "value": "3600"}}]',
}


@pytest.fixture
def pair(
    request: pytest.FixtureRequest, make_system: Callable[..., KindSystem], tmp_path: Path
) -> Iterator[KindSystem]:
    """A system of its own, two agents, that was scaled to two operators, both of which are ready."""
    system = make_system(tmp_path / "home", {"blue": 2}, patches=[LONG_LEASE, *getattr(request, "param", ())])
    done = system.start()
    try:
        assert done.code == 0, done.err + done.out
        system.kubectl("scale", DEPLOYMENT, "--replicas=2")
        wait_for_two(system)
        yield system
    finally:
        system.stop()


def wait_for_two(system: KindSystem) -> None:
    """Wait until two operators are ready, and no other is left."""
    wait_for(
        lambda: len(words := list(say(system).values())) == 2 and is_ready(system) and "ok\n" in words,
        "two operators are ready, and one of them leads",
    )


def is_ready(system: KindSystem) -> bool:
    """Whether the Deployment has two ready pods, as Kubernetes sees it."""
    found = system.get("deployment", "watchbill-operator") or {}
    return (found.get("status") or {}).get("readyReplicas") == 2


def say(system: KindSystem) -> dict[str, str]:
    """What each operator's /readyz says, by the uid of its pod."""
    words = {}
    for pod in system.list("pods", "-l", OPERATOR):
        path = f"/api/v1/namespaces/{system.namespace}/pods/{pod['metadata']['name']}:8080/proxy/readyz"
        words[pod["metadata"]["uid"]] = system.try_kubectl("get", "--raw", path).out
    return words


def lease(system: KindSystem) -> tuple[str, int]:
    """The uid of the pod that leads, empty where none does, and the epoch."""
    found = system.get("lease", LEASE) or {}
    holder = found["spec"].get("holderIdentity") or ""
    return holder.removeprefix("pod/"), int(found["metadata"]["annotations"][EPOCH])


def name_of(system: KindSystem, uid: str) -> str:
    """The operator's pod with that uid."""
    return next(pod["metadata"]["name"] for pod in system.list("pods", "-l", OPERATOR) if pod["metadata"]["uid"] == uid)


def wait_until_held(system: KindSystem) -> None:
    """Wait until all tasks are in the log, and both agents work."""
    wait_for(lambda: len(tasks := load_state(system).tasks) == TASKS and count_running(tasks) == 2, "both work")


def count_running(tasks: Mapping[Any, Any]) -> int:
    """Of these."""
    return [known.phase for known in tasks.values()].count(Phase.RUNNING)


def let_go(system: KindSystem) -> None:
    """Let all commands that are held go on."""
    for folder in system.root.glob("agent-workspaces/*/work"):
        (folder / GO).touch()


def test_a_second_operator_is_ready_and_stands_by(pair: KindSystem) -> None:
    """Its probe succeeds, and says who leads."""
    leader, _ = lease(pair)

    words = say(pair)

    assert words.pop(leader) == "ok\n"
    assert list(words.values()) == [f"standing by: pod/{leader} leads\n"]


def test_another_operator_leads_at_once_where_the_leaders_pod_is_deleted(pair: KindSystem) -> None:
    """In the middle of tasks, each of which is done once; there is one new epoch."""
    names = create(pair, TASKS, first=HELD)
    wait_until_held(pair)
    leader, epoch = lease(pair)

    pair.kubectl("delete", "pod", name_of(pair, leader), "--wait=false")

    wait_for(lambda: lease(pair)[1] > epoch, "another one leads")
    let_go(pair)
    check_done_once(pair, names)
    assert lease(pair)[0] not in ("", leader)
    assert lease(pair)[1] == epoch + 1


@pytest.mark.parametrize("pair", [[PRODUCTION]], indirect=True, ids=["as in production"])
def test_a_rolling_update_of_two_operators_ends_and_costs_nothing(pair: KindSystem) -> None:
    """The next one is ready before it leads, so that neither waits for the other; agents go on meanwhile."""
    names = create(pair, TASKS, first=HELD)
    wait_until_held(pair)
    former = set(say(pair))

    pair.kubectl("rollout", "restart", DEPLOYMENT)
    pair.kubectl("rollout", "status", DEPLOYMENT, "--timeout=85s")

    wait_for_two(pair)
    assert former.isdisjoint(say(pair))
    let_go(pair)
    check_done_once(pair, names)
