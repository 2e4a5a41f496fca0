"""Coordination volumes as real clusters give them: for one node, for several, too small, or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from support.kind_cluster import RunCluster
from support.kind_system import CLAIM, DEPLOYMENT, KindSystem, started
from support.kind_tools import run_tool
from support.local_system import agent, shell, task
from support.waiting import wait_for

pytestmark = pytest.mark.kind

MakeSystem = Callable[..., KindSystem]
SMALL = 48 << 20  #: bytes


def claim(**spec: Any) -> list[Mapping[str, Any]]:
    """A kustomize patch of the claim; a member that is None is taken away."""
    patch = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": CLAIM}, "spec": spec}
    return [{"patch": json.dumps(patch)}]


@contextmanager
def installed(system: KindSystem) -> Iterator[KindSystem]:
    """Apply it without waiting, since it cannot start; take it away in the end."""
    system.prepare()
    system.kubectl("apply", "-k", str(system.folder / "overlay"))
    try:
        yield system
    finally:
        system.stop(check_rights=False)


def test_the_overlays_volume_belongs_to_one_node(system: KindSystem) -> None:
    """kind's default class takes no other mode."""
    spec = (system.get("pvc", CLAIM) or {})["spec"]

    assert (spec["accessModes"], spec["storageClassName"]) == (["ReadWriteOnce"], "standard")


def test_a_volume_that_several_nodes_can_mount_serves_operator_and_agents(
    make_system: MakeSystem, cluster: RunCluster, tmp_path: Path
) -> None:
    """ReadWriteMany, of the class that has it: what one agent made, the next one reads."""
    if not cluster.kubectl("get", "storageclass", "shared", "--ignore-not-found").strip():
        pytest.skip("this node image has no class with ReadWriteMany: the one of `make kind-node` has")
    patches = claim(accessModes=["ReadWriteMany"], storageClassName="shared")
    with started(make_system(tmp_path / "home", {"blue": 2}, patches=patches)) as system:
        read = shell('cat "$WATCHBILL_CONTEXT"/results/*/stdout')
        system.apply(task("first", command=shell("echo made")), task("second", dependsOn=["first"], command=read))

        assert system.wait_for_phase("second")["result"].strip() == "made"
        assert (system.get("pvc", CLAIM) or {})["status"]["accessModes"] == ["ReadWriteMany"]


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"storageClassName": "no-such-class"}, "no-such-class"),
        ({"accessModes": ["ReadWriteMany"], "storageClassName": "standard"}, "ReadWriteMany"),
    ],
    ids=["class-missing", "mode-refused"],
)
def test_a_claim_that_never_binds_is_told_in_one_sentence(
    make_system: MakeSystem, tmp_path: Path, spec: Mapping[str, Any], words: str
) -> None:
    """`watchbill doctor` names the claim and what is wrong with it."""
    with installed(make_system(tmp_path / "home", patches=claim(**spec))) as system:

        def told() -> list[str]:
            said = system.watchbill("doctor").out.splitlines()
            return [line for line in said if f"the claim {CLAIM} has no volume" in line and words in line]

        wait_for(told, "the doctor says it")
        assert (system.get("pvc", CLAIM) or {})["status"]["phase"] == "Pending"


@pytest.fixture
def small_volume(cluster: RunCluster, tmp_path: Path) -> Iterator[Callable[[KindSystem], None]]:
    """Makes a volume of 48 MiB for the claim of a system; the node's memory holds it."""
    made: list[str] = []

    def make(system: KindSystem) -> None:
        place, name = small_place(system), f"small-{system.namespace}"
        exec_in_node(cluster, f"mkdir {place} && mount -t tmpfs -o size={SMALL},mode=0777 none {place}")
        made.append(name)
        body = {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": name},
            "spec": {
                "capacity": {"storage": "5Gi"},
                "accessModes": ["ReadWriteOnce"],
                "storageClassName": "",
                "persistentVolumeReclaimPolicy": "Retain",
                "hostPath": {"path": place},
                "claimRef": {"namespace": system.namespace, "name": CLAIM},
            },
        }
        done = system.apply(body)
        assert done.code == 0, done.err

    yield make
    for name in made:
        cluster.kubectl("delete", "pv", name, "--wait=false", "--ignore-not-found")


def small_place(system: KindSystem) -> str:
    """Where the node has the small volume."""
    return f"/var/small-{system.namespace}"


def exec_in_node(cluster: RunCluster, line: str) -> str:
    """Run a line as root of the node."""
    return run_tool("docker", "exec", cluster.node, "sh", "-c", line)


def test_a_full_volume_holds_new_work_until_there_is_room_again(
    make_system: MakeSystem, small_volume: Callable[[KindSystem], None], cluster: RunCluster, tmp_path: Path
) -> None:
    """The Agent has a condition, the Task says why it waits, the operator goes on; with room the Task is done."""
    system = make_system(tmp_path / "home", patches=claim(storageClassName=""))
    system.prepare()
    small_volume(system)
    with started(system):
        system.apply(agent("blue"))
        system.kubectl("wait", "--for=condition=Ready", "agent/blue", "--timeout=90s")
        restarts = count_restarts(system)
        exec_in_node(cluster, f"dd if=/dev/zero of={small_place(system)}/filler bs=1M || true")
        system.kubectl("wait", "--for=condition=VolumeFull", "agent/blue", "--timeout=90s")

        system.apply(task("waits", command=shell("echo done")))

        wait_for(lambda: system.status("waits").get("reason") == "VolumeFull", "the Task says why it waits")
        assert "new work is held until 8 MiB are free" in system.status("waits")["message"]
        assert system.status("waits").get("attempts", 0) == 0
        exec_in_node(cluster, f"rm {small_place(system)}/filler")
        assert system.wait_for_phase("waits")["phase"] == "Succeeded"
        wait_for(lambda: "VolumeFull" not in conditions(system), "the condition is gone")
        assert count_restarts(system) == restarts


def conditions(system: KindSystem) -> list[str]:
    """Of the Agent: the types that hold or not."""
    return [each["type"] for each in (system.get("agent", "blue") or {})["status"]["conditions"]]


def count_restarts(system: KindSystem) -> int:
    """Of the operator."""
    pods = system.list("pods", "-l", "app.kubernetes.io/name=watchbill-operator")
    assert len(pods) == 1, f"{DEPLOYMENT} has {len(pods)} pods"
    return int(pods[0]["status"]["containerStatuses"][0]["restartCount"])
