"""The fold: what each event makes of the state.

Owns the step from one state to the next for the log, pools and shared context; `evolve_tasks` and `evolve_replicas`
own theirs. Invariant: the result depends on the records alone, so two folds of one log are equal, indexes included.
Never refuses: a recorded event is a fact, and one about somebody forgotten changes nothing but the place in the log.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from watchbill_coordination.core import (
    evolve_attempts,
    evolve_replicas,
    evolve_requests,
    evolve_tasks,
    evolve_working,
)
from watchbill_coordination.core.events import (
    AgentDeclared,
    AgentRemoved,
    ContextPublished,
    ContextWithdrawn,
    Event,
    LevelChanged,
    LogOpened,
    MessageRejected,
    Recorded,
)
from watchbill_coordination.core.specs import parse_agent_spec
from watchbill_coordination.core.state import AgentState, Level, State
from watchbill_coordination.core.timers import begin_epoch, settle_timers
from watchbill_coordination.core.upkeep import put_agent, refresh_task, remember


def evolve(state: State, recorded: Recorded) -> State:
    """Take one record into the state, which is changed in place and returned."""
    if recorded.ep != state.epoch:
        state.epoch, state.opened_at = recorded.ep, recorded.at
        begin_epoch(state)
    state.seq, state.ts = recorded.seq, recorded.ts
    handler = HANDLERS.get(type(recorded.event))
    if handler is not None:
        handler(state, recorded.event, recorded)
    settle_timers(state)
    return state


def fold(records: Iterable[Recorded], state: State | None = None) -> State:
    """Take all records into a state, by default an empty one."""
    folded = State() if state is None else state
    for recorded in records:
        evolve(folded, recorded)
    return folded


def on_log_opened(state: State, event: LogOpened, recorded: Recorded) -> None:
    """The log has a name."""
    state.log_id = event.log_id


def on_agent_declared(state: State, event: AgentDeclared, recorded: Recorded) -> None:
    """A pool is there, or its object changed: asking for more gives it time again, and it is parked no longer.

    Whoever changed it may have mended its credential; if not, the next attempt is given back.
    """
    spec = parse_agent_spec(event.spec)
    known = state.agents.get(event.agent)
    if known is None or known.uid != event.uid:
        known = AgentState(
            name=event.agent, uid=event.uid, generation=event.generation, spec=spec, declared_at=recorded.at
        )
    declared_at = recorded.at if spec.wanted > known.spec.wanted else known.declared_at
    changes = {"generation": event.generation, "spec": spec, "declared_at": declared_at}
    if known.is_parked:
        changes["parking_changed_at"] = recorded.at
    put_agent(state, known, recorded, parked_until=0.0, parked_reason="", parked_message="", **changes)


def on_agent_removed(state: State, event: AgentRemoved, recorded: Recorded) -> None:
    """The pool takes nothing more and is forgotten with its last replica."""
    remember(state.deleted, event.uid)
    known = state.agents.get(event.agent)
    if known is not None and known.uid == event.uid:
        put_agent(state, known, recorded, removed=True)


def on_level_changed(state: State, event: LevelChanged, recorded: Recorded) -> None:
    """The pool's level is another one."""
    known = state.agents.get(event.agent)
    if known is not None:
        since = recorded.at
        put_agent(state, known, recorded, level=Level(event.level), level_message=event.message, level_since=since)


def on_context_published(state: State, event: ContextPublished, recorded: Recorded) -> None:
    """Tasks that need it may go on."""
    state.context[event.path] = event.digest
    refresh_readers(state, event.path, recorded)


def on_context_withdrawn(state: State, event: ContextWithdrawn, recorded: Recorded) -> None:
    """Tasks that need it are held; running ones keep what they opened."""
    state.context.pop(event.path, None)
    refresh_readers(state, event.path, recorded)


def refresh_readers(state: State, path: str, recorded: Recorded) -> None:
    """Look again at the unfinished tasks that name this path."""
    for uid in state.index.readers.get(path, ()):
        refresh_task(state, uid, recorded.at)


def on_message_rejected(state: State, event: MessageRejected, recorded: Recorded) -> None:
    """The file is answered for good."""
    remember(state.settled, f"{event.agent} {event.file}")


HANDLERS: Mapping[type[Event], Callable[[State, Any, Recorded], None]] = {
    LogOpened: on_log_opened,
    AgentDeclared: on_agent_declared,
    AgentRemoved: on_agent_removed,
    LevelChanged: on_level_changed,
    ContextPublished: on_context_published,
    ContextWithdrawn: on_context_withdrawn,
    MessageRejected: on_message_rejected,
    **evolve_attempts.HANDLERS,
    **evolve_replicas.HANDLERS,
    **evolve_requests.HANDLERS,
    **evolve_tasks.HANDLERS,
    **evolve_working.HANDLERS,
}
