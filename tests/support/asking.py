"""What attempts say while they work, as commands, and what they are answered."""

from __future__ import annotations

from typing import Any

from support.deciding import Ledger
from watchbill_coordination.core.assignments import pending_messages
from watchbill_coordination.core.commands import ReportProgress, RequestLock, ReturnLock, SettleChild, SubmitChild
from watchbill_coordination.core.messages import Answer, ChildEnded
from watchbill_coordination.core.specs import ReplicaName, TaskUid


def _who(uid: str, replica: str, incarnation: str, attempt: int) -> dict[str, Any]:
    return {
        "agent": ReplicaName(replica),
        "incarnation": incarnation or f"pod-of-{replica}/1",
        "task": TaskUid(uid),
        "attempt": attempt,
    }


def ask_lock(
    uid: str,
    name: str = "x",
    *,
    request: int = 1,
    shared: bool = False,
    replica: str = "blue-0",
    incarnation: str = "",
    attempt: int = 1,
) -> RequestLock:
    """The attempt asks for a lock."""
    return RequestLock(**_who(uid, replica, incarnation, attempt), request=request, name=name, shared=shared)


def return_lock(
    uid: str,
    name: str = "x",
    *,
    request: int = 2,
    replica: str = "blue-0",
    incarnation: str = "",
    attempt: int = 1,
) -> ReturnLock:
    """The attempt gives a lock back."""
    return ReturnLock(**_who(uid, replica, incarnation, attempt), request=request, name=name)


def ask_child(
    uid: str,
    name: str = "part",
    *,
    request: int = 1,
    replica: str = "blue-0",
    incarnation: str = "",
    attempt: int = 1,
    **spec: Any,
) -> SubmitChild:
    """The attempt submits a Task, by default with a prompt alone."""
    who = _who(uid, replica, incarnation, attempt)
    return SubmitChild(**who, request=request, name=name, spec={"prompt": "do a part", **spec})


def settle(name: str, uid: str = "", message: str = "") -> SettleChild:
    """The API server has the Task, or refuses it."""
    return SettleChild(name=name, uid=uid, message=message)


def report(
    uid: str,
    text: str = "half way",
    percent: int | None = 50,
    *,
    replica: str = "blue-0",
    incarnation: str = "",
    attempt: int = 1,
    key: str = "",
) -> ReportProgress:
    """The attempt says how far it is."""
    return ReportProgress(**_who(uid, replica, incarnation, attempt), text=text, percent=percent, key=key)


def answers(ledger: Ledger, replica: str = "blue-0") -> dict[int, Answer]:
    """What the attempts of that replica are told, by request number."""
    told = pending_messages(ledger.state, ledger.replica(replica))
    return {sent.message.request: sent.message for sent in told if isinstance(sent.message, Answer)}


def endings(ledger: Ledger, replica: str = "blue-0") -> list[ChildEnded]:
    """The ends of submitted Tasks that the attempts of that replica are told."""
    told = pending_messages(ledger.state, ledger.replica(replica))
    return [sent.message for sent in told if isinstance(sent.message, ChildEnded)]
