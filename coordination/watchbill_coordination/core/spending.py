"""What tasks spend on models, and what they may still spend.

Owns the arithmetic of budgets: an Agent's `budget.perTaskUSD` is for all attempts of a task together, so an attempt
may spend what its predecessors left. Owns how reports are taken as well: counters of an attempt only grow, so a late or
repeated report takes nothing back, and only the replica that had an attempt reports it. Invariant: what is left is
never below 0, and None means that there is no limit.
"""

from __future__ import annotations

from dataclasses import fields

from watchbill_coordination.core.commands import Rejected, ReportUsage
from watchbill_coordination.core.events import Event
from watchbill_coordination.core.state import AgentState, State, TaskState
from watchbill_coordination.core.usage import Usage, add_up
from watchbill_coordination.core.working_events import UsageReported

MAX_COUNT = 10**12  #: tokens, requests, turns or seconds of one attempt; more is no report
MAX_COST = 10**6  #: US dollars of one attempt
EXHAUSTED = 1e-6  #: US dollars; less than that buys nothing


def task_usage(task: TaskState) -> Usage:
    """What all attempts of the task have used together."""
    return add_up(task.usage.values())


def budget_left(pool: AgentState, task: TaskState, attempt: int) -> float | None:
    """US dollars that this attempt may spend with that pool: the budget less what earlier attempts cost."""
    budget = pool.spec.budget_per_task_usd
    if budget is None:
        return None
    spent = sum(usage.cost_usd for number, usage in task.usage.items() if number < attempt)
    left = round(budget - spent, 9)
    return left if left >= EXHAUSTED else 0.0


def remaining_budget(state: State, task: TaskState, attempt: int) -> float | None:
    """US dollars that an attempt which runs may spend in all; None without a limit, or where nothing runs."""
    replica = state.replicas.get(task.agent) if task.agent is not None else None
    pool = state.agents.get(replica.agent) if replica is not None else None
    return budget_left(pool, task, attempt) if pool is not None else None


def describe_spending(pool: AgentState, task: TaskState) -> str:
    """Why a task gets no further attempt."""
    budget, spent = pool.spec.budget_per_task_usd or 0.0, task_usage(task).cost_usd
    return f"its attempts cost ${spent:.4f}, and Agent {pool.name} gives a task ${budget:g} (budget.perTaskUSD)"


def decide_usage(command: ReportUsage, state: State) -> list[Event] | Rejected:
    """A report about the current attempt of a known task, or an earlier one, by the replica that had it."""
    task = state.tasks.get(command.task)
    if task is None:
        return Rejected("NoSuchTask")
    if not 1 <= command.attempt <= task.attempt:
        return Rejected("NoSuchAttempt")
    if task.ran_on.get(command.attempt) != command.agent:
        return Rejected("NotItsAttempt")
    if not is_believable(command.usage):
        return Rejected("UsageOutOfBounds")
    known = task.usage.get(command.attempt, Usage())
    grown = grow(known, command.usage)
    if grown == known:
        return []
    counters = {field.name: getattr(grown, field.name) for field in fields(Usage)}
    return [UsageReported(task=task.uid, agent=command.agent, attempt=command.attempt, **counters)]


def is_believable(usage: Usage) -> bool:
    """Whether every counter is a number within bounds; not-a-number is within none."""
    return all(
        0 <= getattr(usage, field.name) <= (MAX_COST if field.name == "cost_usd" else MAX_COUNT)
        for field in fields(Usage)
    )


def grow(known: Usage, said: Usage) -> Usage:
    """The larger of each counter."""
    return Usage(**{field.name: max(getattr(known, field.name), getattr(said, field.name)) for field in fields(Usage)})
