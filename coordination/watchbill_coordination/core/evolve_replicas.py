"""The fold's steps for replicas: registered, draining, released, lost.

Owns the phase of each replica. A replica that was lost or released is Ready again only as another incarnation. Its
attempts are ended by events of their own (`AttemptLost`), in the same group of records.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from watchbill_coordination.core.events import (
    Event,
    Recorded,
    ReplicaDraining,
    ReplicaLost,
    ReplicaRegistered,
    ReplicaReleased,
)
from watchbill_coordination.core.specs import parse_replica_name
from watchbill_coordination.core.state import ReplicaPhase, ReplicaState, State
from watchbill_coordination.core.upkeep import put_replica


def on_registered(state: State, event: ReplicaRegistered, recorded: Recorded) -> None:
    """A new life of the replica begins with empty hands."""
    parsed = parse_replica_name(event.agent)
    if parsed is None:
        return
    replica = ReplicaState(
        name=event.agent,
        agent=parsed[0],
        phase=ReplicaPhase.READY,
        incarnation=event.incarnation,
        slots=event.slots,
        ordinal=parsed[1],
        registered_at=recorded.at,
    )
    put_replica(state, replica, recorded)


def on_draining(state: State, event: ReplicaDraining, recorded: Recorded) -> None:
    """It takes nothing new."""
    replica = state.replicas.get(event.agent)
    if replica is not None:
        put_replica(
            state,
            replica,
            recorded,
            phase=ReplicaPhase.DRAINING,
            drain_deadline=event.deadline,
            drained_at=recorded.at,
            drain_seq=recorded.seq,
        )


def on_gone(state: State, event: ReplicaReleased | ReplicaLost, recorded: Recorded) -> None:
    """This incarnation never comes back."""
    replica = state.replicas.get(event.agent)
    if replica is not None and replica.incarnation == event.incarnation:
        phase = ReplicaPhase.LOST if isinstance(event, ReplicaLost) else ReplicaPhase.RELEASED
        put_replica(state, replica, recorded, phase=phase)


HANDLERS: Mapping[type[Event], Callable[[State, Any, Recorded], None]] = {
    ReplicaRegistered: on_registered,
    ReplicaDraining: on_draining,
    ReplicaReleased: on_gone,
    ReplicaLost: on_gone,
}
