"""Kubernetes Events about Tasks and Agents, from recorded events.

Owns which records a person should see in `kubectl describe`, and in what words. Pure. Invariants: the name of an Event
follows from log and place, so that making it twice makes one; exceptional ones (retry, lost, refused, level, failure)
are always made, but for those that an agent can provoke at will; ordinary ones only while the budget lasts, which a
busy system has used up.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from watchbill_coordination.core import events as ev
from watchbill_coordination.core import working_events as work
from watchbill_coordination.core.specs import AgentName, ReplicaName, TaskUid, parse_replica_name
from watchbill_coordination.core.state import State
from watchbill_operator.conditions import clip, format_time

API_VERSION = "watchbill.dev/v1alpha1"
COMPONENT = "watchbill-operator"
BURST = 10.0  #: ordinary Events that may come at once
REFILL_PER_SECOND = 0.5
REFUSAL_BURST = 30.0  #: Events about what agents can provoke that may come at once; refilled alike
MESSAGE_BYTES = 1024
NAME_LIMIT = 200  #: characters of the object's name in the Event's name


@dataclass(frozen=True, slots=True)
class Budget:
    """Events that may still be made, besides those that are always made."""

    tokens: float = BURST  #: for ordinary ones
    at: float = 0.0  #: seconds since the Unix epoch, when the tokens were right
    refusals: float = REFUSAL_BURST  #: for those that an agent can provoke at will


@dataclass(frozen=True, slots=True)
class _Notice:
    """What one type of record says to people."""

    reason: str
    tell: Callable[[Any], str]
    is_exceptional: bool = False


def _by_type() -> Mapping[type[ev.Event], _Notice]:
    return {
        ev.AttemptFailed: _Notice("AttemptFailed", lambda e: f"Attempt {e.attempt} on {e.agent}: {e.message}", True),
        ev.AttemptLost: _Notice(
            "AttemptLost", lambda e: f"Attempt {e.attempt} was lost with {e.agent} ({e.reason}); it is repeated.", True
        ),
        ev.TaskRetryScheduled: _Notice(
            "RetryScheduled", lambda e: f"Another attempt follows, not before {format_time(e.not_before)}.", True
        ),
        ev.TaskFailed: _Notice("Failed", lambda e: f"{e.reason}: {e.message}", True),
        ev.ResultRefused: _Notice(
            "ResultRefused", lambda e: f"A result of attempt {e.attempt} from {e.agent} was refused: {e.reason}.", True
        ),
        ev.MessageRejected: _Notice(
            "MessageRejected", lambda e: f"A message of {e.agent} was put into quarantine: {e.reason}.", True
        ),
        ev.ReplicaLost: _Notice("ReplicaLost", lambda e: f"{e.agent} is lost ({e.reason}). {e.message}".strip(), True),
        ev.LevelChanged: _Notice("LevelChanged", lambda e: f"{e.previous} → {e.level}: {e.message}", True),
        work.AgentParked: _Notice(
            "AgentParked", lambda e: f"{e.reason}: no tasks before {format_time(e.until)}. {e.message}".strip(), True
        ),
        work.AgentUnparked: _Notice("AgentUnparked", lambda e: f"{e.agent} gets tasks again.", True),
        work.AttemptGivenBack: _Notice(
            "AttemptGivenBack",
            lambda e: (
                f"Attempt {e.attempt} was given back by {e.agent} ({e.reason}); it is repeated. {e.message}".strip()
            ),
            True,
        ),
        work.ChildRefused: _Notice(
            "ChildRefused", lambda e: f"A Task that attempt {e.attempt} asked for was refused: {e.message}", True
        ),
        ev.TaskDispatched: _Notice("Dispatched", lambda e: f"Attempt {e.attempt} was given to {e.agent}."),
        ev.TaskSucceeded: _Notice("Succeeded", lambda e: f"Attempt {e.attempt} on {e.agent} succeeded."),
        ev.TaskCancelled: _Notice("Cancelled", lambda e: e.message or "It was cancelled."),
        ev.ReplicaRegistered: _Notice("ReplicaReady", lambda e: f"{e.agent} takes tasks, {e.slots} at a time."),
        ev.ReplicaDraining: _Notice("ReplicaDraining", lambda e: f"{e.agent} is leaving ({e.reason})."),
    }


NOTICES = _by_type()
WARNINGS = frozenset(
    {
        ev.AttemptFailed,
        ev.AttemptLost,
        ev.TaskFailed,
        ev.ResultRefused,
        ev.MessageRejected,
        ev.ReplicaLost,
        work.AgentParked,
        work.AttemptGivenBack,
        work.ChildRefused,
    }
)
#: What an agent can have recorded as often as it likes: Events about that are bounded.
PROVOKED = (
    ev.MessageRejected,
    ev.ResultRefused,
    work.AgentParked,
    work.AgentUnparked,
    work.AttemptGivenBack,
    work.ChildRefused,
)


def build_kube_events(
    records: Iterable[ev.Recorded], state: State, namespace: str, budget: Budget
) -> tuple[list[dict[str, Any]], Budget]:
    """The Events to make for these records, and the budget that is left. Objects that are gone get none."""
    bodies = []
    for recorded in records:
        notice = NOTICES.get(type(recorded.event))
        subject = None if notice is None else _find_subject(recorded.event, state)
        if notice is None or subject is None:
            continue
        spent = _spend(_refill(budget, recorded.at), recorded.event, notice)
        if spent is None:
            continue
        budget = spent
        bodies.append(_build_body(recorded, notice, {**subject, "namespace": namespace}, state.log_id))
    return bodies, budget


def _refill(budget: Budget, at: float) -> Budget:
    gained = max(0.0, at - budget.at) * REFILL_PER_SECOND
    return Budget(
        tokens=min(BURST, budget.tokens + gained),
        at=max(at, budget.at),
        refusals=min(REFUSAL_BURST, budget.refusals + gained),
    )


def _spend(budget: Budget, event: ev.Event, notice: _Notice) -> Budget | None:
    """The budget after one more Event, or None where it is used up. Refusals are bounded: agents provoke them."""
    if isinstance(event, PROVOKED):
        return replace(budget, refusals=budget.refusals - 1) if budget.refusals >= 1 else None
    if notice.is_exceptional:
        return budget
    return replace(budget, tokens=budget.tokens - 1) if budget.tokens >= 1 else None


def _find_subject(event: ev.Event, state: State) -> dict[str, str] | None:
    """The object that the Event is about: the Task, else the Agent; None where the log no longer knows it."""
    task = state.tasks.get(TaskUid(getattr(event, "task", "")))
    if task is not None:
        return {"apiVersion": API_VERSION, "kind": "Task", "name": task.name, "uid": task.uid}
    if hasattr(event, "task"):
        return None
    agent = state.agents.get(_agent_of(getattr(event, "agent", ""), state))
    if agent is None or agent.removed:
        return None
    return {"apiVersion": API_VERSION, "kind": "Agent", "name": agent.name, "uid": agent.uid}


def _agent_of(name: str, state: State) -> AgentName:
    """The Agent of a replica's name, or the name itself: events about pools carry the Agent's."""
    replica = state.replicas.get(ReplicaName(name))
    if replica is not None:
        return replica.agent
    parsed = parse_replica_name(name)
    return AgentName(name) if AgentName(name) in state.agents or parsed is None else parsed[0]


def _build_body(recorded: ev.Recorded, notice: _Notice, subject: Mapping[str, str], log_id: str) -> dict[str, Any]:
    time = format_time(recorded.at)
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {
            "name": f"{_trim_name(subject['name'])}.{log_id[:8] or 'log'}{recorded.seq:x}",
            "namespace": subject["namespace"],
        },
        "involvedObject": dict(subject),
        "type": "Warning" if type(recorded.event) in WARNINGS or _is_worse(recorded.event) else "Normal",
        "reason": notice.reason,
        "message": _clip_bytes(notice.tell(recorded.event)),
        "source": {"component": COMPONENT},
        "reportingComponent": COMPONENT,
        "reportingInstance": "",
        "firstTimestamp": time,
        "lastTimestamp": time,
        "count": 1,
    }


def _clip_bytes(message: str) -> str:
    """The API server counts an Event's message in bytes."""
    return clip(message, MESSAGE_BYTES).encode()[:MESSAGE_BYTES].decode("utf-8", "ignore")


def _is_worse(event: ev.Event) -> bool:
    return isinstance(event, ev.LevelChanged) and event.level != "Normal"


def _trim_name(name: str) -> str:
    """The object's name, short enough and not ending in what a label of a name may not end in."""
    return re.sub(r"[^a-z0-9]+$", "", name[:NAME_LIMIT])
