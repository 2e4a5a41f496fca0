"""The fold's steps for work with a model: parked pools, use of models, preferences that ended.

Owns what state keeps of a pool's credential and of an attempt's spending. What attempts ask for while they work is
`evolve_requests`' part; an attempt that is given back ends like any other, in `evolve_attempts`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from watchbill_coordination.core.events import Event, Recorded
from watchbill_coordination.core.state import State
from watchbill_coordination.core.upkeep import put_agent, put_task
from watchbill_coordination.core.usage import Usage
from watchbill_coordination.core.working_events import AgentParked, AgentUnparked, PreferenceEnded, UsageReported


def on_parked(state: State, event: AgentParked, recorded: Recorded) -> None:
    """The pool gets no tasks until then; what runs goes on."""
    pool = state.agents.get(event.agent)
    if pool is not None:
        told = {"parked_reason": event.reason, "parked_message": event.message}
        since = pool.parking_changed_at if pool.is_parked else recorded.at
        put_agent(state, pool, recorded, parked_until=event.until, parking_changed_at=since, **told)


def on_unparked(state: State, event: AgentUnparked, recorded: Recorded) -> None:
    """The pool gets tasks again."""
    pool = state.agents.get(event.agent)
    if pool is not None:
        told = {"parked_reason": "", "parked_message": ""}
        put_agent(state, pool, recorded, parked_until=0.0, parking_changed_at=recorded.at, **told)


def on_usage(state: State, event: UsageReported, recorded: Recorded) -> None:
    """What the attempt has used in all, whether it still runs or not."""
    task = state.tasks.get(event.task)
    if task is not None:
        used = Usage(**{field.name: getattr(event, field.name) for field in fields(Usage)})
        put_task(state, task, recorded, usage={**task.usage, event.attempt: used})


def on_preference_ended(state: State, event: PreferenceEnded, recorded: Recorded) -> None:
    """Any replica may take it; its place in the order is the same."""
    task = state.tasks.get(event.task)
    if task is not None:
        put_task(state, task, recorded, preferred=None)


HANDLERS: Mapping[type[Event], Callable[[State, Any, Recorded], None]] = {
    AgentParked: on_parked,
    AgentUnparked: on_unparked,
    UsageReported: on_usage,
    PreferenceEnded: on_preference_ended,
}
