"""Who may take a Lease over, and when."""

from __future__ import annotations

import os

import pytest

from watchbill_operator.election import (
    Identity,
    LeaseView,
    is_gone,
    load_identity,
    load_start_time,
    parse_identity,
    parse_lease,
)

ME = Identity(host="h", boot="b", pid=10, started=100)


def starts(**times: int) -> dict[int, int]:
    """Start times by pid."""
    return {int(pid.removeprefix("p")): started for pid, started in times.items()}


@pytest.mark.parametrize(
    ("holder", "gone", "why"),
    [
        ("host/h/b/20/200", False, "it lives"),
        ("host/h/b/20/199", True, "its pid belongs to another process now"),
        ("host/h/b/21/1", True, "there is no such process"),
        ("host/h/old/20/200", True, "the machine was booted again"),
        ("host/other/b/21/1", False, "of another host nothing is known"),
        ("pod/123", False, "of another pod nothing is known"),
        ("kubectl-somebody", False, "it is not one of ours"),
    ],
)
def test_a_holder_on_this_host_is_looked_for(holder: str, gone: bool, why: str) -> None:
    """Only a process that certainly ended is replaced at once."""
    known = starts(p20=200)

    assert is_gone(holder, ME, lambda pid: known.get(pid, 0)) is gone, why


def test_a_pod_whose_container_restarted_leads_on_at_once() -> None:
    """It is the same pod, so its former process is gone."""
    me = Identity(pod_uid="p1")

    assert is_gone("pod/p1", me, lambda pid: 0)
    assert not is_gone("pod/p2", me, lambda pid: 0)


@pytest.mark.parametrize("identity", [ME, Identity(pod_uid="p1"), load_identity(), load_identity("p2")])
def test_an_identity_is_read_back_as_it_was_written(identity: Identity) -> None:
    """The Lease holds it as text."""
    assert parse_identity(str(identity)) == identity


def test_this_process_has_a_start_time() -> None:
    """And a pid that nobody has, none."""
    assert load_start_time(os.getpid()) > 0
    assert load_start_time(2**22 + 1) == 0


@pytest.mark.parametrize(
    "body",
    [{}, {"spec": None, "metadata": None}, {"metadata": {"annotations": {"watchbill.dev/epoch": "many"}}}],
)
def test_a_lease_that_somebody_else_wrote_is_read_as_far_as_possible(body: dict[str, object]) -> None:
    """Nothing in it is relied on."""
    assert parse_lease(body) == LeaseView()
