"""How long to wait before a pod is made again that failed, or that the API server refused.

Owns the rule: the first replacement at once, then after 10 s, doubling to 300 s, forgotten after ten good minutes.
Pure: the failures are a value that the caller keeps; losing it (a restart of the operator) only means one early try.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from watchbill_operator.conditions import Finding
from watchbill_operator.observed_pods import PodView

FIRST_DELAY_SECONDS = 10.0
LAST_DELAY_SECONDS = 300.0
HEALTHY_SECONDS = 600.0  #: a pod that lived that long starts the count anew
FORGOTTEN_SECONDS = 3600.0
NAME_TAKEN = "NameTaken"  #: a refusal that costs nobody anything: tried again at the same pace


@dataclass(frozen=True, slots=True)
class Failure:
    """The newest failure of one replica's pods."""

    pod_uid: str  #: empty: the API server refused to make it
    count: int  #: in a row
    at: float  #: seconds since the Unix epoch
    finding: Finding | None = None  #: why the API server refused it


@dataclass(frozen=True, slots=True)
class PodFailures:
    """Failures by replica name."""

    by_replica: Mapping[str, Failure] = field(default_factory=dict)

    def not_before(self, replica: str) -> float:
        """When a pod of that replica may be made again, in seconds since the Unix epoch."""
        failure = self.by_replica.get(replica)
        if failure is None:
            return 0.0
        if failure.count <= 1:
            return failure.at
        return failure.at + min(FIRST_DELAY_SECONDS * 2.0 ** min(failure.count - 2, 16), LAST_DELAY_SECONDS)


def evolve_failures(failures: PodFailures, observed: Iterable[PodView], now: float) -> PodFailures:
    """Note pods that ended, each once, and forget what is long past. One that was told to go has not failed."""
    known = {name: failure for name, failure in failures.by_replica.items() if now - failure.at < FORGOTTEN_SECONDS}
    for pod in observed:
        former = known.get(pod.name)
        if pod.has_ended and not pod.is_deleting and (former is None or former.pod_uid != pod.uid):
            is_fresh = former is None or now - pod.created_at >= HEALTHY_SECONDS
            known[pod.name] = Failure(pod.uid, 1 if is_fresh or former is None else former.count + 1, now)
        elif former is not None and not former.pod_uid:
            del known[pod.name]  # it could be made after all
    return failures if known == failures.by_replica else PodFailures(known)


def evolve_refused(failures: PodFailures, replica: str, now: float, finding: Finding) -> PodFailures:
    """Note that a replica's pod could not be made, and why: the next try waits at least the first delay."""
    former = failures.by_replica.get(replica)
    count = 2 if former is None or finding.reason == NAME_TAKEN else former.count + 1
    return PodFailures({**failures.by_replica, replica: Failure("", count, now, finding)})
