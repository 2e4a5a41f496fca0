"""An agent that a test plays: its mailboxes by hand, beside a real operator.

Owns one incarnation at a time on a replica's workspace, written and read with the real ends of the mailboxes. A look at
the inbox is a sign of life too, so a replica whose test still looks is never given up.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from support.api_server import ApiServer
from support.operator_process import AGENTS
from support.waiting import wait_for
from watchbill_coordination.core.messages import Accepted, Assign, Finished, Message, Registered
from watchbill_coordination.core.specs import ReplicaName, TaskUid
from watchbill_coordination.storage.layout import Layout, ledger_file
from watchbill_coordination.storage.mailbox_agent import InboxReader, OutboxWriter

M = TypeVar("M", bound=Message)

PODS = "/api/v1/namespaces/default/pods"
LOOK_EVERY_SECONDS = 0.01


def claude_agent(**spec: Any) -> dict[str, Any]:
    """An Agent of one replica that works with a model."""
    return {
        "apiVersion": "watchbill.dev/v1alpha1",
        "kind": "Agent",
        "metadata": {"name": "blue"},
        "spec": {"role": "blue", "replicas": 1, "runner": {"claude": {}}, **spec},
    }


class PlayedAgent:
    """One replica, whose pod is there."""

    def __init__(self, root: Path, pod_uid: str, name: str = "blue-0") -> None:
        self.name = ReplicaName(name)
        self.workspace = Layout(root).workspace(self.name)
        self._pod = pod_uid
        self._lives = 0
        self._beats = 0
        self._messages: list[Message] = []
        self.begin()

    def begin(self) -> None:
        """Begin a life: the former one's attempts are lost by that."""
        self._lives += 1
        self.incarnation = f"{self._pod}/{self._lives}"
        self._inbox = InboxReader(self.workspace / "inbox")
        self._outbox = OutboxWriter(self.workspace / "outbox", self.name, self.incarnation, start=self._lives)
        self._messages.clear()
        self.say(Registered(incarnation=self.incarnation, slots=1))

    def say(self, message: Message) -> None:
        """Put a message into the outbox."""
        self._outbox.send([message], read=self._inbox.read, sync=False)

    def look(self) -> list[Message]:
        """Everything that this life was told so far."""
        self._beats += 1
        beat = json.dumps({"incarnation": self.incarnation, "counter": self._beats})
        (self.workspace / "state" / "heartbeat.json").write_text(beat)
        for file in self._inbox.poll():
            self._messages.extend(file.messages)
        return self._messages

    def expect(self, kind: type[M], accept: Callable[[M], bool] = lambda _: True) -> M:
        """The first message of that kind, among all that were and will be said."""

        def find() -> M | None:
            return next((m for m in self.look() if isinstance(m, kind) and accept(m)), None)

        found = wait_for(find, f"{kind.__name__} for the agent", every=LOOK_EVERY_SECONDS)
        assert found is not None
        return found

    def take(self, attempt: int = 1) -> Assign:
        """Wait for the order to run that attempt of any task, and accept it."""
        assign = self.expect(Assign, lambda order: order.attempt == attempt and order.incarnation == self.incarnation)
        self.say(Accepted(incarnation=self.incarnation, task=assign.task, attempt=attempt))
        return assign

    def end(self, assign: Assign, outcome: str, **said: Any) -> None:
        """Say how the attempt ended."""
        self.say(
            Finished(incarnation=self.incarnation, task=assign.task, attempt=assign.attempt, outcome=outcome, **said)
        )

    def keep_ledger(self, task: TaskUid, attempt: int = 1, **members: Any) -> None:
        """Write what the replica's broker would."""
        body = {"v": 1, "task": task, "attempt": attempt, "requests": 1, **members}
        (self.workspace / "ledger" / ledger_file(task, attempt)).write_text(json.dumps(body))

    def grants(self) -> list[dict[str, Any]]:
        """The attempts that the replica's broker lets use the model."""
        attempts: list[dict[str, Any]] = json.loads((self.workspace / "grants" / "grants.json").read_text())["attempts"]
        return attempts


def play(server: ApiServer, root: Path, **spec: Any) -> PlayedAgent:
    """Declare the Agent to an operator that leads, and play its replica."""
    server.create(AGENTS, claude_agent(**spec))
    return PlayedAgent(root, wait_for(lambda: _pod_uid(server), "the pod is there"))


def _pod_uid(server: ApiServer) -> str:
    path = f"{PODS}/blue-0"
    return str(server.get(path)["metadata"]["uid"]) if server.exists(path) else ""
