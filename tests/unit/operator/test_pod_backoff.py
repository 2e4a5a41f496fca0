"""Which ends of a pod are failures that make the next one wait."""

from __future__ import annotations

from watchbill_operator.observed_pods import PodView
from watchbill_operator.pod_backoff import PodFailures, evolve_failures

NOW = 1_800_000_000.0


def after(*pods: PodView) -> float:
    """When the replica's next pod may be made, after these pods of it were seen."""
    failures = PodFailures()
    for pod in pods:
        failures = evolve_failures(failures, [pod], NOW)
    return failures.not_before("blue-0")


def test_pods_that_were_told_to_go_have_not_failed() -> None:
    """However often a fleet is changed, each of its pods is replaced at once."""
    drained = [
        PodView(name="blue-0", uid=str(n), phase="Succeeded", is_deleting=True, created_at=NOW) for n in range(9)
    ]

    assert after(*drained) == 0.0


def test_pods_that_end_by_themselves_are_waited_for_longer_and_longer() -> None:
    """Also with exit code 0: an agent does not end unless it is told to."""
    ended = [PodView(name="blue-0", uid=str(n), phase="Succeeded", created_at=NOW) for n in range(4)]

    assert after(*ended) == NOW + 40.0
