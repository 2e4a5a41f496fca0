"""The system under measurement: a local one in a folder of its own, and a connection to it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from functools import cached_property
from pathlib import Path
from typing import Any

import pykube

from benchmarks.control_planes import ControlPlane
from benchmarks.cpu import cpu_by_group, find_descendants, is_agent, load_parents
from watchbill_cli.cluster import API_VERSION, Agent


class BenchSystem:
    """Started by the command that users type; asked through the API like any client."""

    def __init__(self, home: Path, plane: ControlPlane) -> None:
        self.home = home
        self.plane = plane

    @property
    def api(self) -> pykube.HTTPClient:
        """A connection of the caller's own (one a thread)."""
        return pykube.HTTPClient(self.config, timeout=30)

    @property
    def config(self) -> pykube.KubeConfig:
        """What a client needs to know."""
        return pykube.KubeConfig.from_file(str(self.home / "kubeconfig"))

    @cached_property
    def namespace(self) -> str:
        """Where the system's objects are."""
        return str(self.config.namespace)

    def start(self) -> None:
        """Start it and wait for its agents."""
        given = ["--kubeconfig", str(self.plane.kubeconfig)] if self.plane.kubeconfig else []
        self._watchbill("start", *given)

    def stop(self) -> None:
        """Stop it."""
        self._watchbill("stop", "--drain", "0")

    def pid(self, process: str) -> int:
        """Pid of `api-server`, `node` or `operator`."""
        return int(json.loads((self.home / "run" / f"{process}.json").read_text())["pid"])

    def cpu(self) -> dict[str, float]:
        """Seconds of processor time so far, by process: the control plane's, ours, and this client's."""
        server = {} if self.plane.kubeconfig else {"API server": self.pid("api-server")}
        return cpu_by_group({**server, **self.plane.pids, "operator": self.pid("operator"), "node": self.pid("node")})

    def agent_processes(self) -> list[list[int]]:
        """Pids of each agent of this system: the guard that watches over it, and the agent itself."""
        parents = load_parents()
        agents = {pid for pid in find_descendants(self.pid("node"), parents) if is_agent(pid)}
        guards = [pid for pid in agents if parents[pid] not in agents]
        return [[guard, *(agents & find_descendants(guard, parents))] for guard in guards]

    def metrics(self) -> str:
        """The operator's metrics page."""
        status = json.loads((self.home / "run" / "operator-status.json").read_text())
        address = status["http"]
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as answer:
            return str(answer.read().decode())

    def apply_agent(self, name: str, **spec: Any) -> None:
        """Create an Agent and wait until all of its replicas are ready."""
        body = {"apiVersion": API_VERSION, "kind": "Agent", "metadata": self._metadata(name), "spec": spec}
        Agent(self.api, body).create()
        for event in (
            Agent.objects(self.api, namespace=self.namespace).filter(field_selector={"metadata.name": name}).watch()
        ):
            if (event.object.obj.get("status") or {}).get("readyReplicas") == spec["replicas"]:
                return

    def remove_agent(self, name: str) -> None:
        """Delete an Agent and wait until its replicas have left."""
        Agent.objects(self.api, namespace=self.namespace).get_by_name(name).delete()
        while pykube.Pod.objects(self.api, namespace=self.namespace).filter(selector={"watchbill.dev/agent": name}):
            time.sleep(0.1)

    def task(self, name: str, argv: list[str], **spec: Any) -> dict[str, Any]:
        """A Task's body."""
        body = {"command": {"args": argv}, "role": "blue", "retryPolicy": {"maxRetries": 0}} | spec
        return {"apiVersion": API_VERSION, "kind": "Task", "metadata": self._metadata(name), "spec": body}

    @property
    def tasks_path(self) -> str:
        """Where the Tasks are."""
        return f"/apis/{API_VERSION}/namespaces/{self.namespace}/tasks"

    def _metadata(self, name: str) -> dict[str, str]:
        return {"name": name, "namespace": self.namespace}

    def _watchbill(self, *words: str) -> None:
        environment = {**os.environ, "WATCHBILL_HOME": str(self.home)}
        command = [sys.executable, "-m", "watchbill_cli.main", *words]
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
