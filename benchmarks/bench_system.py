"""The system under measurement: a local one in a folder of its own, and a connection to it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pykube

from watchbill_cli.cluster import API_VERSION, Agent, Task
from watchbill_cli.home import NAMESPACE
from watchbill_cli.processes import start_time


class BenchSystem:
    """Started by the command that users type; asked through the API like any client."""

    def __init__(self, home: Path) -> None:
        self.home = home

    @property
    def api(self) -> pykube.HTTPClient:
        """A connection of the caller's own (one a thread)."""
        return pykube.HTTPClient(pykube.KubeConfig.from_file(str(self.home / "kubeconfig")), timeout=30)

    def start(self) -> None:
        """Start it and wait for its agents."""
        self._watchbill("start")

    def stop(self) -> None:
        """Stop it."""
        self._watchbill("stop", "--drain", "0")

    def pid(self, process: str) -> int:
        """Pid of `api-server`, `node` or `operator`."""
        return int(json.loads((self.home / "run" / f"{process}.json").read_text())["pid"])

    def agent_processes(self) -> list[list[int]]:
        """Pids of each agent of this system: the guard that watches over it, and the agent itself."""
        node = self.pid("node")
        lines = {pid: ancestors(pid) for pid in python_agents()}
        guards = [pid for pid, above in lines.items() if node in above and not lines.keys() & set(above)]
        return [[guard, *(pid for pid, above in lines.items() if guard in above)] for guard in guards]

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
            Agent.objects(self.api, namespace=NAMESPACE).filter(field_selector={"metadata.name": name}).watch()
        ):
            if (event.object.obj.get("status") or {}).get("readyReplicas") == spec["replicas"]:
                return

    def remove_agent(self, name: str) -> None:
        """Delete an Agent and wait until its replicas have left."""
        Agent.objects(self.api, namespace=NAMESPACE).get_by_name(name).delete()
        while pykube.Pod.objects(self.api, namespace=NAMESPACE).filter(selector={"watchbill.dev/agent": name}):
            time.sleep(0.1)

    def task(self, name: str, argv: list[str], **spec: Any) -> dict[str, Any]:
        """A Task's body."""
        body = {"command": {"args": argv}, "role": "blue", "retryPolicy": {"maxRetries": 0}} | spec
        return {"apiVersion": API_VERSION, "kind": "Task", "metadata": self._metadata(name), "spec": body}

    def watch_tasks(self) -> Iterator[Mapping[str, Any]]:
        """Every change of a Task from now on."""
        for event in Task.objects(self.api, namespace=NAMESPACE).watch():
            yield event.object.obj

    def _metadata(self, name: str) -> dict[str, str]:
        return {"name": name, "namespace": NAMESPACE}

    def _watchbill(self, *words: str) -> None:
        environment = {**os.environ, "WATCHBILL_HOME": str(self.home)}
        command = [sys.executable, "-m", "watchbill_cli.main", *words]
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)


def python_agents() -> list[int]:
    """Pids of all agent processes of this machine."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if b"watchbill_agent" in words and b"python" in words[0].rpartition(b"/")[2]:
            found.append(int(path.parent.name))
    return found


def ancestors(pid: int) -> list[int]:
    """Parents up to init."""
    found = []
    while pid > 1 and start_time(pid) is not None:
        try:
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            break
        found.append(pid)
    return found
