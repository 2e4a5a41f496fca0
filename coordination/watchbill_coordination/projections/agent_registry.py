"""`agent-registry.json`: every pool and every member of one, with what each runs.

One pool a line, one replica a line, sorted by name. Pure. Heartbeats are not in it: they are not events.
"""

from __future__ import annotations

from watchbill_coordination.codec.canonical import encode_canonical
from watchbill_coordination.core.state import AgentState, Attempt, ReplicaPhase, ReplicaState, State
from watchbill_coordination.projections.watermark import Watermark, build_file, format_time


def build_agent_registry(state: State, watermark: Watermark) -> bytes:
    """Return the file."""
    replicas = sorted(state.replicas.values(), key=_in_order)
    agents = sorted(state.agents.values(), key=lambda agent: agent.name)
    return build_file(
        watermark,
        {},
        {
            "agents": [_encode_agent(agent, replicas) for agent in agents],
            "replicas": [_encode_replica(replica, state) for replica in replicas],
        },
    )


def _in_order(replica: ReplicaState) -> tuple[str, int, str]:
    """By pool, then by number: a longer name of one pool has the higher number."""
    return (replica.agent, len(replica.name), replica.name)


def _encode_agent(agent: AgentState, replicas: list[ReplicaState]) -> bytes:
    members = [replica for replica in replicas if replica.agent == agent.name]
    return encode_canonical(
        {
            "name": agent.name,
            "uid": agent.uid,
            "role": agent.spec.role,
            "task_types": list(agent.spec.task_types),
            "replicas": agent.spec.replicas,
            "tasks_per_replica": agent.spec.tasks_per_replica,
            "ready": sum(replica.phase is ReplicaPhase.READY for replica in members),
            "busy": sum(bool(replica.attempts) for replica in members if replica.phase.is_live),
            "suspended": agent.spec.suspend,
            "removed": agent.removed,
            "level": str(agent.level),
            "level_message": agent.level_message,
            "parked_until": format_time(agent.parked_until),
            "parked_reason": agent.parked_reason,
            "parked_message": agent.parked_message,
            "seq": agent.last_seq,
        }
    )


def _encode_replica(replica: ReplicaState, state: State) -> bytes:
    attempts = sorted(replica.attempts.values(), key=lambda attempt: attempt.dispatched_seq)
    return encode_canonical(
        {
            "name": replica.name,
            "agent": replica.agent,
            "phase": str(replica.phase),
            "incarnation": replica.incarnation,
            "slots": replica.slots,
            "registered": format_time(replica.registered_at),
            "drain_deadline": format_time(replica.drain_deadline),
            "running": [_build_attempt(attempt, state) for attempt in attempts],
            "seq": replica.last_seq,
        }
    )


def _build_attempt(attempt: Attempt, state: State) -> dict[str, object]:
    task = state.tasks.get(attempt.task)
    return {
        "task": attempt.task,
        "name": "" if task is None else task.name,
        "attempt": attempt.attempt,
        "deadline": format_time(attempt.deadline),
        "stopping": attempt.stopping,
    }
