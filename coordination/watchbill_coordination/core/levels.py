"""How far a pool is from what was asked for.

Owns the capacity level: ready against wanted below 0.8 / 0.5 / 0.25 for 15 s is Constrained / Degraded / Critical,
and 30 s above a threshold takes it back. A pool has 60 s of grace when it begins, when it is asked for more and when
a new writer begins. Each threshold is a switch of its own with hysteresis; the level is the worst that is on.
"""

from __future__ import annotations

from dataclasses import replace

from watchbill_coordination.core.events import LevelChanged
from watchbill_coordination.core.state import AgentState, Level, State

THRESHOLDS = (0.8, 0.5, 0.25)  #: of ready/wanted, mildest first
LEVELS = (Level.NORMAL, Level.CONSTRAINED, Level.DEGRADED, Level.CRITICAL)
RAISE_AFTER = 15.0  #: seconds below
LOWER_AFTER = 30.0  #: seconds above
GRACE = 60.0  #: seconds in which nothing is raised


def read_signal(ready: int, wanted: int) -> Level:
    """What the counts say at this moment."""
    share = 1.0 if wanted == 0 else ready / wanted
    return LEVELS[sum(share < threshold for threshold in THRESHOLDS)]


def note_signal(agent: AgentState, signal: Level, at: float) -> AgentState:
    """Remember which thresholds the signal crosses at `at`. Part of `evolve`."""
    if signal is agent.signal:
        return agent
    before, after = LEVELS.index(agent.signal), LEVELS.index(signal)
    crossed = [at if (before > place) != (after > place) else then for place, then in enumerate(agent.crossed)]
    return replace(agent, signal=signal, crossed=(crossed[0], crossed[1], crossed[2]))


def switch_time(state: State, agent: AgentState, place: int) -> float | None:
    """When the switch of that threshold turns, if the signal stays as it is; None when it agrees with the signal."""
    is_on, is_below = LEVELS.index(agent.level) > place, LEVELS.index(agent.signal) > place
    if is_on == is_below:
        return None
    if is_on:
        return agent.crossed[place] + LOWER_AFTER
    return max(agent.crossed[place] + RAISE_AFTER, agent.declared_at + GRACE, state.opened_at + GRACE)


def next_change(state: State, agent: AgentState) -> float | None:
    """When the level changes if the signal stays as it is."""
    times = [switch_time(state, agent, place) for place in range(len(THRESHOLDS))]
    return min((time for time in times if time is not None), default=None)


def decide_level(state: State, agent: AgentState, now: float) -> list[LevelChanged]:
    """The change of level that is due."""
    level = LEVELS.index(agent.level)
    for place in range(len(THRESHOLDS)):
        time = switch_time(state, agent, place)
        if time is not None and time <= now:
            level = max(level, place + 1) if LEVELS.index(agent.signal) > place else min(level, place)
    if LEVELS[level] is agent.level:
        return []
    message = f"{count_ready(state, agent)} of {agent.spec.wanted} replicas are ready"
    return [LevelChanged(agent=agent.name, level=LEVELS[level], previous=agent.level, message=message)]


def count_ready(state: State, agent: AgentState) -> int:
    """Replicas that can be given tasks and are wanted."""
    return sum(state.replicas[name].phase == "Ready" for name in state.index.members.get(agent.name, ()))
