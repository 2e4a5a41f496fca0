"""What agents say about attempts, and which word counts.

Owns fencing: a result is accepted only from the replica, incarnation and attempt that hold the slot now. Anything
else is a late or foreign result: refused, and the refusal is recorded once. Owns what a failure leads to as well.
What an agent wrote reaches an event only within bounds, and only as text that a log can hold.
"""

from __future__ import annotations

from watchbill_coordination.core.commands import AcceptAttempt, FinishAttempt, Rejected
from watchbill_coordination.core.decide_given_back import decide_given_back, plan_parking
from watchbill_coordination.core.events import (
    AttemptAbandoned,
    AttemptFailed,
    AttemptLost,
    Event,
    ReplicaLost,
    ResultRefused,
    TaskCancelled,
    TaskFailed,
    TaskRetryScheduled,
    TaskStarted,
    TaskSucceeded,
)
from watchbill_coordination.core.evolve_attempts import INTERRUPTED, name_attempt
from watchbill_coordination.core.retry import build_delay
from watchbill_coordination.core.said import MAX_NUMBER, MAX_TEXT, UID, clean_exit_code, clean_reason, clean_text
from watchbill_coordination.core.specs import ReplicaName
from watchbill_coordination.core.state import Attempt, ReplicaState, State, TaskState

MAX_LOSSES = 5  #: agents that may vanish under one task before it is taken for the cause


def decide_accept(command: AcceptAttempt, state: State) -> list[Event] | Rejected:
    """The attempt runs; said again, late, or of a deleted task it changes nothing."""
    attempt = find_current(state, command)
    if attempt is None:
        return Rejected("NotCurrent")
    task = state.tasks.get(command.task)
    if task is None or task.accepted:
        return []
    return [TaskStarted(task=command.task, agent=command.agent, attempt=command.attempt)]


def decide_finish(command: FinishAttempt, state: State, now: float) -> list[Event] | Rejected:
    """The attempt ended; one that was given back keeps its pool from work as well."""
    if not (UID.fullmatch(command.task) and 0 <= command.attempt < MAX_NUMBER):
        return Rejected("NoSuchAttempt")
    if find_current(state, command) is None:
        return decide_refusal(command, state)
    parking = plan_parking(command, state, now) if command.outcome == "GivenBack" else []
    return [*decide_end(command, state, now), *parking]


def decide_end(command: FinishAttempt, state: State, now: float) -> list[Event]:
    """What the end of a current attempt means for its task."""
    task = state.tasks.get(command.task)
    if task is None:
        return decide_abandoned(command)
    if task.cancel_requested:
        ended = f"attempt {command.attempt} ended as {command.outcome} after the request"
        return [TaskCancelled(task=task.uid, message=ended)]
    if command.outcome == "Succeeded":
        return [build_success(command)]
    if command.outcome == "Cancelled":
        replica = state.replicas[command.agent]
        return decide_attempt_loss(state, replica, replica.attempts[task.uid], INTERRUPTED)
    if command.outcome == "GivenBack":
        return decide_given_back(command, task)
    return decide_failure(command, task, now)


def find_current(state: State, said: AcceptAttempt | FinishAttempt) -> Attempt | None:
    """The attempt that holds a slot now, if it is the one that the message means."""
    replica = state.replicas.get(said.agent)
    if replica is None or not replica.phase.is_live or replica.incarnation != said.incarnation:
        return None
    attempt = replica.attempts.get(said.task)
    return attempt if attempt is not None and attempt.attempt == said.attempt else None


def decide_refusal(command: FinishAttempt, state: State) -> list[Event]:
    """A late or foreign result is refused once; a repeated message about what is settled says nothing new."""
    if name_attempt(command.agent, command.task, command.attempt) in state.settled:
        return []
    return [
        ResultRefused(
            task=command.task,
            agent=command.agent,
            attempt=command.attempt,
            reason=explain_refusal(command, state),
        )
    ]


