"""A whole local system in a folder of its own: real processes, real kubectl, started and stopped by the command."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support.real_control_plane import RealControlPlane
from support.system import BIN as BIN
from support.system import Done as Done
from support.system import System, is_alive, read_environment
from support.system import agent as agent
from support.system import args as args
from support.system import command_lines as command_lines
from support.system import shell as shell
from support.system import task as task
from support.waiting import wait_for
from watchbill_agent import process_group


@dataclass(frozen=True)
class LocalSystem(System):
    """One home and what can be asked of it. On a real control plane it has a namespace of its own."""

    home: Path
    plane: RealControlPlane | None = None
    namespace: str = "default"
    settings: Mapping[str, str] = field(default_factory=dict)  #: environment besides the usual one

    def prepare(self) -> None:
        """Have the home keep to its control plane; a real one gets a namespace that refuses unrestricted pods."""
        if self.plane is None:
            return
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace, "labels": labels}}
        code, answer = self.plane.call("POST", "/api/v1/namespaces", body)
        assert code in (201, 409), answer
        mark = self.home / "run" / "control-plane"
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.write_text(json.dumps({"kubeconfig": str(self.given_kubeconfig)}))
        self.plane.write_kubeconfig(self.given_kubeconfig, self.namespace)

    @property
    def given_kubeconfig(self) -> Path:
        """The real control plane's, as an administrator would hand it over."""
        return self.home.with_name(f"{self.home.name}.kubeconfig")

    @property
    def kubeconfig(self) -> Path:
        """The home's own."""
        return self.home / "kubeconfig"

    @property
    def root(self) -> Path:
        """The shared volume."""
        return self.home / "volume"

    @property
    def has_guards(self) -> bool:
        """A real control plane has."""
        return self.plane is not None

    def start(self) -> Done:
        """Prepare and start it."""
        self.prepare()
        return self.watchbill("start", *(("--kubeconfig", str(self.given_kubeconfig)) if self.plane else ()))

    def stop(self, *, check_rights: bool = True) -> None:
        """Stop it and what belongs to it; on a real control plane say what the operator was not allowed to do."""
        self.watchbill("stop", "--drain", "0")
        if self.plane is None:
            return
        forbidden = self.forbidden()
        self.plane.call("DELETE", f"/api/v1/nodes/watchbill-{self.namespace}")
        self.plane.call("DELETE", f"/api/v1/namespaces/{self.namespace}")
        assert not (forbidden and check_rights), f"rbac.yaml forbids what the operator asked: {forbidden}"

    def halt(self) -> None:
        """Stop all of it: the home is as it was, and nothing runs."""
        done = self.watchbill("stop")
        assert done.code == 0, done.err

    def resume(self) -> Done:
        """Start what does not run."""
        return self.watchbill("start")

    def end_operator(self) -> None:
        """SIGTERM its process; the others go on."""
        pid = self.pid("operator")
        os.kill(pid, signal.SIGTERM)
        wait_for(lambda: not is_alive(pid), "the operator has stopped")

    def operator_environment(self) -> dict[str, str]:
        """That of the process."""
        return read_environment(self.pid("operator"))

    def quickstart(self, tree: Path) -> Done:
        """As `make up` runs it."""
        return self.watchbill("start", "--quickstart", str(tree))

    def kill_operator(self) -> None:
        """SIGKILL its process."""
        self.kill("operator")

    def kill(self, *processes: str) -> None:
        """SIGKILL these processes of the home at once, and wait until they are gone."""
        pids = [self.pid(process) for process in processes]
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not any(is_alive(pid) for pid in pids), f"{' and '.join(processes)} ended", every=0.01)

    def operator_log(self) -> str:
        """The file that all operators of this home write to."""
        return (self.home / "logs" / "operator.log").read_text(errors="replace")

    def audited(self) -> list[dict[str, Any]]:
        """From the real control plane's log; the small one keeps none."""
        return self.plane.audited(self.namespace) if self.plane else []

    def find_container(self, pod: str, container: str) -> list[int]:
        """The node gives each container's processes a folder whose name is in their environment."""
        found = self.get("pod", pod)
        assert found, f"there is no pod {pod}"
        mark = f"{found['metadata']['uid']}/{container}/".encode()
        first = [int(path.parent.name) for path in Path("/proc").glob("[0-9]*/environ") if mark in _read(path)]
        return sorted({*first, *(pid for parent in first for pid in process_group.list_descendants(parent))})

    def secret_volume(self, pod: str, volume: str) -> Path:
        """In the node's folder for the pod."""
        found = self.get("pod", pod)
        assert found, f"there is no pod {pod}"
        return self.home / "node" / "pods" / found["metadata"]["uid"] / "volumes" / volume

    @property
    def written(self) -> Sequence[Path]:
        """All is in the home."""
        return [self.home]

    @property
    def environment(self) -> dict[str, str]:
        """With the home, from which the command finds everything else."""
        return {**super().environment, "WATCHBILL_HOME": str(self.home), **self.settings}

    @property
    def processes(self) -> tuple[str, ...]:
        """The processes that the home starts: a real control plane is not among them."""
        return ("operator", "node") if self.plane else ("operator", "node", "api-server")

    def pid(self, process: str) -> int:
        """Pid of `api-server`, `node` or `operator`."""
        return int(json.loads((self.home / "run" / f"{process}.json").read_text())["pid"])


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
