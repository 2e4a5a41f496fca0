"""The figures on real pods: a kind cluster of its own, one system in it, measured from outside.

Owns the cluster, which goes in the end. All times are of one machine's clock: the pods', the log's and this process's.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import pykube

from benchmarks.kind_pods import measure_deleted, measure_memory, measure_registered
from benchmarks.latency import Watcher, measure_first_instruction
from benchmarks.sender import Sender, encode
from benchmarks.table import Figures
from support.kind_cluster import RunCluster
from support.kind_system import KindSystem
from support.kind_tools import find_tools
from watchbill_cli.cluster import API_VERSION

NAMESPACE = "bench"
ACCOUNT = "bench"  #: whose token the measuring client has, since it speaks no client certificates
POOL = "four"
CREATORS = 8
SETTLE_SECONDS = 2.0
VARIABLES: Mapping[str, str] = {
    "kind_bin": "WATCHBILL_KIND",
    "kind_kubectl_bin": "WATCHBILL_KUBECTL",
    "kind_image": "WATCHBILL_KIND_IMAGE",
}


class Options:
    """What pytest's options are where there is no pytest: an environment variable may choose, else nothing was."""

    def getoption(self, name: str) -> str:
        """The value of one of them."""
        return os.environ.get(VARIABLES[name], "")


class KindBench:
    """The system under measurement, with what the measurements of the local one ask of theirs."""

    def __init__(self, system: KindSystem) -> None:
        self.system = system
        self.namespace = system.namespace

    @cached_property
    def config(self) -> pykube.KubeConfig:
        """What a client needs to know: an account's token in the place of the administrator's certificate."""
        self.system.kubectl("create", "serviceaccount", ACCOUNT)
        subject = f"--serviceaccount={self.namespace}:{ACCOUNT}"
        self.system.kubectl("create", "rolebinding", ACCOUNT, "--clusterrole=cluster-admin", subject)
        token = self.system.kubectl("create", "token", ACCOUNT, "--duration=2h").strip()
        content = json.loads(self.system.kubeconfig.read_text())
        content["users"] = [{"name": ACCOUNT, "user": {"token": token}}]
        content["contexts"][0]["context"]["user"] = ACCOUNT
        path = self.system.folder / "token-kubeconfig"
        path.touch(mode=0o600)
        path.write_text(json.dumps(content))
        return pykube.KubeConfig.from_file(str(path))

    @property
    def api(self) -> pykube.HTTPClient:
        """A connection of the caller's own (one a thread)."""
        return pykube.HTTPClient(self.config, timeout=30)

    @property
    def tasks_path(self) -> str:
        """Where the Tasks are."""
        return f"/apis/{API_VERSION}/namespaces/{self.namespace}/tasks"

    def task(self, name: str, argv: list[str], **spec: Any) -> dict[str, Any]:
        """A Task's body."""
        body = {"command": {"args": argv}, "agentRef": POOL, "retryPolicy": {"maxRetries": 0}} | spec
        metadata = {"name": name, "namespace": self.namespace}
        return {"apiVersion": API_VERSION, "kind": "Task", "metadata": metadata, "spec": body}

    def apply_agent(self, name: str, replicas: int, **spec: Any) -> None:
        """Create an Agent and wait until all of its replicas are ready."""
        body = {"role": name, "replicas": replicas, **spec}
        agent = {"apiVersion": API_VERSION, "kind": "Agent", "metadata": {"name": name}, "spec": body}
        done = self.system.apply(agent)
        assert done.code == 0, done.err
        ready = f"--for=jsonpath={{.status.readyReplicas}}={replicas}"
        self.system.kubectl("wait", ready, f"agent/{name}", "--timeout=120s")


def why_no_kind() -> str:
    """The sentence that says what is missing for a kind cluster; empty where nothing is."""
    return find_tools(Options())[1]  # type: ignore[arg-type]


def measure_kind(folder: Path, tasks: int) -> Figures:
    """All measurements on real pods; `folder` is empty."""
    with running(folder) as bench:
        bench.apply_agent(POOL, 4)
        figures = measure_first_instruction(bench, 100)  # type: ignore[arg-type]
        figures |= measure_rate(bench, tasks)
        figures |= measure_registered(bench.system, bench.config, 10)
        figures |= measure_deleted(bench.system, 10)
        return figures | measure_memory(bench.system)


@contextmanager
def running(folder: Path) -> Iterator[KindBench]:
    """A system on a cluster of its own, or on the one that `WATCHBILL_KIND_CLUSTER` names, which stays."""
    tools, missing = find_tools(Options())  # type: ignore[arg-type]
    assert tools, missing
    chosen = os.environ.get("WATCHBILL_KIND_CLUSTER", "")
    cluster = RunCluster.start(folder, tools, name=chosen, keep=bool(chosen))
    system = KindSystem(cluster, folder / "home", f"{NAMESPACE}-{os.getpid()}", agents={})
    try:
        done = system.start()
        assert done.code == 0, done.err
        yield KindBench(system)
    finally:
        system.stop(check_rights=False)
        cluster.stop()


def measure_rate(bench: KindBench, count: int) -> Figures:
    """`count` tasks on four agents of one slot: how many a second, and what they leave on the volume."""
    before = measure_volume(bench.system.root)
    took = run_tasks(bench, [f"many-{number}" for number in range(count)])
    time.sleep(SETTLE_SECONDS)
    after = measure_volume(bench.system.root)
    grown = {part: (after[part] - before[part]) * 1000 / count / 1e6 for part in after}
    told = ", ".join(f"{size:.1f} MB {part}" for part, size in grown.items())
    return {
        f"{count} tasks on 4 agents, first create to last Succeeded": f"{count / took:.0f}/s",
        "growth of the volume by 1,000 such tasks": f"{sum(grown.values()):.1f} MB ({told})",
    }


def run_tasks(bench: KindBench, names: list[str]) -> float:
    """Create them and wait for the end of all; return the seconds that it took."""
    calls = [("POST", bench.tasks_path, encode(bench.task(name, ["echo", name]))) for name in names]
    with Watcher(bench) as watcher:  # type: ignore[arg-type]
        began = time.monotonic()
        Sender(bench.config).rate(calls, CREATORS)
        missing = set(names)
        while missing:
            _, obj = watcher.wait_any()
            missing.discard(obj["metadata"]["name"])
        return time.monotonic() - began


def measure_volume(root: Path) -> Mapping[str, int]:
    """Bytes that are allocated, by what they are for; the log's reserve and what agents keep for a while are in it."""
    parts = {"log": "orchestration", "results": "shared-context", "work": "agent-workspaces"}
    return {
        part: sum(path.lstat().st_blocks * 512 for path in (root / name).rglob("*")) for part, name in parts.items()
    }
