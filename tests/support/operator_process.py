"""A real operator process on a volume of its own, beside a real small API server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from support.api_server import ApiServer
from support.waiting import PATIENCE_SECONDS, wait_for
from watchbill_coordination.storage.layout import Layout
from watchbill_coordination.storage.reading import read_log

CRDS = Path(__file__).parents[2] / "crds"
AGENTS = "/apis/watchbill.dev/v1alpha1/namespaces/default/agents"
TASKS = "/apis/watchbill.dev/v1alpha1/namespaces/default/tasks"
LEASE = "/apis/coordination.k8s.io/v1/namespaces/default/leases/watchbill-operator"
LEASE_SECONDS = 3

Obj = dict[str, Any]


def install_crds(server: ApiServer) -> None:
    """Make the server know Agents and Tasks."""
    for path in (CRDS / "agents.yaml", CRDS / "tasks.yaml"):
        server.create("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", yaml.safe_load(path.read_text()))


def task(name: str, **spec: Any) -> Obj:
    """A Task that no Agent takes, unless it says otherwise."""
    spec = {"agentRef": "nobody", "prompt": "x"} | spec
    return {"apiVersion": "watchbill.dev/v1alpha1", "kind": "Task", "metadata": {"name": name}, "spec": spec}


@dataclass
class OperatorProcess:
    """One operator; several may share server and volume."""

    server: ApiServer
    root: Path
    folder: Path  #: for its log and status file
    settings: Mapping[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)

    def start(self) -> OperatorProcess:
        """Start it, without waiting for anything."""
        self.status_file.unlink(missing_ok=True)
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("WATCHBILL_", "KUBE"))}
        environment = {
            **kept,
            "KUBECONFIG": str(self.server.kubeconfig),
            "WATCHBILL_ROOT": str(self.root),
            "WATCHBILL_STATUS_FILE": str(self.status_file),
            "WATCHBILL_LEASE_SECONDS": str(LEASE_SECONDS),
            **self.settings,
        }
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen([sys.executable, "-m", "watchbill_operator"], env=environment, stderr=log)
        return self

    def lead(self) -> OperatorProcess:
        """Start it and wait until it leads."""
        self.start()
        self.wait_until_leading()
        return self

    def wait_until_leading(self) -> None:
        """Wait until it says that it leads."""
        wait_for(lambda: self.status.get("phase") == "leading" or not self.is_alive, "the operator leads", every=0.02)
        assert self.is_alive, self.log

    @property
    def status_file(self) -> Path:
        """Where it tells its address."""
        return self.folder / "status.json"

    @property
    def status(self) -> Obj:
        """What it tells of itself; empty before it does."""
        try:
            told: Obj = json.loads(self.status_file.read_text())
        except (FileNotFoundError, ValueError):
            return {}
        return told

    @property
    def log(self) -> str:
        """What it said."""
        return (self.folder / "log").read_text()

    @property
    def is_alive(self) -> bool:
        """Whether the process runs."""
        return self.process is not None and self.process.poll() is None

    def send(self, number: int) -> None:
        """Send a signal."""
        assert self.process is not None
        self.process.send_signal(number)

    def wait(self, seconds: float = PATIENCE_SECONDS) -> int:
        """Wait for its end; return the exit code."""
        assert self.process is not None
        return self.process.wait(seconds)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """End it with a signal; return the exit code."""
        self.send(number)
        return self.wait()

    def close(self) -> None:
        """End it, whatever a test did to it."""
        if self.is_alive:
            self.send(signal.SIGCONT)
            self.stop(signal.SIGKILL)

    def get(self, path: str) -> tuple[int, str]:
        """Ask its HTTP server: code and text."""
        try:
            with urllib.request.urlopen(f"http://{self.status['http']}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def metric(self, line: str) -> float:
        """The value of one sample, 0 where there is none."""
        for text in self.get("/metrics")[1].splitlines():
            name, _, value = text.rpartition(" ")
            if name == line:
                return float(value)
        return 0.0

    def calls(self, verb: str) -> float:
        """API calls with this verb that were answered with success, of all resources."""
        samples = (line.rpartition(" ") for line in self.get("/metrics")[1].splitlines())
        name, wanted = "watchbill_api_calls_total{", ('code="200"', f'verb="{verb}"')
        return sum(float(n) for labels, _, n in samples if labels.startswith(name) and all(w in labels for w in wanted))

    def events(self) -> Iterator[tuple[str, Any]]:
        """Type and event of every record in the log."""
        for recorded in read_log(Layout(self.root)):
            yield type(recorded.event).__name__, recorded.event

    def types(self) -> list[str]:
        """Types of all records."""
        return [name for name, _ in self.events()]
