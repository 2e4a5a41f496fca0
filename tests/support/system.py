"""A running system as its tests see it, whatever its pods are: what can be asked of it, and what can be done to it.

Owns the questions that are the same everywhere. `LocalSystem` and `KindSystem` say where the volume is, how it is
started and how its parts are killed. Invariant: a test that asks nothing else runs on both.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.looking import POLLED, look, look_all
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


class System(ABC):
    """One installation of Watchbill in one namespace."""

    namespace: str
    settings: Mapping[str, str]  #: environment of the programs that are run against it, besides the usual one

    @property
    @abstractmethod
    def kubeconfig(self) -> Path:
        """An administrator's, in the system's namespace."""

    @property
    @abstractmethod
    def root(self) -> Path:
        """The shared volume, as this process sees it."""

    @property
    @abstractmethod
    def has_guards(self) -> bool:
        """Whether its API server checks rights and Pod Security, and keeps an audit log."""

    @abstractmethod
    def start(self) -> Done:
        """Install and start it; returns when it takes tasks."""

    @abstractmethod
    def stop(self, *, check_rights: bool = True) -> None:
        """Take it away; where rights are checked, fail if the operator asked for what it has no right to."""

    @abstractmethod
    def halt(self) -> None:
        """End the operator in an orderly way: from then on nobody writes to the log."""

    @abstractmethod
    def resume(self) -> Done:
        """Have the operator run again, after `halt` or its end; where it cannot, its last words are in `err`."""

    @abstractmethod
    def end_operator(self) -> None:
        """Have the operator alone end in an orderly way, and wait until it is gone."""

    @abstractmethod
    def operator_environment(self) -> dict[str, str]:
        """What an operator of this system, which runs, would need to be started with on this machine."""

    @abstractmethod
    def quickstart(self, tree: Path) -> Done:
        """Run the quickstart on a folder."""

    @abstractmethod
    def kill_operator(self) -> None:
        """SIGKILL the operator, and wait until it is gone."""

    @abstractmethod
    def operator_log(self) -> str:
        """What the operator that runs now has said."""

    @abstractmethod
    def audited(self) -> list[dict[str, Any]]:
        """What the operator asked of the API server, from its audit log."""

    @abstractmethod
    def find_container(self, pod: str, container: str) -> list[int]:
        """The processes of a container as this machine knows them, the first one first."""

    @abstractmethod
    def secret_volume(self, pod: str, volume: str) -> Path:
        """Where this machine sees the files of a Secret that a pod mounts."""

    @property
    @abstractmethod
    def written(self) -> Sequence[Path]:
        """The folders that the system's parts write to, but for a control plane's store that it shares with others."""

    @property
    def host(self) -> str:
        """This machine's address as pods reach it."""
        return "127.0.0.1"

    @property
    def python(self) -> str:
        """The Python of agents' pods."""
        return sys.executable

    def let_agents_ask(self, address: str) -> None:  # noqa: B027  # where no network is closed there is nothing to do
        """Open the way from agents to that address."""

    def forbidden(self) -> list[str]:
        """What the operator asked and had no right to, without repetitions."""
        refused = [each for each in self.audited() if each["annotations"]["authorization.k8s.io/decision"] == "forbid"]
        return sorted({f"{each['verb']} {each['requestURI']}" for each in refused})

    @property
    def environment(self) -> dict[str, str]:
        """Environment of every program that is run against it."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("WATCHBILL_", "KUBE"))}
        path = f"{BIN}{os.pathsep}{kept.get('PATH', '')}"
        return {**kept, "PATH": path, "KUBECONFIG": str(self.kubeconfig), **self.settings}

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
        if kind in POLLED:
            return look(self.kubeconfig, self.namespace, kind, name)
        done = self.try_kubectl("get", kind, name, "-o", "json", "--ignore-not-found")
        assert done.code == 0, done.err
        return json.loads(done.out) if done.out.strip() else None

    def list(self, kind: str, *more: str) -> list[dict[str, Any]]:
        """All objects of a kind; `more` is for kubectl."""
        if kind in POLLED and (not more or more[0] == "-l"):
            return look_all(self.kubeconfig, self.namespace, kind, *more[1:])
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


def command_lines() -> list[str]:
    """The command lines of all processes of this machine that one may see."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace").strip())
        except OSError:
            continue  # it ended meanwhile
    return lines


def is_alive(pid: int) -> bool:
    """Whether a process is there and has not ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def read_environment(pid: int) -> dict[str, str]:
    """What a process was started with."""
    raw = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace")
    return dict(entry.partition("=")[::2] for entry in raw.split("\0") if entry)
