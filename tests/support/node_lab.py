"""A small API server and a process node in a folder of their own, as real processes, and words to ask them things."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pykube

from support.waiting import PATIENCE_SECONDS, wait_for

Json = dict[str, Any]
IMAGE = "watchbill/agent:dev"


@dataclass
class NodeLab:
    """Server and node of one folder."""

    home: Path
    arguments: Sequence[str] = ()
    python: str = sys.executable  #: runs the node
    server: subprocess.Popen[bytes] | None = None
    node: subprocess.Popen[bytes] | None = None
    api: pykube.HTTPClient = field(init=False)

    @property
    def kubeconfig(self) -> Path:
        return self.home / "kubeconfig"

    @property
    def data(self) -> Path:
        return self.home / "node data"

    def start_server(self) -> None:
        command = [sys.executable, "-m", "watchbill_local.server", "--data", str(self.home / "api")]
        with (self.home / "server.log").open("ab") as log:
            self.server = subprocess.Popen([*command, "--kubeconfig", str(self.kubeconfig)], stderr=log, stdout=log)
        wait_for(self.kubeconfig.exists, "the server wrote its kubeconfig")
        self.api = pykube.HTTPClient(pykube.KubeConfig.from_file(str(self.kubeconfig)))
        wait_for(self._answers, "the server answers")

    def _answers(self) -> bool:
        try:
            return bool(self.request("GET", "/version")[0] == 200)
        except OSError:
            return False

    def start_node(self, *more: str) -> None:
        """Start the node and wait until it says that it is ready."""
        command = [self.python, "-m", "watchbill_local.node", "--kubeconfig", str(self.kubeconfig)]
        before = self.node_log().count("is ready")
        with (self.home / "node.log").open("ab") as log:
            words = [*command, "--data", str(self.data), "--backoff", "0.2", *self.arguments, *more]
            self.node = subprocess.Popen(words, stderr=log, stdout=log)
        wait_for(lambda: self.node_log().count("is ready") > before or self.node_ended(), "the node is ready")
        assert not self.node_ended(), self.node_log()

    def node_log(self) -> str:
        path = self.home / "node.log"
        return path.read_text() if path.exists() else ""

    def node_ended(self) -> bool:
        return self.node is not None and self.node.poll() is not None

    def stop_node(self, number: int = signal.SIGTERM) -> int:
        """Signal the node and wait for its end; returns its exit code."""
        assert self.node is not None
        self.node.send_signal(number)
        return self.node.wait(timeout=40)

    def close(self) -> None:
        for process in (self.node, self.server):
            if process is not None and process.poll() is None:
                process.terminate()
                process.wait(timeout=40)

    def request(self, method: str, path: str, body: Json | None = None, **query: str) -> tuple[int, Any]:
        """One request; returns status and body, parsed where it is JSON."""
        kind = {"Content-Type": "application/merge-patch+json"} if method == "PATCH" else {}
        url = self.api.config.cluster["server"] + path
        response = self.api.session.request(method, url, json=body, params=query, headers=kind, timeout=20)
        is_json = response.headers.get("Content-Type", "").startswith("application/json")
        return response.status_code, response.json() if is_json else response.text

    def create(self, resource: str, item: Json) -> Json:
        code, answer = self.request("POST", f"/api/v1/namespaces/default/{resource}", item)
        assert code == 201, answer
        return dict(answer)

    def run(self, *argv: str, name: str = "", **more: Any) -> str:
        """Create a pod of one container that runs `argv`; returns its name."""
        item = pod(*argv, name=name, **more)
        self.create("pods", item)
        return str(item["metadata"]["name"])

    def find(self, name: str) -> Json | None:
        code, answer = self.request("GET", f"/api/v1/namespaces/default/pods/{name}")
        return answer if code == 200 else None

    def get(self, name: str) -> Json:
        found = self.find(name)
        assert found, f"no pod {name}"
        return found

    def delete(self, name: str, **options: Any) -> None:
        self.request("DELETE", f"/api/v1/namespaces/default/pods/{name}", options or None)

    def wait_gone(self, name: str, seconds: float = PATIENCE_SECONDS) -> None:
        wait_for(lambda: self.find(name) is None, f"pod {name} is gone", seconds)

    def wait_phase(self, name: str, phase: str, seconds: float = PATIENCE_SECONDS) -> Json:
        return self.wait_until(name, lambda item: item["status"].get("phase") == phase, phase, seconds)

    def wait_until(self, name: str, holds: Any, what: str, seconds: float = PATIENCE_SECONDS) -> Json:
        """Wait until `holds` of the pod; returns it."""

        def look() -> Json | None:
            item = self.find(name)
            return item if item and holds(item) else None

        try:
            found = wait_for(look, f"{name} is {what}", seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}; {(self.find(name) or {}).get('status')}\n{self.node_log()}") from None
        assert found
        return found

    def wait_ready(self, name: str, seconds: float = PATIENCE_SECONDS) -> Json:
        return self.wait_until(name, lambda item: condition(item, "Ready") == "True", "ready", seconds)

    def log(self, name: str, **query: str) -> str:
        code, text = self.request("GET", f"/api/v1/namespaces/default/pods/{name}/log", **query)
        assert code == 200, text
        return str(text)

    def output(self, *argv: str, **more: Any) -> str:
        """Run a pod to its end; returns what it wrote."""
        name = self.run(*argv, restartPolicy="Never", **more)
        self.wait_until(name, lambda item: item["status"].get("phase") in ("Succeeded", "Failed"), "ended")
        return self.log(name)


def pod(*argv: str, name: str = "", container: Json | None = None, **spec: Any) -> Json:
    """A Pod whose one container `main` runs `argv`; `container` adds to it, the rest to the pod's spec."""
    main = {"name": "main", "image": IMAGE, "command": list(argv), **(container or {})}
    spec.setdefault("terminationGracePeriodSeconds", 5)
    meta = {"name": name or f"p-{uuid.uuid4().hex[:8]}"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": {"containers": [main], **spec}}


def condition(item: Json, kind: str) -> str:
    return next((c["status"] for c in item["status"].get("conditions") or () if c["type"] == kind), "")


def state(item: Json) -> Json:
    """The first container's state."""
    return dict(item["status"]["containerStatuses"][0]["state"])


def ended(item: Json) -> Json:
    """How the first container ended."""
    return dict(state(item)["terminated"])


def processes_marked(mark: str) -> list[int]:
    """Pids of the living processes whose command line holds `mark`."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                found += [int(entry.name)] if mark in words else []
        except OSError:
            continue
    return found


@contextmanager
def open_lab(home: Path, *arguments: str, python: str = sys.executable) -> Iterator[NodeLab]:
    """A running server and node."""
    lab = NodeLab(home, arguments, python)
    try:
        lab.start_server()
        lab.start_node()
        yield lab
    finally:
        lab.close()
