"""Heartbeats: who counts as silent, and for how long."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.deciding import Ledger, register, start_pool
from watchbill_coordination.core.commands import LoseReplica
from watchbill_coordination.core.specs import ReplicaName
from watchbill_operator.heartbeats import Heartbeat, Pulses, evolve_pulses, find_stale, parse_heartbeat

BLUE = ReplicaName("blue-0")
INCARNATION = "pod-of-blue-0/1"


def watch(ledger: Ledger, looks: list[tuple[float, Heartbeat | None]], pulses: Pulses | None = None) -> Pulses:
    """Look at the heartbeat of blue-0 at each of these times."""
    pulses = pulses or Pulses()
    for now, beat in looks:
        pulses = evolve_pulses(pulses, ledger.state.replicas.values(), {BLUE: beat}, now)
    return pulses


def every_five_seconds(seconds: int, counter: int | None = None) -> list[tuple[float, Heartbeat | None]]:
    """Looks at a counter that stands still, or at one that grows when none is given."""
    times = range(0, seconds + 1, 5)
    return [(now, Heartbeat(INCARNATION, now if counter is None else counter)) for now in times]


def test_a_growing_counter_is_life() -> None:
    """For as long as it grows."""
    assert find_stale(watch(start_pool("blue-0"), every_five_seconds(600))) == []


def test_a_counter_that_stands_still_for_20_seconds_is_stale() -> None:
    """Not after 15."""
    ledger = start_pool("blue-0")

    assert find_stale(watch(ledger, every_five_seconds(15, counter=7))) == []
    (lost,) = find_stale(watch(ledger, every_five_seconds(20, counter=7)))
    assert isinstance(lost, LoseReplica)
    assert (lost.agent, lost.incarnation, lost.reason) == (BLUE, INCARNATION, "HeartbeatStale")


def test_a_heartbeat_that_never_comes_is_stale_too() -> None:
    """A replica that registered and then wrote nothing, or whose file an agent destroyed."""
    looks = [(float(now), None) for now in range(0, 21, 5)]

    assert len(find_stale(watch(start_pool("blue-0"), looks))) == 1


def test_the_beat_of_another_incarnation_is_no_proof_of_life() -> None:
    """The next process lives; the one that the log counts on does not."""
    looks = [(float(now), Heartbeat("pod-of-blue-0/2", now)) for now in range(0, 21, 5)]

    assert len(find_stale(watch(start_pool("blue-0"), looks))) == 1


def test_a_new_incarnation_starts_with_no_silence() -> None:
    """The old one's 15 s are not its own."""
    ledger = start_pool("blue-0")
    pulses = watch(ledger, every_five_seconds(15, counter=7))
    ledger.do(register("blue-0", "pod-of-blue-0/2"))
    pulses = watch(ledger, [(20.0, None), (25.0, None)], pulses)

    assert pulses.by_replica[BLUE].silent == 5


def test_an_operator_that_stood_still_loses_nobody() -> None:
    """After a pause of an hour only the watched part counts."""
    ledger = start_pool("blue-0")
    pulses = watch(ledger, [(0.0, Heartbeat(INCARNATION, 1)), (3600.0, Heartbeat(INCARNATION, 1))])

    assert find_stale(pulses) == []


def test_a_lost_replica_is_no_longer_watched() -> None:
    """Once is enough."""
    ledger = start_pool("blue-0")
    pulses = watch(ledger, every_five_seconds(20, counter=7))
    for command in find_stale(pulses):
        ledger.do(command)

    assert find_stale(watch(ledger, [(25.0, None)], pulses)) == []


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b'{"incarnation": 1, "counter": 1}', b'{"incarnation": "a"}', b"[" * 10_000, b"\xff"],
)
def test_what_is_no_heartbeat_is_none(content: bytes) -> None:
    """An agent can write anything there."""
    assert parse_heartbeat(content) is None


@given(st.binary(max_size=200))
def test_any_bytes_are_answered(content: bytes) -> None:
    """No exception, ever."""
    assert parse_heartbeat(content) is None or content


def test_a_heartbeat_is_read() -> None:
    """Its own time is ignored."""
    content = json.dumps({"incarnation": "u/1", "counter": 3, "time": "never", "running": []}).encode()

    assert parse_heartbeat(content) == Heartbeat("u/1", 3)
