"""Given events, when a command, then events: the rules of `core` as a conversation.

Owns a ledger that numbers events and folds them as a log would, without files. `Ledger.do` decides a command, takes
its events in and goes on with whatever follows, as the coordinator does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from watchbill_coordination.core.commands import (
    AcceptAttempt,
    Command,
    DeclareAgent,
    FinishAttempt,
    RegisterReplica,
    Rejected,
    RemoveTask,
    ReportUsage,
    SubmitTask,
)
from watchbill_coordination.core.decide import decide, decide_due
from watchbill_coordination.core.events import Event, Recorded
from watchbill_coordination.core.evolve import evolve
from watchbill_coordination.core.specs import AgentName, ReplicaName, TaskUid
from watchbill_coordination.core.state import ReplicaState, State, TaskState
from watchbill_coordination.core.usage import Usage

START = 1_000_000.0  #: seconds since the Unix epoch at which every ledger begins
MAX_GROUPS = 100_000  #: more groups after one command are a loop


@dataclass(slots=True)
class Ledger:
    """A log in memory, its state and a clock."""

    now: float = START
    epoch: int = 1
    state: State = field(default_factory=State)
    records: list[Recorded] = field(default_factory=list)

    def take_in(self, *events: Event) -> None:
        """Record events and fold them."""
        for event in events:
            ts = max(int(self.now * 1e6), self.state.ts)
            recorded = Recorded(event, seq=len(self.records) + 1, ts=ts, ep=self.epoch)
            self.records.append(recorded)
            evolve(self.state, recorded)

    def decide(self, command: Command) -> list[Event] | Rejected:
        """What the command would lead to now; nothing is recorded."""
        return decide(command, self.state, self.now)

    def do(self, command: Command) -> list[Event]:
        """Decide, record, and go on until nothing follows; return all that was recorded. Refusals record nothing."""
        answer = self.decide(command)
        events = [] if isinstance(answer, Rejected) else answer
        self.take_in(*events)
        return [*events, *self.settle()]

    def settle(self) -> list[Event]:
        """Record what follows from state and time until nothing does."""
        recorded: list[Event] = []
        for _ in range(MAX_GROUPS):
            events = decide_due(self.state, self.now)
            if not events:
                return recorded
            self.take_in(*events)
            recorded += events
        raise AssertionError(f"it never comes to rest: {recorded[-3:]}")

    def wait(self, seconds: float) -> list[Event]:
        """Let time pass and record what falls due."""
        self.now += seconds
        return self.settle()

    def task(self, uid: str) -> TaskState:
        """The task of that uid."""
        return self.state.tasks[TaskUid(uid)]

    def replica(self, name: str) -> ReplicaState:
        """The replica of that name."""
        return self.state.replicas[ReplicaName(name)]


def declare(agent: str = "blue", *, uid: str = "", generation: int = 1, **spec: Any) -> DeclareAgent:
    """An Agent object, by default one blue replica with one slot."""
    return DeclareAgent(
        agent=AgentName(agent), uid=uid or f"uid-of-{agent}", generation=generation, spec={"role": "blue", **spec}
    )


def register(replica: str = "blue-0", incarnation: str = "", slots: int = 1) -> RegisterReplica:
    """An agent process that begins."""
    return RegisterReplica(agent=ReplicaName(replica), incarnation=incarnation or f"pod-of-{replica}/1", slots=slots)


def submit(uid: str, *, name: str = "", generation: int = 1, **spec: Any) -> SubmitTask:
    """A Task object, by default one that any blue agent takes."""
    raw: Mapping[str, Any] = {"type": "search", "prompt": "find it", **spec}
    return SubmitTask(task=TaskUid(uid), name=name or uid, spec=raw, generation=generation)


def remove(uid: str) -> RemoveTask:
    """The Task object is gone."""
    return RemoveTask(task=TaskUid(uid))


def accept(uid: str, *, replica: str = "blue-0", incarnation: str = "", attempt: int = 1) -> AcceptAttempt:
    """The agent says that it runs."""
    return AcceptAttempt(
        agent=ReplicaName(replica),
        incarnation=incarnation or f"pod-of-{replica}/1",
        task=TaskUid(uid),
        attempt=attempt,
    )


def finish(
    uid: str,
    outcome: str = "Succeeded",
    *,
    replica: str = "blue-0",
    incarnation: str = "",
    attempt: int = 1,
    **said: Any,
) -> FinishAttempt:
    """The agent says how it ended."""
    return FinishAttempt(
        agent=ReplicaName(replica),
        incarnation=incarnation or f"pod-of-{replica}/1",
        task=TaskUid(uid),
        attempt=attempt,
        outcome=outcome,
        **said,
    )


def give_back(uid: str, reason: str = "RateLimited", *, after: float = 0.0, **said: Any) -> FinishAttempt:
    """The agent cannot go on, for a reason that is not the task's."""
    return finish(uid, "GivenBack", reason=reason, retry_after_seconds=after, **said)


def report(uid: str, *, replica: str = "blue-0", attempt: int = 1, **used: Any) -> ReportUsage:
    """What the ledger says about an attempt."""
    return ReportUsage(agent=ReplicaName(replica), task=TaskUid(uid), attempt=attempt, usage=Usage(**used))


def names(events: list[Event]) -> list[str]:
    """The types of events, in order."""
    return [type(event).__name__ for event in events]


def start_pool(*replicas: str, slots: int = 1, **spec: Any) -> Ledger:
    """A ledger with one blue pool whose replicas are Ready."""
    ledger = Ledger()
    ledger.do(declare(replicas=len(replicas), tasksPerReplica=slots, **spec))
    for replica in replicas:
        ledger.do(register(replica, slots=slots))
    return ledger
