"""Agents of a running system that run the real Claude Code against the stub of the model's API."""

from __future__ import annotations

import base64
import json
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support.model_scenarios import Body, Step
from support.model_stub import ModelStub, Received
from support.system import System, agent, task
from support.waiting import wait_for

KEY = "dummy-key-of-a-test-0001"
Play = Callable[[int, Body], Step]


@dataclass(frozen=True)
class ClaudePool:
    """One Agent with one replica, a Secret of its own, and a run of the stub of its name."""

    system: System
    stub: ModelStub
    name: str
    spec: Mapping[str, Any] = field(default_factory=dict)

    @property
    def secret(self) -> str:
        """Name of the Secret that its broker reads."""
        return f"{self.name}-key"

    def put_key(self, key: str = KEY, *, verb: str = "create") -> None:
        """Make the Secret, or `replace` it; never by a command line that shows the key."""
        data = {"ANTHROPIC_API_KEY": base64.b64encode(key.encode()).decode()}
        body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": self.secret}, "data": data}
        self.system.kubectl(verb, "-f", "-", stdin=json.dumps(body))

    def wait_for_key(self, key: str) -> None:
        """Wait until the node has this key where the broker reads it."""
        volume = self.system.secret_volume(f"{self.name}-0", "credentials")
        wait_for(lambda: _read(volume / "ANTHROPIC_API_KEY") == key.encode(), "the node has the new key")

    def declare(self, base_url: str, **claude: Any) -> None:
        """Apply the Agent and wait until its replica takes tasks."""
        runner = {"claude": {"baseURL": base_url, "credentialSecret": self.secret, **claude}}
        done = self.system.apply(
            agent(
                self.name,
                **{"role": "green", "runner": runner, "drainSeconds": 1, "taskTypes": [self.name], **self.spec},
            )
        )
        assert done.code == 0, done.err
        self.system.kubectl("wait", "--for=condition=Ready", f"agent/{self.name}", "--timeout=60s")

    def submit(self, name: str, **spec: Any) -> str:
        """Apply a Task for it; returns its name."""
        done = self.system.apply(task(name, agentRef=self.name, **{"prompt": "Do it.", **spec}))
        assert done.code == 0, done.err
        return name

    def ask(self, steps: Play, **spec: Any) -> dict[str, Any]:
        """Make the Agent with a key, let the model play these steps, and return the status of a Task that has ended."""
        self.put_key()
        self.declare(self.stub.play(self.name, steps))
        return self.system.wait_for_phase(self.submit(self.name, **spec), seconds=60)

    def requests(self) -> list[Received]:
        """What the model was asked so far."""
        return self.stub.requests(self.name)

    def wait_for_requests(self, count: int) -> list[Received]:
        """Wait until the model was asked so often."""
        return self.stub.wait_for_requests(self.name, count)

    def condition(self, kind: str) -> dict[str, Any]:
        """A condition of the Agent; empty where there is none."""
        status = (self.system.get("agent", self.name) or {}).get("status") or {}
        return next((item for item in status.get("conditions") or () if item["type"] == kind), {})

    def kill(self, container: str, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal to the first process of a container of its replica."""
        (pid, *_) = self.find_processes(container)
        os.kill(pid, number)

    def find_processes(self, container: str) -> list[int]:
        """The first processes of a container of its replica and all below them, oldest first."""
        return self.system.find_container(f"{self.name}-0", container)

    def transcript(self, name: str) -> list[dict[str, Any]]:
        """The transcript of a Task's newest attempt."""
        done = self.system.watchbill("transcript", name, "-o", "json")
        assert done.code == 0, done.err
        return [json.loads(line) for line in done.out.splitlines()]


@contextmanager
def claude_pool(system: System, stub: ModelStub, name: str, **spec: Any) -> Iterator[ClaudePool]:
    """A pool that goes with the test: its processes are large."""
    pool = ClaudePool(system, stub, name, spec)
    system.let_agents_ask(stub.host)
    try:
        yield pool
    finally:
        system.try_kubectl("delete", "task", "-l", f"watchbill.dev/parent={name}", "--wait=false")
        system.try_kubectl("delete", "agent", name)
        wait_for(lambda: system.get("pod", f"{name}-0") is None, f"the pod of {name} is gone", 60)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
