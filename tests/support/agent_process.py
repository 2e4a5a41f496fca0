"""A real agent process, and the operator's end of its mailboxes.

Owns the process that it starts: `close` ends it whatever a test did. The test plays the operator with the real
InboxWriter and OutboxReader; nothing is mocked.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any, TypeVar

from support.waiting import PATIENCE_SECONDS, wait_for
from watchbill_coordination.core.messages import Ack, Assign, Finished, Message, Registered
from watchbill_coordination.core.specs import ReplicaName, TaskUid
from watchbill_coordination.storage.layout import WORKSPACE_PARTS, Layout
from watchbill_coordination.storage.mailbox import InboxWriter, Malformed, OutboxReader

M = TypeVar("M", bound=Message)

REPLICA = ReplicaName("blue-0")
LOOK_EVERY_SECONDS = 0.005


class AgentProcess:
    """An agent on a volume of its own."""

    def __init__(self, root: Path, environment: Mapping[str, str] | None = None) -> None:
        """Make the volume's folders; `environment` adds to that of the agent."""
        self.layout = Layout(root)
        self.workspace = self.layout.workspace(REPLICA)
        for part in WORKSPACE_PARTS:
            (self.workspace / part).mkdir(parents=True, exist_ok=True)
        self.layout.results.mkdir(parents=True, exist_ok=True)
        self._environment = environment or {}
        self.inbox = InboxWriter(self.layout, REPLICA)
        self.inbox.reset()
        self.outbox = OutboxReader(self.layout, REPLICA)
        self.messages: list[Message] = []  # all that the agent said
        self.incarnation = ""
        self.epoch = 1
        self._seq = 1
        self.process: subprocess.Popen[bytes] | None = None
        self.log: IO[bytes] | None = None  # where its stderr goes; None: to that of the test
        self.patience_seconds = PATIENCE_SECONDS  # with which `expect` waits

    def spawn(self) -> subprocess.Popen[bytes]:
        """Start the agent."""
        folders = {f"WATCHBILL_{part.upper()}": str(self.workspace / part) for part in WORKSPACE_PARTS}
        environment = {name: value for name, value in os.environ.items() if not name.startswith("WATCHBILL_")}
        environment |= folders
        environment |= {"WATCHBILL_REPLICA": str(REPLICA), "WATCHBILL_CONTEXT": str(self.layout.shared_context)}
        environment |= self._environment
        self.process = subprocess.Popen([sys.executable, "-m", "watchbill_agent"], env=environment, stderr=self.log)
        return self.process

    def start(self) -> AgentProcess:
        """Start the agent and wait until it is registered."""
        self.spawn()
        former = self.incarnation
        self.incarnation = self.expect(Registered, lambda message: message.incarnation != former).incarnation
        return self

    def __enter__(self) -> AgentProcess:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the agent."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    @property
    def agent_pid(self) -> int:
        """The process below the guard, which does the work."""
        assert self.process is not None
        with open(f"/proc/{self.process.pid}/task/{self.process.pid}/children") as file:
            return int(file.read().split()[0])

    def deliver(self, message: Message, *, epoch: int | None = None) -> None:
        """Put a message into the inbox."""
        self._seq += 1
        self.inbox.deliver(f"test-{self._seq}", message, self.epoch if epoch is None else epoch, self._seq)

    def assign(self, task: str, command: Mapping[str, Any] | None = None, **fields: Any) -> Assign:
        """Assign an attempt; one that is not the first comes after one that this agent had as well."""
        defaults: dict[str, Any] = {
            "attempt": 1,
            "name": task,
            "incarnation": self.incarnation,
            "timeout_seconds": 60.0,
            "had_previous": fields.get("attempt", 1) > 1,
        }
        message = Assign(task=TaskUid(task), command=command or {}, **(defaults | fields))
        self.deliver(message)
        return message

    def run(self, task: str, command: Mapping[str, Any] | None = None, **fields: Any) -> Finished:
        """Assign an attempt and wait for its end."""
        assign = self.assign(task, command, **fields)
        return self.expect(Finished, lambda m: (m.task, m.attempt) == (assign.task, assign.attempt))

    def read(self, *, acknowledge: bool = True) -> list[Message]:
        """Take what the agent said since the last time."""
        fresh: list[Message] = []
        for file in self.outbox.poll():
            assert not isinstance(file, Malformed), file
            self.inbox.forget(file.header.read)
            if acknowledge:
                self.deliver(Ack(names=(file.name,), seq=self._seq))
            fresh.extend(file.messages)
        self.messages.extend(fresh)
        return fresh

    def expect(self, kind: type[M], accept: Callable[[M], bool] = lambda _: True, *, acknowledge: bool = True) -> M:
        """Return the first message of that kind, among all that were and will be said."""

        def find() -> M | None:
            self.read(acknowledge=acknowledge)
            return next((m for m in self.messages if isinstance(m, kind) and accept(m)), None)

        what = f"{kind.__name__} from the agent"
        found = wait_for(find, what, self.patience_seconds, every=LOOK_EVERY_SECONDS)
        assert found is not None
        return found

    def said(self, kind: type[M]) -> list[M]:
        """Return all messages of that kind so far."""
        self.read()
        return [message for message in self.messages if isinstance(message, kind)]

    def attempt_folder(self, task: str, attempt: int = 1) -> Path:
        """Return the working directory of an attempt."""
        return self.workspace / "work" / task / f"attempt-{attempt}"

    def heartbeat(self) -> dict[str, Any]:
        """Return the sign of life; empty before the first."""
        try:
            value: dict[str, Any] = json.loads((self.workspace / "state" / "heartbeat.json").read_text())
        except (FileNotFoundError, ValueError):
            return {}
        return value


def is_alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def read_pid(path: Path, seconds: float = PATIENCE_SECONDS) -> int:
    """Wait until a command has written its pid there and return it."""

    def read() -> int:
        try:
            return int(path.read_text())
        except (FileNotFoundError, ValueError):
            return 0

    return wait_for(read, f"a pid in {path.name}", seconds, every=LOOK_EVERY_SECONDS)


def kill_hard(pid: int) -> None:
    """SIGKILL."""
    os.kill(pid, signal.SIGKILL)