def explain_refusal(command: FinishAttempt, state: State) -> str:
    """Which part of the message is not current."""
    replica = state.replicas.get(command.agent)
    if replica is None or replica.incarnation != command.incarnation:
        return "UnknownIncarnation"
    if not replica.phase.is_live:
        return "ReplicaGone"
    task = state.tasks.get(command.task)
    if task is None:
        return "NoSuchTask"
    return "NotTheCurrentAttempt" if task.attempt != command.attempt else "NotItsAttempt"


def decide_abandoned(command: FinishAttempt) -> list[Event]:
    """The last that a deleted task's attempt says: its slot is free, its result counts for nobody."""
    said = {"task": command.task, "agent": command.agent, "attempt": command.attempt}
    confirmed = AttemptAbandoned(task=command.task, agent=command.agent, attempt=command.attempt)
    if command.outcome in ("Cancelled", "GivenBack"):
        return [confirmed]
    return [ResultRefused(**said, reason="TaskDeleted"), confirmed]  # type: ignore[arg-type]


def build_success(command: FinishAttempt) -> TaskSucceeded:
    """The accepted result, within bounds."""
    result = clean_text(command.result)
    return TaskSucceeded(
        task=command.task,
        agent=command.agent,
        attempt=command.attempt,
        result=result,
        files=command.files,
        bytes=command.bytes,
        exit_code=clean_exit_code(command.exit_code) or 0,
        inline=command.inline and result == command.result,
    )


def decide_failure(command: FinishAttempt, task: TaskState, now: float) -> list[Event]:
    """The attempt failed: another one follows after a delay, or none."""
    reason = clean_reason(command.reason, "Failed")
    failed = AttemptFailed(
        task=command.task,
        agent=command.agent,
        attempt=command.attempt,
        reason=reason,
        message=clean_text(command.message),
        retryable=command.retryable,
        exit_code=clean_exit_code(command.exit_code),
    )
    if command.retryable and task.retries < task.spec.retry.max_retries:
        delay = build_delay(task.spec.retry, task.uid, attempt=task.attempt, retries=task.retries)
        return [failed, TaskRetryScheduled(task=task.uid, not_before=now + delay)]
    return [failed, TaskFailed(task=task.uid, reason=reason, message=describe_failure(failed, task))]


def describe_failure(failed: AttemptFailed, task: TaskState) -> str:
    """The attempt's own words, and how many attempts there were."""
    tried = "1 attempt" if task.attempt == 1 else f"{task.attempt} attempts"
    why = "" if failed.retryable else ", not worth another one"
    return f"{failed.message or failed.reason} ({tried}{why})"[-MAX_TEXT:]


def decide_attempt_loss(state: State, replica: ReplicaState, attempt: Attempt, reason: str) -> list[Event]:
    """The attempt's agent is gone: its task waits again, or ends if it should end or too many agents were lost."""
    lost = AttemptLost(task=attempt.task, agent=replica.name, attempt=attempt.attempt, reason=reason)
    task = state.tasks.get(attempt.task)
    if task is None:
        return [lost]
    if task.cancel_requested:
        return [lost, TaskCancelled(task=task.uid, message="its agent was lost after the request")]
    if task.losses + 1 >= MAX_LOSSES:
        message = f"{task.losses + 1} agents were lost while they did it, the last one {replica.name} ({reason})"
        return [lost, TaskFailed(task=task.uid, reason="AgentLostRepeatedly", message=message)]
    return [lost]


def decide_loss(state: State, name: ReplicaName, reason: str, message: str = "") -> list[Event]:
    """The replica's present incarnation is gone, with all that it did."""
    replica = state.replicas[name]
    events: list[Event] = [
        ReplicaLost(agent=name, incarnation=replica.incarnation, reason=reason, message=message[:MAX_TEXT])
    ]
    for attempt in replica.attempts.values():
        events += decide_attempt_loss(state, replica, attempt, reason)
    return events
