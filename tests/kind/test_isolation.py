"""What a hostile command in a real agent's pod reaches: its own folders, what is shared with all, and nothing else."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from support.kind_system import KindSystem
from support.local_system import agent, args, shell, task
from support.waiting import wait_for

pytestmark = pytest.mark.kind

INTRUDER = Path(__file__).resolve().parents[1] / "support" / "intruder.py"
ONCE = {"retryPolicy": {"maxRetries": 0}}
LEAVE_SECRETS = (
    'echo "$MARK" > /tmp/secret; echo "$MARK" > secret; echo "$MARK" > /watchbill/state/secret; '
    'echo "$MARK" > /watchbill/outbox/secret; touch /watchbill/state/told'
)
PLANT_LINKS = (
    'cd "$WATCHBILL_RESULT"; ln -s /watchbill/coordination/orchestration/event-log.jsonl log; '
    "ln -s ../../../../../orchestration log-beside; ln -s ../../../../../agent-workspaces/neighbour-0/work work"
)


@dataclass(frozen=True, slots=True)
class Intrusion:
    """What the hostile command reported, and the system that it was tried on."""

    system: KindSystem
    mark: str
    report: Mapping[str, Any]

    @property
    def refused(self) -> Mapping[str, str]:
        """What was refused, and how."""
        told: Mapping[str, str] = self.report["refused"]
        return told

    def replica(self, name: str) -> Path:
        """A replica's folders on the volume."""
        return self.system.root / "agent-workspaces" / name

    def uid(self, pod: str) -> int:
        """Under which user a pod was asked to run."""
        return int((self.system.get("pod", pod) or {})["spec"]["securityContext"]["runAsUser"])


@pytest.fixture(scope="module")
def intrusion(system: KindSystem) -> Iterator[Intrusion]:
    """Two agents of one volume: one keeps secrets wherever it can, the other one looks for them."""
    mark = f"mark-{secrets.token_hex(8)}"
    system.apply(agent("neighbour", env=[{"name": "MARK", "value": mark}]), agent("intruder"))
    system.kubectl("wait", "--for=condition=Ready", "agent/neighbour", "agent/intruder", "--timeout=90s")
    keep = task("keep", agentRef="neighbour", prompt=f"keep {mark}", command=shell(f"{LEAVE_SECRETS}; sleep 600"))
    system.apply(keep)
    system.wait_for_phase("keep", "Running")
    wait_for((system.root / "agent-workspaces/neighbour-0/state/told").exists, "secrets are kept")
    program = f"{INTRUDER.read_text()}\nintrude({mark[::-1]!r}, 'neighbour-0')\n"
    body = json.dumps(task("intrude", agentRef="intruder", command=args("python", "-c", program), **ONCE))
    system.kubectl("create", "-f", "-", stdin=body)
    status = system.wait_for_phase("intrude")
    assert status["phase"] == "Succeeded", status
    uid = (system.get("task", "intrude") or {})["metadata"]["uid"]
    report = json.loads((system.root / "shared-context" / "results" / uid / "stdout").read_text())
    yield Intrusion(system, mark, report)
    system.kubectl("delete", "task", "keep", "intrude")
    system.kubectl("delete", "agent", "neighbour", "intruder")


def test_nothing_that_a_hostile_command_tries_succeeds(intrusion: Intrusion) -> None:
    """Root, mounts, devices, namespaces, other folders, other processes, the kernel: each attempt is refused."""
    assert intrusion.report["done"] == {}
    assert len(intrusion.refused) > 60


def test_no_secret_of_another_agent_nor_of_the_log_can_be_read(intrusion: Intrusion) -> None:
    """Files and processes were searched: the copy that the command made itself is found, and no other.

    The mark is in the neighbour's environment, work, state and /tmp, in a file that it put into its outbox, and in the
    event log.
    """
    log = intrusion.system.root / "orchestration" / "event-log.jsonl"

    assert intrusion.report["found"] == ["/watchbill/state/control"]
    assert intrusion.mark in log.read_text()
    assert intrusion.mark in next(intrusion.replica("neighbour-0").glob("work/*/attempt-1/secret")).read_text()


def test_the_volume_is_seen_as_the_replicas_own_folders_alone(intrusion: Intrusion) -> None:
    """Five mounts, each a folder of its own; inbox and shared context read-only."""
    mounts = intrusion.report["self"]["mounts"]
    claim = mounts["/watchbill/shared-context"].removeprefix("ro ").removesuffix("/shared-context")

    assert {path: told.replace(claim, "") for path, told in mounts.items()} == {
        "/watchbill/inbox": "ro /agent-workspaces/intruder-0/inbox",
        "/watchbill/outbox": "rw /agent-workspaces/intruder-0/outbox",
        "/watchbill/work": "rw /agent-workspaces/intruder-0/work",
        "/watchbill/state": "rw /agent-workspaces/intruder-0/state",
        "/watchbill/shared-context": "ro /shared-context",
    }
    assert intrusion.report["self"]["room"] == ["inbox", "outbox", "shared-context", "state", "work"]


