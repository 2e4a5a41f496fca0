"""What the API server itself can do: creates and status patches of Tasks that no operator looks at.

Owns a namespace of its own. Requests are sent as cheaply as Python can (prepared bodies over kept connections), so that
the figure is the server's and not the client's. What is written is what the operator writes for a Task that succeeded.
"""

from __future__ import annotations

import http.client
import json
import ssl
import threading
import time
import urllib.parse
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pykube

from watchbill_cli.cluster import API_VERSION

THREADS = 16
NAMESPACE = "bench-writes"
TASKS = f"/apis/{API_VERSION}/namespaces/{NAMESPACE}/tasks"
MERGE_PATCH = "application/merge-patch+json"

Call = tuple[str, str, bytes]  #: method, path, body


class Sender:
    """Sends requests over one connection a thread."""

    def __init__(self, config: pykube.KubeConfig) -> None:
        self._place = urllib.parse.urlsplit(config.cluster["server"])
        self._tls = ssl.create_default_context(cafile=config.cluster["certificate-authority"].filename())
        self._token = config.user["token"]
        self._local = threading.local()

    def send(self, call: Call) -> None:
        """Send one request; any answer but success is an error."""
        method, path, body = call
        kind = MERGE_PATCH if method == "PATCH" else "application/json"
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": kind}
        connection = self._connection()
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        content = answer.read()
        if answer.status >= 300:
            raise RuntimeError(f"{method} {path}: {answer.status} {content[:300]!r}")

    def rate(self, calls: Sequence[Call]) -> float:
        """Send them all from `THREADS` threads; return how many a second were answered."""
        began = time.monotonic()
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(self._send_all, [calls[share::THREADS] for share in range(THREADS)]))
        return len(calls) / (time.monotonic() - began)

    def _send_all(self, calls: Sequence[Call]) -> None:
        for call in calls:
            self.send(call)

    def _connection(self) -> http.client.HTTPSConnection:
        known: http.client.HTTPSConnection | None = getattr(self._local, "connection", None)
        if known is None:
            place = self._place
            known = http.client.HTTPSConnection(place.hostname or "", place.port, context=self._tls, timeout=30)
            self._local.connection = known
        return known


def measure_server_rate(config: pykube.KubeConfig, count: int) -> list[tuple[str, str, str]]:
    """Creates and status patches a second, `count` of each."""
    sender = Sender(config)
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    sender.send(("POST", "/api/v1/namespaces", encode(namespace)))
    names = [f"write-{number}" for number in range(count)]
    creates = sender.rate([("POST", TASKS, encode(build_task(name))) for name in names])
    status = encode({"status": build_status()})
    patches = sender.rate([("PATCH", f"{TASKS}/{name}/status", status) for name in names])
    sender.send(("DELETE", TASKS, b""))
    return [
        (f"the server alone, {THREADS} connections: creates of Tasks", "–", f"{creates:.0f}/s"),
        (f"the server alone, {THREADS} connections: status merge patches", "–", f"{patches:.0f}/s"),
    ]


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


def encode(body: Mapping[str, Any]) -> bytes:
    """A body on the wire."""
    return json.dumps(body, separators=(",", ":")).encode()
