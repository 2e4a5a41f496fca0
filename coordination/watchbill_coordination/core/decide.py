"""What a command leads to, and what follows by itself.

Owns the entry points of all rules: `decide` for a wish, `decide_due` for what state and time alone ask for, `next_due`
for when to ask again. Pure: reads the state, changes nothing. Deciding a command again after its events were taken in
yields no event. Invariant: the events of one answer belong together and are recorded as one group.
"""

from __future__ import annotations

from watchbill_coordination.core import (
    decide_attempts,
    decide_children,
    decide_pools,
    decide_requests,
    decide_tasks,
    spending,
)
from watchbill_coordination.core.commands import (
    AcceptAttempt,
    Command,
    DeclareAgent,
    DrainReplica,
    FinishAttempt,
    LoseReplica,
    PublishContext,
    RegisterReplica,
    Rejected,
    RejectMessage,
    ReleaseReplica,
    RemoveAgent,
    RemoveTask,
    ReportProgress,
    ReportUsage,
    RequestLock,
    ReturnLock,
    SettleChild,
    SubmitChild,
    SubmitTask,
    WithdrawContext,
)
from watchbill_coordination.core.due import decide_due, next_due
from watchbill_coordination.core.events import ContextPublished, ContextWithdrawn, Event, MessageRejected
from watchbill_coordination.core.state import State

__all__ = ["decide", "decide_due", "next_due"]


def decide(command: Command, state: State, now: float) -> list[Event] | Rejected:
    """Return the events that the command leads to at `now` (seconds since the Unix epoch); none for a duplicate.

    `Rejected` is an expected refusal: the sender is late, foreign or unknown, and nothing is recorded.
    """
    match command:
        case AcceptAttempt():
            return decide_attempts.decide_accept(command, state)
        case FinishAttempt():
            return decide_attempts.decide_finish(command, state, now)
        case SubmitTask():
            return decide_tasks.decide_submit(command, state)
        case RemoveTask():
            return decide_tasks.decide_remove(command, state)
        case RegisterReplica() | ReleaseReplica() | LoseReplica() | DrainReplica():
            return decide_replica(command, state, now)
        case DeclareAgent():
            return decide_pools.decide_declare(command, state, now)
        case RemoveAgent():
            return decide_pools.decide_remove(command, state, now)
        case RequestLock() | ReturnLock() | SubmitChild():
            return decide_request(command, state)
        case ReportProgress():
            return decide_requests.decide_progress(command, state, now)
        case SettleChild():
            return decide_children.decide_settle(command, state)
        case PublishContext() | WithdrawContext():
            return decide_context(command, state)
        case ReportUsage():
            return spending.decide_usage(command, state)
        case RejectMessage():
            if f"{command.agent} {command.file}" in state.settled:
                return []
            return [MessageRejected(agent=command.agent, file=command.file, reason=command.reason)]
    return Rejected("UnknownCommand")


def decide_replica(command: Command, state: State, now: float) -> list[Event] | Rejected:
    """Commands about one replica."""
    match command:
        case RegisterReplica():
            return decide_pools.decide_register(command, state)
        case ReleaseReplica():
            return decide_pools.decide_release(command, state)
        case LoseReplica():
            return decide_pools.decide_lose(command, state)
        case DrainReplica():
            return decide_pools.decide_drain(command, state, now)
    return Rejected("UnknownCommand")


def decide_request(command: RequestLock | ReturnLock | SubmitChild, state: State) -> list[Event] | Rejected:
    """What a working attempt asks for; its number is answered once."""
    found = decide_requests.find_new_request(state, command)
    if found is None:
        return []
    if isinstance(found, Rejected):
        return found
    attempt, task = found
    match command:
        case RequestLock():
            return decide_requests.decide_lock(command, attempt, task, state)
        case ReturnLock():
            return decide_requests.decide_return(command, attempt, task)
        case SubmitChild():
            return decide_children.decide_child(command, task, state)


def decide_context(command: PublishContext | WithdrawContext, state: State) -> list[Event]:
    """A path is offered, with new content or again; or no longer."""
    known = state.context.get(command.path)
    if isinstance(command, WithdrawContext):
        return [] if known is None else [ContextWithdrawn(path=command.path)]
    if known == command.digest:
        return []
    return [ContextPublished(path=command.path, digest=command.digest)]
