"""Which agents still live, by the heartbeats in their state folders.

Owns reading `state/heartbeat.json` (hostile input) and the rule for staleness: the counter of the incarnation that the
log knows did not change during 20 s of watching, by the watcher's own monotonic clock. Times inside the file are never
believed. Invariant: only silence that was really watched counts, so an operator that itself stood still loses nobody.
Heartbeats are neither events nor part of a projection.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from watchbill_coordination.core.commands import LoseReplica
from watchbill_coordination.core.specs import ReplicaName
from watchbill_coordination.core.state import ReplicaPhase, ReplicaState
from watchbill_coordination.storage.hostile import HostileFileError, open_directory, read_regular
from watchbill_coordination.storage.layout import HEARTBEAT, Layout

SIZE_LIMIT = 16 * 1024  #: bytes
STALE_AFTER_SECONDS = 20.0
WATCH_GAP_SECONDS = 7.0  #: between two looks; of a longer gap only this much counts as watched


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """What an agent process last said of itself."""

    incarnation: str
    counter: int


@dataclass(frozen=True, slots=True)
class Pulse:
    """What was seen of one replica."""

    incarnation: str
    counter: int | None  #: None: no heartbeat of that incarnation was seen yet
    silent: float  #: seconds of watched silence


@dataclass(frozen=True, slots=True)
class Pulses:
    """What was seen of all replicas, and when one looked last."""

    by_replica: Mapping[ReplicaName, Pulse] = field(default_factory=dict)
    looked_at: float | None = None  #: monotonic seconds


def read_heartbeat(layout: Layout, replica: ReplicaName) -> Heartbeat | None:
    """The heartbeat in that replica's state folder, or None where there is no sound one. Never blocks."""
    try:
        with open_directory(layout.workspace(replica), ("state",)) as folder:
            return parse_heartbeat(read_regular(folder, HEARTBEAT, SIZE_LIMIT))
    except HostileFileError:
        return None


def parse_heartbeat(content: bytes) -> Heartbeat | None:
    """Read a heartbeat file's content; None where it is not one."""
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        return None
    if not isinstance(body, dict):
        return None
    incarnation, counter = body.get("incarnation"), body.get("counter")
    if not isinstance(incarnation, str) or not isinstance(counter, int):
        return None
    return Heartbeat(incarnation, counter)


def evolve_pulses(
    pulses: Pulses, replicas: Iterable[ReplicaState], seen: Mapping[ReplicaName, Heartbeat | None], now: float
) -> Pulses:
    """Note one look at the heartbeats of the living `replicas`; `now` in monotonic seconds."""
    passed = 0.0 if pulses.looked_at is None else max(0.0, min(now - pulses.looked_at, WATCH_GAP_SECONDS))
    living = [replica for replica in replicas if replica.phase in (ReplicaPhase.READY, ReplicaPhase.DRAINING)]
    noted = {
        replica.name: _evolve_pulse(pulses.by_replica.get(replica.name), replica, seen.get(replica.name), passed)
        for replica in living
    }
    return Pulses(noted, now)


def _evolve_pulse(former: Pulse | None, replica: ReplicaState, beat: Heartbeat | None, passed: float) -> Pulse:
    counter = beat.counter if beat is not None and beat.incarnation == replica.incarnation else None
    if former is None or former.incarnation != replica.incarnation:
        return Pulse(replica.incarnation, counter, 0.0)
    if counter is not None and counter != former.counter:
        return Pulse(replica.incarnation, counter, 0.0)
    return Pulse(replica.incarnation, former.counter, former.silent + passed)


def find_stale(pulses: Pulses) -> list[LoseReplica]:
    """The replicas that are to be given up."""
    return [
        LoseReplica(
            agent=name,
            incarnation=pulse.incarnation,
            reason="HeartbeatStale",
            message=f"It has given no sign of life for {pulse.silent:.0f} s.",
        )
        for name, pulse in pulses.by_replica.items()
        if pulse.silent >= STALE_AFTER_SECONDS
    ]
