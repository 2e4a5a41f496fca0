"""Phases, restarts, bindings and probe verdicts: rules without processes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from watchbill_local.node.probes import Streak
from watchbill_local.node.process_node import is_suitable, is_waiting
from watchbill_local.node.reports import MAX_PODS
from watchbill_local.node.status import (
    ContainerState,
    PodFacts,
    build_status,
    decide_pause,
    decide_phase,
    decide_restart,
    restore_state,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
FACTS = PodFacts("127.0.0.1", "127.1.1.1", "2026-01-01T00:00:00Z")
DONE = PodFacts("127.0.0.1", "127.1.1.1", "2026-01-01T00:00:00Z", finished=True)


def container(state: dict[str, Any], **more: Any) -> ContainerState:
    return ContainerState({"name": "c"}, state=state, **more)


@pytest.mark.parametrize(
    ("policy", "code", "is_init", "again"),
    [
        ("Always", 0, False, True),
        ("Always", 0, True, False),
        ("Always", 1, True, True),
        ("OnFailure", 0, False, False),
        ("OnFailure", 1, False, True),
        ("Never", 1, False, False),
        ("Never", 1, True, False),
    ],
)
def test_the_restart_policy_decides(policy: str, code: int, is_init: bool, again: bool) -> None:
    """Always means OnFailure for an init container."""
    assert decide_restart(policy, code, is_init=is_init) is again


@pytest.mark.parametrize(
    ("states", "facts", "phase"),
    [
        ([container({"waiting": {}})], FACTS, "Pending"),
        ([container({"running": {}})], FACTS, "Running"),
        ([container({"waiting": {}}, restarts=1)], FACTS, "Running"),
        ([container({"terminated": {"exitCode": 0}})], DONE, "Succeeded"),
        ([container({"terminated": {"exitCode": 0}}), container({"terminated": {"exitCode": 2}})], DONE, "Failed"),
        ([container({"terminated": {"exitCode": 1}}, is_init=True), container({"waiting": {}})], DONE, "Failed"),
    ],
)
def test_the_phase_follows_the_containers(states: list[ContainerState], facts: PodFacts, phase: str) -> None:
    """As the kubelet computes it."""
    assert decide_phase(states, facts) == phase


def test_a_transition_time_stays_while_nothing_changes() -> None:
    """A condition whose status is the same keeps its time; one that changed gets now."""
    running = container({"running": {}}, ready=True)
    first = build_status([running], FACTS, {}, NOW)
    running.ready = False
    second = build_status([running], FACTS, first, NOW + timedelta(hours=1))
    times = {c["type"]: c["lastTransitionTime"] for c in second["conditions"]}
    assert (times["Initialized"], times["Ready"]) == ("2026-01-01T00:00:00Z", "2026-01-01T01:00:00Z")


def test_a_container_that_ran_when_the_node_died_counts_as_restarted() -> None:
    """Its end is unknown, its count goes up by one."""
    state = container({"waiting": {}})
    restore_state(state, {"state": {"running": {"startedAt": "t"}}, "restartCount": 2}, "Always")
    assert (state.restarts, state.last_state["terminated"]["exitCode"]) == (3, 255)


def test_a_container_that_has_ended_for_good_stays_ended() -> None:
    """Under restartPolicy Never a lost container is not run again."""
    state = container({"waiting": {}})
    restore_state(state, {"state": {"running": {}}, "restartCount": 0}, "Never")
    assert (state.restarts, state.exit_code) == (0, 255)


def test_a_streak_needs_its_thresholds_in_a_row() -> None:
    """Three failures in a row are a verdict; one success in between starts the count anew."""
    streak, probe = Streak(), {"failureThreshold": 3, "successThreshold": 2}
    answers = [streak.count(good, probe) for good in (False, False, True, False, False, False, True, True)]
    assert answers == [None, None, None, None, None, False, None, True]


@pytest.mark.parametrize(
    ("pod_spec", "node_spec", "running", "suitable"),
    [
        ({}, {}, 0, True),
        ({"nodeSelector": {"a": "b"}}, {}, 0, True),
        ({"nodeSelector": {"a": "c"}}, {}, 0, False),
        ({}, {"unschedulable": True}, 0, False),
        ({}, {}, MAX_PODS, False),
    ],
)
def test_a_pod_runs_by_selector_cordon_and_room(
    pod_spec: dict[str, Any], node_spec: dict[str, Any], running: int, suitable: bool
) -> None:
    """Nothing else of a pod or node is looked at."""
    node = {"metadata": {"labels": {"a": "b"}}, "spec": node_spec}
    assert is_suitable(node, {"spec": pod_spec}, running=running) is suitable


@pytest.mark.parametrize(("crashes", "seconds"), [(1, 0), (2, 10), (3, 20), (4, 40), (7, 300), (5000, 300)])
def test_the_pause_between_starts_doubles_up_to_a_bound(crashes: int, seconds: float) -> None:
    """The first restart follows at once."""
    assert decide_pause(crashes, 10.0) == seconds


@pytest.mark.parametrize(
    ("spec", "waiting"),
    [
        ({}, True),
        ({"nodeName": "n"}, False),
        ({"schedulerName": "mine"}, False),
        ({"schedulingGates": [{"name": "g"}]}, False),
    ],
)
def test_only_pods_of_the_default_scheduler_wait_for_us(spec: dict[str, Any], waiting: bool) -> None:
    """Bound, gated and foreign pods are left alone."""
    assert is_waiting({"spec": spec, "metadata": {}}) is waiting