@pytest.mark.parametrize("folder", ["inbox", "shared-context"])
def test_what_the_operator_writes_for_agents_is_read_only(intrusion: Intrusion, folder: str) -> None:
    """Files, folders, links, modes and a remount: refused, most of them since the file system is read-only."""
    tried = {what: why for what, why in intrusion.refused.items() if folder in what.split()}

    assert len(tried) >= 6
    assert "Read-only file system" in tried[f"write a file in {folder}"]
    assert "not permitted" in tried[f"make {folder} writable"]


def test_the_kernel_gives_it_no_right_beyond_its_own_user(intrusion: Intrusion) -> None:
    """The uid of its pod, no groups of others, no capability in any set, system calls filtered."""
    told = intrusion.report["self"]
    uid = intrusion.uid("intruder-0")

    assert (told["uid"], told["gid"], told["groups"]) == (uid, uid, [uid])
    assert set(told["capabilities"]) == {0}
    assert told["seccomp"] == "2"


def test_each_agents_files_on_the_volume_belong_to_a_user_of_its_own(intrusion: Intrusion) -> None:
    """Two agents, two users, and the operator a third one."""
    owners = {
        name: {path.lstat().st_uid for path in intrusion.replica(name).glob("work/*/attempt-1/*")}
        for name in ("intruder-0", "neighbour-0")
    }
    operators = {intrusion.replica(name).lstat().st_uid for name in owners}

    assert owners == {name: {intrusion.uid(name)} for name in owners}
    assert len({*owners["intruder-0"], *owners["neighbour-0"], *operators}) == 3


def test_only_processes_of_its_own_pod_are_seen(intrusion: Intrusion) -> None:
    """The agent, the guard above it, and what it runs."""
    assert {line.split(" -")[0] for line in intrusion.report["processes"]} <= {"python", "/pause"}
    assert any("watchbill_agent" in line for line in intrusion.report["processes"])
    assert not any("watchbill_operator" in line or "sleep" in line for line in intrusion.report["processes"])


def test_no_credential_for_the_cluster_is_there(intrusion: Intrusion) -> None:
    """Without one, the API server and the kubelet refuse, and etcd does not even speak."""
    answers = intrusion.report["answers"]

    assert "No such file" in intrusion.refused["read a service account's token"]
    assert (answers["secrets"], answers["tasks"], answers["kubelet"]) == ("403", "403", "401")
    assert {answers[name] for name in ("kubelet without TLS", "etcd", "controllers")}.isdisjoint({"200"})


def test_no_folder_that_the_kubelet_mounts_can_be_replaced_by_a_link(intrusion: Intrusion) -> None:
    """So the container that takes its place in the same pod has the same folders."""
    system, before = intrusion.system, intrusion.report["self"]["mounts"]
    system.try_kubectl("exec", "intruder-0", "--", "python", "-c", "import os; os.kill(1, 15)")
    wait_for(lambda: restarts(system, "intruder-0") == 1, "the container was started again")
    system.kubectl("wait", "--for=condition=Ready", "pod/intruder-0", "--timeout=60s")

    seen = system.kubectl("exec", "intruder-0", "--", "cat", "/proc/self/mountinfo")

    words = [line.split() for line in seen.splitlines()]
    assert {word[4]: f"{word[5].split(',')[0]} {word[3]}" for word in words if word[4].startswith("/watch")} == before


def test_links_in_a_result_lead_the_operator_nowhere(intrusion: Intrusion) -> None:
    """The command points at the log, where the operator has it, and at its neighbour's work: nothing is copied."""
    system = intrusion.system
    system.apply(task("plant", agentRef="intruder", command=shell(PLANT_LINKS), **ONCE))

    status = system.wait_for_phase("plant")

    uid = (system.get("task", "plant") or {})["metadata"]["uid"]
    copied = [path for path in (system.root / "shared-context" / "results" / uid).rglob("*") if path.name != "stdout"]
    assert copied == [], status
    system.kubectl("delete", "task", "plant")


def restarts(system: KindSystem, pod: str) -> int:
    """How often its container was started again."""
    statuses = ((system.get("pod", pod) or {}).get("status") or {}).get("containerStatuses") or ()
    return sum(int(each["restartCount"]) for each in statuses)
