"""Attempts that end for a reason that is not their task's: the model's provider does not serve this credential now.

Owns what follows: the task waits again at once, with its key and without a spent retry, and the whole pool is parked,
since all of its replicas use one credential. A pool that is parked already is only parked for longer, never for less.
Invariant: what an agent says about the time is bounded, so no word of it keeps a pool from work for ever; and a task
that is given back over and over fails in the end.
"""

from __future__ import annotations

from collections.abc import Mapping

from watchbill_coordination.core.commands import FinishAttempt
from watchbill_coordination.core.events import Event, TaskFailed
from watchbill_coordination.core.requests import clean_line
from watchbill_coordination.core.said import clean_reason, clean_text
from watchbill_coordination.core.state import State, TaskState
from watchbill_coordination.core.working_events import AgentParked, AttemptGivenBack

MAX_GIVE_BACKS = 100  #: times that one task may be given back
MIN_PARKED, MAX_PARKED = 1.0, 3600.0  #: seconds that a pool is parked for one attempt that was given back
PARKED_FOR: Mapping[str, float] = {  #: seconds where the provider did not say how long
    "RateLimited": 30.0,
    "Overloaded": 15.0,
    "AuthenticationFailed": 60.0,
    "CredentialMissing": 15.0,
    "BillingProblem": 300.0,
}
OTHERWISE = 30.0  #: seconds for any other reason
GROWS_AFTER = 4  #: times that a task is given back before such a pause is doubled, again and again
MAX_GROWN = 300.0  #: seconds up to which it is doubled
MAX_PARKED_TEXT = 300  #: characters of why; it stands in the status of each task that waits


def decide_given_back(command: FinishAttempt, task: TaskState) -> list[Event]:
    """The current attempt of a task that goes on: it waits again, or has been given back too often."""
    given_back = AttemptGivenBack(
        task=task.uid,
        agent=command.agent,
        attempt=command.attempt,
        reason=clean_reason(command.reason, "GivenBack"),
        message=clean_text(command.message),
    )
    if task.give_backs + 1 < MAX_GIVE_BACKS:
        return [given_back]
    why = f"{task.give_backs + 1} attempts were given back, the last one by {command.agent} ({given_back.reason})"
    return [given_back, TaskFailed(task=task.uid, reason="GivenBackRepeatedly", message=why)]


def plan_parking(command: FinishAttempt, state: State, now: float) -> list[Event]:
    """Keep the sender's pool from work until its credential may be of use again, whatever becomes of the task."""
    replica = state.replicas.get(command.agent)
    pool = state.agents.get(replica.agent) if replica is not None else None
    if pool is None or pool.removed:
        return []
    reason = clean_reason(command.reason, "GivenBack")
    task = state.tasks.get(command.task)
    until = now + build_pause(reason, command.retry_after_seconds, give_backs=task.give_backs if task else 0)
    if until <= pool.parked_until:
        return []
    message = clean_line(command.message, MAX_PARKED_TEXT)
    return [AgentParked(agent=pool.name, reason=reason, message=message, until=until)]


def build_pause(reason: str, said: float, *, give_backs: int) -> float:
    """Seconds to wait: what the provider said, else what the reason calls for, within bounds.

    Where nothing was said, the pause doubles with every few times that the same task was given back before: a
    credential that is missing for hours must not use up `MAX_GIVE_BACKS`, and one that is made within minutes is found
    in seconds.
    """
    if said > 0:
        return min(max(said, MIN_PARKED), MAX_PARKED)
    first = PARKED_FOR.get(reason, OTHERWISE)
    return min(first * 2.0 ** min(give_backs // GROWS_AFTER, 10), max(first, MAX_GROWN))
