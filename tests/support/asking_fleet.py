"""A fleet whose attempts ask for locks, submit Tasks and tell how far they are, driven by one seed.

Owns the agents' and the API server's side of those conversations, with all that can go wrong between commit and answer:
letters late and twice, an operator that dies before it creates a Task or before it knows that it has, an inbox that is
written anew. What an attempt was told once must never be told otherwise.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from support.asking import ask_child, ask_lock, report, return_lock, settle
from support.fleet import Fleet, Process
from watchbill_coordination.core.commands import SubmitTask
from watchbill_coordination.core.messages import Answer, ChildEnded
from watchbill_coordination.core.requests import ChildOrder
from watchbill_coordination.core.specs import TaskUid
from watchbill_coordination.core.working_events import ChildCreated, ChildRefused, ChildRequested

MAX_TASKS = 60  #: submitted by attempts in one world


@dataclass(slots=True)
class Conversation:
    """What one attempt asked and was told."""

    asked: int = 0
    told: dict[int, Answer] = field(default_factory=dict)
    ended: dict[str, ChildEnded] = field(default_factory=dict)


class AskingFleet(Fleet):
    """A seeded world with conversations."""

    def __init__(self, seed: int, trouble: float = 0.05) -> None:
        super().__init__(seed, trouble)
        self.conversations: dict[tuple[str, str, int], Conversation] = {}  # (incarnation, task, attempt)
        self.posted: dict[str, str] = {}  # name → uid: what the API server has or had
        self.orders: dict[str, ChildOrder] = {}  # by which that was created
        self.unseen: list[str] = []  # names of Tasks that the watch has not shown

    def tick(self) -> None:
        """One second, in which the operator creates what was asked for as well."""
        super().tick()
        self.show_tasks()
        for name in list(self.ledger.state.children):
            self.post(name)

    # Agents.

    def handle(self, process: Process, message: Any) -> None:
        """Note what is told; it must be what was told before."""
        if not isinstance(message, Answer | ChildEnded):
            super().handle(process, message)
            return
        conversation = self.conversation(process, message.task, message.attempt)
        if isinstance(message, Answer):
            assert message.request <= conversation.asked, f"nobody asked: {message}"
            assert conversation.told.setdefault(message.request, message) == message
        else:
            assert conversation.ended.setdefault(message.name, message) == message

    def conversation(self, process: Process, task: str, attempt: int) -> Conversation:
        """That of this attempt in this life."""
        return self.conversations.setdefault((process.incarnation, task, attempt), Conversation())

    def work(self, process: Process) -> None:
        """Running attempts ask for things before they go on."""
        if self.random.random() < 0.05:
            process.seen.clear()  # its inbox was written anew
        for task, attempt in process.running:
            if self.random.random() < 0.5:
                self.ask(process, task, attempt)
        super().work(process)

    def ask(self, process: Process, task: str, attempt: int) -> None:
        """One request, with the next number."""
        conversation = self.conversation(process, task, attempt)
        conversation.asked += 1
        said: dict[str, Any] = {
            "replica": process.replica,
            "incarnation": process.incarnation,
            "attempt": attempt,
            "request": conversation.asked,
        }
        name = self.random.choice(["x", "y", "z"])
        what = self.random.choice(["lock", "lock", "lock", "return", "child", "progress"])
        if what == "lock":
            self.send(ask_lock(task, name, shared=self.random.random() < 0.5, **said), process.replica)
        elif what == "return":
            self.send(return_lock(task, name, **said), process.replica)
        elif what == "child" and len(self.posted) < MAX_TASKS:
            self.send(ask_child(task, timeoutSeconds=60, **said), process.replica)
        else:
            del said["request"]
            conversation.asked -= 1
            self.send(report(task, **said), process.replica)

    # The operator and the API server.

    def post(self, name: str) -> None:
        """Create the Task, unless it was created before; the operator may die before it, or before it knows."""
        if self.happens():
            self.replace_operator()
            return
        if name not in self.posted:
            if self.random.random() < 0.1:
                self.ledger.do(settle(name, message="the quota is used up"))
                return
            self.posted[name] = f"{name}.{len(self.ledger.records)}"
            self.unseen.append(name)
            self.orders[name] = self.ledger.state.children[name]
        if self.happens():
            self.replace_operator()
            return
        if self.random.random() < 0.5:
            self.show_tasks()
        self.ledger.do(settle(name, self.posted[name]))

    def show_tasks(self) -> None:
        """The watch shows what was created."""
        for name in self.unseen:
            uid, order = self.posted[name], self.orders[name]
            self.objects[name] = (uid, 1, dict(order.spec))
            self.ledger.do(SubmitTask(task=TaskUid(uid), name=name, spec=order.spec, generation=1, parent=order.parent))
        self.unseen.clear()


def count_children(fleet: AskingFleet) -> Counter[str]:
    """How many Tasks were asked for, and what became of those orders."""
    counts: Counter[str] = Counter()
    for recorded in fleet.ledger.records:
        event = recorded.event
        if isinstance(event, ChildRequested):
            counts["requested"] += 1
        elif isinstance(event, ChildCreated):
            counts["created"] += 1
        elif isinstance(event, ChildRefused) and event.name:
            counts["refused"] += 1
    return counts
