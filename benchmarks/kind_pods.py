"""How long real pods take to come and to be missed, and what memory they hold."""

from __future__ import annotations

import http.client
import json
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pykube

from benchmarks.percentiles import milliseconds, percentile
from benchmarks.sender import Sender
from benchmarks.table import Figures
from support.kind_system import KindSystem
from support.system import agent, task
from support.waiting import wait_for
from watchbill_coordination.core.events import ReplicaRegistered
from watchbill_coordination.storage.layout import Layout
from watchbill_coordination.storage.reading import read_log

LOOK_SECONDS = 0.005
STATS_SECONDS = 20.0  #: the kubelet counts memory every ten seconds


def measure_registered(system: KindSystem, config: pykube.KubeConfig, repeats: int) -> Figures:
    """From a pod's creation, as a watch tells of it, to the log's record that its agent registered."""
    durations = []
    for number in range(repeats):
        name = f"fresh-{number}"
        with watched_pods(system, config) as created:
            done = system.apply(agent(name, role=name))
            assert done.code == 0, done.err
            at = wait_for(lambda name=name: find_registration(system, f"{name}-0"), f"{name} is there")
            began = wait_for(lambda name=name: created.get(f"{name}-0", 0.0), f"the pod of {name} was seen")
        durations.append(at - began)
        system.kubectl("delete", "agent", name)
    return {"pod created → its agent registered": milliseconds(durations)}


@contextmanager
def watched_pods(system: KindSystem, config: pykube.KubeConfig) -> Iterator[Mapping[str, float]]:
    """When each new pod was seen, in seconds since the Unix epoch, by name; filled by a thread meanwhile."""
    seen: dict[str, float] = {}
    listed, sender = threading.Event(), Sender(config)

    def watch() -> None:
        with suppress(OSError, http.client.HTTPException):  # closed
            for _, obj in sender.watch(f"/api/v1/namespaces/{system.namespace}/pods", listed.set):
                seen.setdefault(obj["metadata"]["name"], time.time())

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    listed.wait(60)
    try:
        yield seen
    finally:
        sender.close()
        thread.join()


def find_registration(system: KindSystem, replica: str) -> float:
    """When a replica registered, in seconds since the Unix epoch; 0: it has not."""
    for recorded in read_log(Layout(system.root)):
        if isinstance(recorded.event, ReplicaRegistered) and recorded.event.agent == replica:
            return recorded.at
    return 0.0


def measure_deleted(system: KindSystem, repeats: int) -> Figures:
    """From the deletion of a working agent's pod to the first instruction of its task on another."""
    system.apply(agent("pair", role="pair", replicas=2))
    command = {"shell": "date +%s%N > started; exec sleep 600"}
    durations = []
    for number in range(repeats):
        system.kubectl("wait", "--for=jsonpath={.status.readyReplicas}=2", "agent/pair", "--timeout=120s")
        name = f"moved-{number}"
        system.apply(task(name, agentRef="pair", command=command))
        victim = system.wait_for_phase(name, "Running")["agent"]
        uid = (system.get("task", name) or {})["metadata"]["uid"]
        first = wait_for(lambda uid=uid: list(find_starts(system.root, uid, 1)), "it works")
        assert first, victim
        began = time.time()
        system.kubectl("delete", "pod", victim, "--wait=false")
        (at,) = wait_for(lambda uid=uid: list(find_starts(system.root, uid, 2)), "it works again", every=LOOK_SECONDS)
        durations.append(at - began)
        system.kubectl("delete", "task", name)
    system.kubectl("delete", "agent", "pair")
    return {"`kubectl delete pod` of a working agent → its task runs on another": milliseconds(durations)}


def find_starts(root: Path, uid: str, attempt: int) -> Iterator[float]:
    """When that attempt's command began, in seconds since the Unix epoch; nothing: it has not."""
    for path in root.glob(f"agent-workspaces/*/work/{uid}/attempt-{attempt}/started"):
        if text := path.read_text().strip():
            yield int(text) / 1e9


def measure_memory(system: KindSystem) -> Figures:
    """What the kubelet counts for operator, agents and a broker, each idle."""
    system.apply(agent("thinker", role="thinker", runner={"claude": {"credentialSecret": f"none-{uuid.uuid4()}"}}))
    system.kubectl("wait", "--for=condition=Ready", "agent/thinker", "--timeout=120s")
    time.sleep(STATS_SECONDS)
    names = {("operator", "operator"): "operator", ("agent", "command"): "agent that runs commands"}
    names |= {("agent", "claude"): "agent with Claude Code, before its first session", ("broker", "claude"): "broker"}
    found: dict[str, list[float]] = {}
    for pod in load_stats(system):
        kind = "claude" if pod["podRef"]["name"].startswith("thinker") else "command"
        for container in pod.get("containers", ()):
            name = names.get((container["name"], "operator" if container["name"] == "operator" else kind))
            if name and "rssBytes" in container.get("memory", {}):
                found.setdefault(name, []).append(container["memory"]["rssBytes"] / 1e6)
    return {f"memory of the container: {name}": f"{percentile(sizes, 1.0):.0f} MB" for name, sizes in found.items()}


def load_stats(system: KindSystem) -> list[dict[str, Any]]:
    """The kubelet's figures of the system's pods."""
    page = system.kubectl("get", "--raw", f"/api/v1/nodes/{system.cluster.node}/proxy/stats/summary")
    return [pod for pod in json.loads(page)["pods"] if pod["podRef"]["namespace"] == system.namespace]
