"""Wishes to change: what the shell saw or was told, each to be decided against the state.

Owns the vocabulary between the shell and `decide`. A command may come twice, late, or after a crash; deciding it
again yields no event. None of them is recorded: only the events that they lead to are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from watchbill_coordination.core.specs import AgentName, ReplicaName, TaskUid
from watchbill_coordination.core.usage import Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A wish. `key` is the idempotency key of the message that carried it, or empty."""

    key: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclareAgent(Command):
    """An Agent object is there with this spec."""

    agent: AgentName
    uid: str
    generation: int
    spec: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveAgent(Command):
    """The Agent object of that uid is gone."""

    agent: AgentName
    uid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmitTask(Command):
    """A Task object is there with this spec: new, or changed in a field that may change."""

    task: TaskUid
    name: str
    spec: Mapping[str, Any]
    generation: int
    parent: str = ""  #: uid of the Task whose attempt asked for it, by its annotation; empty: a user's


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveTask(Command):
    """The Task object of that uid is gone."""

    task: TaskUid


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterReplica(Command):
    """An agent process says that it is there."""

    agent: ReplicaName
    incarnation: str
    slots: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptAttempt(Command):
    """An agent says that an attempt runs."""

    agent: ReplicaName
    incarnation: str
    task: TaskUid
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishAttempt(Command):
    """An agent says how an attempt ended. `outcome` is Succeeded, Failed, Cancelled or GivenBack."""

    agent: ReplicaName
    incarnation: str
    task: TaskUid
    attempt: int
    outcome: str
    reason: str = ""
    message: str = ""
    retryable: bool = True
    exit_code: int | None = None
    result: str = ""
    inline: bool = False  #: the accepted result is `stdout` alone, and that exactly `result`
    files: int = 0
    bytes: int = 0
    retry_after_seconds: float = 0.0  #: GivenBack: the pool's credential is of no use sooner


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportUsage(Command):
    """What an attempt has used of its model so far, by the broker's ledger. Each report replaces the one before."""

    agent: ReplicaName
    task: TaskUid
    attempt: int
    usage: Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportProgress(Command):
    """An attempt says how far it is."""

    agent: ReplicaName
    incarnation: str
    task: TaskUid
    attempt: int
    text: str
    percent: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestLock(Command):
    """An attempt asks for a lock while it works."""

    agent: ReplicaName
    incarnation: str
    task: TaskUid
    attempt: int
    request: int
    name: str
    shared: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ReturnLock(Command):
    """An attempt gives a lock back that it had asked for."""

    agent: ReplicaName
    incarnation: str
    task: TaskUid
    attempt: int
    request: int
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmitChild(Command):
    """An attempt asks for a Task of its own making."""

    agent: ReplicaName
    incarnation: str
    task: TaskUid
    attempt: int
    request: int
    name: str
    spec: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class SettleChild(Command):
    """What the API server said to a Task that an attempt had asked for: its uid, or a refusal."""

    name: str  #: of the Task
    uid: str = ""  #: empty: refused
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseReplica(Command):
    """An agent process stops cleanly."""

    agent: ReplicaName
    incarnation: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LoseReplica(Command):
    """A pod is gone, its container restarted, or its heartbeat stopped. Empty incarnation: whichever is known."""

    agent: ReplicaName
    incarnation: str
    reason: str
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DrainReplica(Command):
    """The replica shall leave for a reason that the state does not know, such as an outdated pod."""

    agent: ReplicaName
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishContext(Command):
    """A file or folder lies below shared-context/, whole."""

    path: str
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WithdrawContext(Command):
    """A file or folder is no longer offered."""

    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectMessage(Command):
    """A malformed message of this replica was put into quarantine."""

    agent: ReplicaName
    file: str
    reason: str


@dataclass(frozen=True, slots=True)
class Rejected:
    """An expected refusal: nothing happened, and why."""

    reason: str
