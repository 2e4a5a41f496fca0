"""What follows from state and time alone.

Owns the order in which things fall due: first what is over or has become ready, then a drain, then a timer, and last a
dispatch, so that a slot goes to the best task of all that are ready. Each call answers with one group and costs what
that group costs; it is asked again until it has nothing to say.
"""

from __future__ import annotations

from watchbill_coordination.core import levels
from watchbill_coordination.core.decide_attempts import decide_loss
from watchbill_coordination.core.decide_pools import decide_crowded
from watchbill_coordination.core.events import Event, TaskDispatched, TaskFailed
from watchbill_coordination.core.follow_up import follow_up
from watchbill_coordination.core.index import Timer
from watchbill_coordination.core.locks import plan_tokens
from watchbill_coordination.core.scheduling import pick_next
from watchbill_coordination.core.specs import AgentName, TaskUid
from watchbill_coordination.core.spending import budget_left, describe_spending
from watchbill_coordination.core.state import State
from watchbill_coordination.core.timers import find_attempt
from watchbill_coordination.core.working_events import AgentUnparked, PreferenceEnded


def decide_due(state: State, now: float, *, may_dispatch: bool = True) -> list[Event]:
    """Return the next group of events that follows at `now` without a command; none when all is said.

    `may_dispatch` False: no new work is started, for a reason that the log does not know.
    """
    now = max(now, state.ts / 1e6)
    for uid in state.index.steps:
        return follow_up(state, state.tasks[uid], now)
    for name in state.index.crowded:
        return decide_crowded(state, state.agents[name], now)
    timer = state.index.timers.peek()
    if timer is not None and timer.at <= now:
        return decide_timer(state, timer, now)
    return decide_dispatch(state) if may_dispatch else []


def next_due(state: State, now: float | None = None) -> float | None:
    """When `decide_due` has something to say again if no command comes, or None for never.

    With `now`, the end of a finished task's time to live (`expired_tasks`) counts as well, if it is still to come.
    """
    if state.index.steps or state.index.crowded:
        return state.ts / 1e6
    timer = state.index.timers.peek()
    expiry = None if now is None else next_expiry(state, now)
    return min((at for at in (timer.at if timer is not None else None, expiry) if at is not None), default=None)


def expired_tasks(state: State, now: float) -> list[TaskUid]:
    """Finished tasks whose `ttlSecondsAfterFinished` is over: their objects shall be deleted."""
    due = state.index.expiries.up_to(Timer(now, "~", ""))
    return sorted(TaskUid(timer.name) for timer in due if TaskUid(timer.name) in state.tasks)


def next_expiry(state: State, now: float) -> float | None:
    """When the next time to live ends, those that ended already left out."""
    top = state.index.expiries.peek()
    if top is None or top.at > now:
        return top.at if top is not None else None
    return min((timer.at for timer in state.index.expiries.items if timer.at > now), default=None)


def decide_timer(state: State, timer: Timer, now: float) -> list[Event]:
    """A timer went off."""
    match timer.kind:
        case "retry":
            return follow_up(state, state.tasks[TaskUid(timer.name)], now)
        case "preference":
            return [PreferenceEnded(task=TaskUid(timer.name))]
        case "level":
            return [*levels.decide_level(state, state.agents[AgentName(timer.name)], now)]
        case "unpark":
            return [AgentUnparked(agent=AgentName(timer.name))]
    replica, attempt = find_attempt(state, timer)
    assert replica is not None
    if timer.kind == "drain":
        return decide_loss(state, replica.name, "DrainDeadlineExceeded", "it did not leave in time")
    assert attempt is not None
    message = f"task {attempt.task} attempt {attempt.attempt} should have ended long ago"
    return decide_loss(state, replica.name, "Unresponsive", message)


def decide_dispatch(state: State) -> list[Event]:
    """The best queued task goes to a free slot, with all of its locks; or fails, if it has spent what it may spend."""
    choice = pick_next(state)
    if choice is None:
        return []
    task, replica = state.tasks[choice.task], state.replicas[choice.replica]
    pool = state.agents[replica.agent]
    if budget_left(pool, task, task.attempt + 1) == 0:
        return [TaskFailed(task=task.uid, reason="BudgetExceeded", message=describe_spending(pool, task))]
    return [
        TaskDispatched(
            task=task.uid,
            agent=choice.replica,
            attempt=task.attempt + 1,
            incarnation=replica.incarnation,
            locks=plan_tokens(state, task.spec),
        )
    ]
