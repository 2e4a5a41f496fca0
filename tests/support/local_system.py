"""A whole local system in a folder of its own: real processes, real kubectl, started and stopped by the command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support.real_control_plane import RealControlPlane
from support.waiting import PATIENCE_SECONDS, wait_for

BIN = Path(sys.executable).parent
API_VERSION = "watchbill.dev/v1alpha1"
ENDED = ("Succeeded", "Failed", "Cancelled")


@dataclass(frozen=True, slots=True)
class Done:
    """What a program said."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class LocalSystem:
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

    def start(self) -> Done:
        """Prepare and start it."""
        self.prepare()
        return self.watchbill("start", *(("--kubeconfig", str(self.given_kubeconfig)) if self.plane else ()))

    def stop(self, *, check_rights: bool = True) -> None:
        """Stop it and what belongs to it; on a real control plane say what the operator was not allowed to do."""
        self.watchbill("stop", "--drain", "0")
        if self.plane is None:
            return
        forbidden = self.plane.forbidden(self.namespace)
        self.plane.call("DELETE", f"/api/v1/nodes/watchbill-{self.namespace}")
        self.plane.call("DELETE", f"/api/v1/namespaces/{self.namespace}")
        assert not (forbidden and check_rights), f"rbac.yaml forbids what the operator asked: {forbidden}"

    @property
    def environment(self) -> dict[str, str]:
        """Environment of every program that is run against it."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("WATCHBILL_", "KUBE"))}
        path = f"{BIN}{os.pathsep}{kept.get('PATH', '')}"
        return {
            **kept,
            "PATH": path,
            "WATCHBILL_HOME": str(self.home),
            "KUBECONFIG": str(self.home / "kubeconfig"),
            **self.settings,
        }

    @property
    def root(self) -> Path:
        """The shared volume."""
        return self.home / "volume"

    @property
    def processes(self) -> tuple[str, ...]:
        """The processes that the home starts: a real control plane is not among them."""
        return ("operator", "node") if self.plane else ("operator", "node", "api-server")

    def run(self, *argv: str, stdin: str | None = None, timeout: float = 90.0) -> Done:
        """Run a program with this system's environment."""
        done = subprocess.run(
            argv,
            input=stdin,
            capture_output=True,
            text=True,
            env=self.environment,
            timeout=timeout,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def watchbill(self, *arguments: str, timeout: float = 120.0) -> Done:
        """Run the `watchbill` command."""
        return self.run(str(BIN / "watchbill"), *arguments, timeout=timeout)

    def try_kubectl(self, *arguments: str, stdin: str | None = None) -> Done:
        """Run kubectl, whatever comes of it."""
        return self.run(str(BIN / "kubectl"), *arguments, stdin=stdin)

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Run kubectl; it must succeed."""
        done = self.try_kubectl(*arguments, stdin=stdin)
        assert done.code == 0, f"kubectl {' '.join(arguments)}: {done.err}{done.out}"
        return done.out

    def apply(self, *objects: Mapping[str, Any]) -> Done:
        """Apply objects with kubectl, whatever comes of it."""
        body = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
        return self.try_kubectl("apply", "-f", "-", stdin=body)

    def get(self, kind: str, name: str) -> dict[str, Any] | None:
        """One object, or None where there is none."""
        done = self.try_kubectl("get", kind, name, "-o", "json", "--ignore-not-found")
        assert done.code == 0, done.err
        return json.loads(done.out) if done.out.strip() else None

    def list(self, kind: str, *more: str) -> list[dict[str, Any]]:
        """All objects of a kind."""
        items: list[dict[str, Any]] = json.loads(self.kubectl("get", kind, "-o", "json", *more))["items"]
        return items

    def status(self, name: str) -> dict[str, Any]:
        """Status of a Task; empty where there is none."""
        return (self.get("task", name) or {}).get("status") or {}

    def wait_for_phase(self, name: str, *phases: str, seconds: float = PATIENCE_SECONDS) -> dict[str, Any]:
        """Wait until the Task is in one of these phases (by default: ended) and return its status."""
        wanted = phases or ENDED

        def reached() -> dict[str, Any] | None:
            status = self.status(name)
            return status if status.get("phase") in wanted else None

        try:
            return wait_for(reached, f"{name} is {' or '.join(wanted)}", seconds) or {}
        except AssertionError as error:
            raise AssertionError(f"{error}; it is {self.status(name)}") from None

    def events(self) -> list[dict[str, Any]]:
        """The event log's records, oldest first."""
        done = self.watchbill("events", "-o", "json")
        assert done.code == 0, done.err
        return [json.loads(line) for line in done.out.splitlines()]

    def pid(self, process: str) -> int:
        """Pid of `api-server`, `node` or `operator`."""
        return int(json.loads((self.home / "run" / f"{process}.json").read_text())["pid"])


def command_lines() -> list[str]:
    """The command lines of all processes of this machine that one may see."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace").strip())
        except OSError:
            continue  # it ended meanwhile
    return lines


def task(name: str, **spec: Any) -> dict[str, Any]:
    """A Task for blue unless it says otherwise."""
    if not {"type", "role", "agentRef"} & set(spec):
        spec["role"] = "blue"
    return {"apiVersion": API_VERSION, "kind": "Task", "metadata": {"name": name}, "spec": spec}


def agent(name: str, role: str = "blue", **spec: Any) -> dict[str, Any]:
    """An Agent with the command runner."""
    return {"apiVersion": API_VERSION, "kind": "Agent", "metadata": {"name": name}, "spec": {"role": role, **spec}}


def shell(line: str) -> Mapping[str, str]:
    """`spec.command` of a line for /bin/sh."""
    return {"shell": line}


def args(*argv: str) -> Mapping[str, Sequence[str]]:
    """`spec.command` of a program and its arguments."""
    return {"args": list(argv)}
