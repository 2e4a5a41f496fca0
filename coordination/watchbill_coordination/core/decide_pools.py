"""What becomes of Agent objects and of agent processes.

Owns the life of replicas: they register, drain, are released or lost. An incarnation that was lost or released never
comes back; a new one ends all that the former one did. A pool that shrinks lets its highest ordinals go first.
"""

from __future__ import annotations

import re

from watchbill_coordination.core.commands import (
    DeclareAgent,
    DrainReplica,
    LoseReplica,
    RegisterReplica,
    Rejected,
    ReleaseReplica,
    RemoveAgent,
)
from watchbill_coordination.core.decide_attempts import decide_attempt_loss, decide_loss
from watchbill_coordination.core.events import (
    AgentDeclared,
    AgentRemoved,
    Event,
    ReplicaDraining,
    ReplicaRegistered,
    ReplicaReleased,
)
from watchbill_coordination.core.scheduling import list_members
from watchbill_coordination.core.specs import (
    MAX_REPLICAS,
    ReplicaName,
    build_agent_record,
    parse_agent_spec,
    parse_replica_name,
)
from watchbill_coordination.core.state import AgentState, ReplicaPhase, ReplicaState, State

MAX_SLOTS = 64  #: of one replica, whatever it claims
INCARNATION = re.compile(r"[A-Za-z0-9._/:-]{1,253}")


def decide_declare(command: DeclareAgent, state: State, now: float) -> list[Event] | Rejected:
    """An Agent object is there: new, changed, or seen before."""
    spec = parse_agent_spec(command.spec)
    declared = AgentDeclared(
        agent=command.agent, uid=command.uid, generation=command.generation, spec=build_agent_record(spec)
    )
    if command.uid in state.deleted:
        return Rejected("Removed")
    known = state.agents.get(command.agent)
    if known is None:
        return [declared]
    if known.uid != command.uid:
        return [declared] if known.removed else [*build_removal(state, known, now), declared]
    if command.generation < known.generation:
        return Rejected("OutdatedGeneration")
    return [] if (known.spec, known.generation) == (spec, command.generation) else [declared]


def decide_remove(command: RemoveAgent, state: State, now: float) -> list[Event]:
    """The Agent object of that uid is gone."""
    known = state.agents.get(command.agent)
    if known is None or known.uid != command.uid or known.removed:
        return []
    return build_removal(state, known, now)


def build_removal(state: State, agent: AgentState, now: float) -> list[Event]:
    """The pool is removed, and each of its replicas told to leave."""
    leaving = [replica for replica in list_members(state, agent.name) if replica.phase is ReplicaPhase.READY]
    return [
        AgentRemoved(agent=agent.name, uid=agent.uid),
        *(build_drain(agent, replica, "AgentRemoved", now) for replica in sort_highest_first(leaving)),
    ]


def decide_crowded(state: State, agent: AgentState, now: float) -> list[Event]:
    """The replicas that a pool no longer wants leave, the highest ordinal first."""
    wanted = 0 if agent.removed else agent.spec.wanted
    reason = "AgentRemoved" if agent.removed else "ScaledDown"
    members = list_members(state, agent.name)
    leaving = [one for one in members if one.phase is ReplicaPhase.READY and one.ordinal >= wanted]
    return [build_drain(agent, replica, reason, now) for replica in sort_highest_first(leaving)]


def sort_highest_first(replicas: list[ReplicaState]) -> list[ReplicaState]:
    """By ordinal, descending."""
    return sorted(replicas, key=lambda replica: -replica.ordinal)


def build_drain(agent: AgentState, replica: ReplicaState, reason: str, now: float) -> ReplicaDraining:
    """The replica leaves, and has the pool's `drainSeconds` for it."""
    return ReplicaDraining(agent=replica.name, reason=reason, deadline=now + agent.spec.drain_seconds)


def decide_register(command: RegisterReplica, state: State) -> list[Event] | Rejected:
    """An agent process is there."""
    parsed = parse_replica_name(command.agent)
    agent = state.agents.get(parsed[0]) if parsed is not None else None
    if parsed is None or agent is None or agent.removed:
        return Rejected("NoSuchAgent")
    if parsed[1] >= MAX_REPLICAS:
        return Rejected("OrdinalOutOfBounds")
    known = state.replicas.get(command.agent)
    if known is not None and known.phase.is_live and known.incarnation == command.incarnation:
        return []
    if not INCARNATION.fullmatch(command.incarnation):
        return Rejected("NoIncarnation")
    if command.incarnation in state.ended or (known is not None and is_earlier(command.incarnation, known.incarnation)):
        return Rejected("IncarnationEnded")
    slots = max(1, min(command.slots, MAX_SLOTS))
    registered = ReplicaRegistered(agent=command.agent, incarnation=command.incarnation, slots=slots)
    if known is None or not known.phase.is_live:
        return [registered]
    return [*decide_loss(state, command.agent, "ContainerRestarted"), registered]


def is_earlier(incarnation: str, known: str) -> bool:
    """Whether it is a former start of the same pod."""
    (pod, _, start), (known_pod, _, known_start) = incarnation.rpartition("/"), known.rpartition("/")
    if pod != known_pod or not (start.isdecimal() and known_start.isdecimal()):
        return False
    return int(start) < int(known_start)


def decide_release(command: ReleaseReplica, state: State) -> list[Event] | Rejected:
    """An agent process stopped cleanly; what it still held is lost."""
    replica = find_live(state, command.agent, command.incarnation)
    if replica is None:
        return Rejected("NotCurrent")
    events: list[Event] = []
    for attempt in replica.attempts.values():
        events += decide_attempt_loss(state, replica, attempt, "AgentReleased")
    return [*events, ReplicaReleased(agent=command.agent, incarnation=command.incarnation)]


def decide_lose(command: LoseReplica, state: State) -> list[Event]:
    """An agent process is gone without a word."""
    if find_live(state, command.agent, command.incarnation) is None:
        return []
    return decide_loss(state, command.agent, command.reason, command.message)


def decide_drain(command: DrainReplica, state: State, now: float) -> list[Event]:
    """The replica shall leave for a reason from outside."""
    replica = state.replicas.get(command.agent)
    agent = state.agents.get(replica.agent) if replica is not None else None
    if replica is None or agent is None or replica.phase is not ReplicaPhase.READY:
        return []
    return [build_drain(agent, replica, command.reason, now)]


def find_live(state: State, name: ReplicaName, incarnation: str) -> ReplicaState | None:
    """The replica, if that incarnation (any, when empty) of it is there."""
    replica = state.replicas.get(name)
    if replica is None or not replica.phase.is_live or incarnation not in ("", replica.incarnation):
        return None
    return replica
