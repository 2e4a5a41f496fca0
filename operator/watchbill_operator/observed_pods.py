"""A pod as the API server tells of it, reduced to what decides something.

Owns the reading of pods: total on whatever JSON comes, since other controllers write parts of it. Pure. Why one does
not run is read in `pod_trouble`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from watchbill_coordination.core.specs import ReplicaName
from watchbill_operator import pods
from watchbill_operator.claude_pod import BROKER
from watchbill_operator.conditions import Finding, parse_time
from watchbill_operator.pod_trouble import (
    OUT_OF_MEMORY,
    find_container_trouble,
    find_creating_since,
    find_last_end,
    find_trouble,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PodView:
    """One observed pod."""

    name: str
    uid: str
    agent: str = ""  #: of its label
    owner_uid: str = ""  #: of its controller, an Agent unless somebody else made it; empty: has none
    template: str = ""  #: hash of the template that it was made from
    image: str = ""  #: that it asks for
    phase: str = "Pending"  #: Pending | Running | Succeeded | Failed | Unknown
    is_deleting: bool = False
    created_at: float = 0.0  #: seconds since the Unix epoch, as all times here
    started_at: float = 0.0  #: begin of the present run of the agent container, by its node's clock
    finished_at: float | None = None  #: newest end of a run of the agent container, by its node's clock
    is_between_runs: bool = False  #: the agent container ended and will be started again
    restarts: int = 0
    was_starved: bool = False  #: whether the kernel ended the newest run of the agent container that is over: no memory
    creating_since: float | None = None  #: since when a node has been making its container; None: it is not
    trouble: Finding | None = None  #: why it does not run, as far as the pod says
    broker_trouble: Finding | None = None  #: why its broker does not, if it has one
    broker_since: float = 0.0  #: when its broker began to run or ended last, by its node's clock

    @property
    def replica(self) -> ReplicaName:
        """The replica that it is, if it is one."""
        return ReplicaName(self.name)

    @property
    def is_orphan(self) -> bool:
        """Whether it was made for an Agent that was deleted with `--cascade=orphan`: nobody owns it any more."""
        return bool(self.template) and not self.owner_uid

    @property
    def has_ended(self) -> bool:
        """Whether it will never run again, whatever its restart policy."""
        return self.phase in ("Failed", "Succeeded")


def parse_pod(pod: Mapping[str, Any]) -> PodView:
    """Read a pod in its API form."""
    metadata, status = _map(pod.get("metadata")), _map(pod.get("status"))
    labels = _map(metadata.get("labels"))
    container, broker = _find_container(status, pods.CONTAINER), _find_container(status, BROKER)
    return PodView(
        name=str(metadata.get("name", "")),
        uid=str(metadata.get("uid", "")),
        agent=str(labels.get(pods.AGENT_LABEL, "")),
        owner_uid=_find_owner(metadata),
        template=str(labels.get(pods.TEMPLATE_LABEL, "")),
        image=pods.find_image(pod),
        phase=str(status.get("phase", "Pending")),
        is_deleting=bool(metadata.get("deletionTimestamp")),
        created_at=parse_time(metadata.get("creationTimestamp")) or 0.0,
        started_at=_find_start(container),
        finished_at=_find_end(container),
        is_between_runs=any(moment in _map(container.get("state")) for moment in ("waiting", "terminated")),
        restarts=int(container.get("restartCount") or 0),
        was_starved=find_last_end(container).get("reason") == OUT_OF_MEMORY,
        creating_since=find_creating_since(status, container),
        trouble=find_trouble(status, container),
        broker_trouble=find_container_trouble(broker, "broker"),
        broker_since=max(_find_start(broker), _find_end(broker) or 0.0),
    )


def _map(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _find_owner(metadata: Mapping[str, Any]) -> str:
    for owner in metadata.get("ownerReferences") or ():
        if owner.get("controller"):
            return str(owner.get("uid", ""))
    return ""


def _find_container(status: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    for container in status.get("containerStatuses") or ():
        if container.get("name") == name:
            return _map(container)
    return {}


def _find_start(container: Mapping[str, Any]) -> float:
    return parse_time(_map(_map(container.get("state")).get("running")).get("startedAt")) or 0.0


def _find_end(container: Mapping[str, Any]) -> float | None:
    ends = [
        parse_time(_map(_map(container.get(moment)).get("terminated")).get("finishedAt"))
        for moment in ("state", "lastState")
    ]
    return max((end for end in ends if end is not None), default=None)
