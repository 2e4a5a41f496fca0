"""What the API server itself can do: creates and status patches of Tasks that no operator looks at.

Owns a namespace of its own. What is written is what the operator writes for a Task that succeeded.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import pykube

from benchmarks.sender import Sender, encode
from benchmarks.table import Figures
from watchbill_cli.cluster import API_VERSION

THREADS = 16
NAMESPACE = "bench-writes"
TASKS = f"/apis/{API_VERSION}/namespaces/{NAMESPACE}/tasks"


def measure_server_rate(config: pykube.KubeConfig, count: int) -> Figures:
    """Creates and status patches a second, `count` of each."""
    sender = Sender(config)
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    sender.send(("POST", "/api/v1/namespaces", encode(namespace)))
    names = [f"write-{number}" for number in range(count)]
    creates = sender.rate([("POST", TASKS, encode(build_task(name))) for name in names], THREADS)
    status = encode({"status": build_status()})
    patches = sender.rate([("PATCH", f"{TASKS}/{name}/status", status) for name in names], THREADS)
    sender.send(("DELETE", TASKS, b""))
    return {
        f"the server alone, {THREADS} connections: creates of Tasks": f"{creates:.0f}/s",
        f"the server alone, {THREADS} connections: status merge patches": f"{patches:.0f}/s",
    }


def build_task(name: str) -> Mapping[str, Any]:
    """A Task as the throughput measurement makes them."""
    spec = {"command": {"args": ["echo", name]}, "agentRef": "bench", "retryPolicy": {"maxRetries": 0}}
    return {"apiVersion": API_VERSION, "kind": "Task", "metadata": {"name": name}, "spec": spec}


def build_status() -> Mapping[str, Any]:
    """The status of a Task that succeeded."""
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    conditions = [
        {
            "type": kind,
            "status": status,
            "reason": "Succeeded",
            "message": "Done by bench-1 in 0.0 s.",
            "lastTransitionTime": now,
            "observedGeneration": 1,
        }
        for kind, status in (("Complete", "True"), ("Failed", "False"), ("Waiting", "False"))
    ]
    times = {"queuedAt": now, "startTime": now, "completionTime": now}
    ended = {"phase": "Succeeded", "reason": "Succeeded", "message": "Done by bench-1 in 0.0 s.", "agent": "bench-1"}
    counts = {"attempts": 1, "exitCode": 0, "observedGeneration": 1, "epoch": 1, "lastSeq": 1000}
    return {**ended, **times, **counts, "result": "many-1\n", "conditions": conditions}
