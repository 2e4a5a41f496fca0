"""What a pod's status says, from what its containers did.

Owns phase, conditions and container statuses. Pure: values in, values out; `now` is given. Invariant: a container
without a probe's consent is never ready, and a pod's phase never leaves Succeeded or Failed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from watchbill_local.node.api import Json

MAX_BACKOFF_SECONDS = 300.0
STATE_LOST = {"exitCode": 255, "reason": "Unknown", "message": "the node stopped and took this container with it"}


@dataclass(slots=True)
class ContainerState:
    """What became of one container so far; the worker changes it, status reads it."""

    spec: Json
    is_init: bool = False
    state: dict[str, Any] = field(default_factory=lambda: {"waiting": {"reason": "PodInitializing"}})
    last_state: dict[str, Any] = field(default_factory=dict)
    restarts: int = 0
    ready: bool = False
    started: bool = False
    container_id: str = ""

    @property
    def name(self) -> str:
        """The container's name within its pod."""
        return str(self.spec["name"])

    @property
    def exit_code(self) -> int | None:
        """The exit code of a container that will not run again, else None."""
        ended = self.state.get("terminated")
        return int(ended["exitCode"]) if ended else None


@dataclass(frozen=True, slots=True)
class PodFacts:
    """The rest of what a status is made from."""

    host_ip: str
    pod_ip: str
    start_time: str
    finished: bool = False  #: no container will be started again
    reason: str = ""
    message: str = ""  #: with `reason`: why the pod failed as a whole


def restore_state(container: ContainerState, known: Json | None, policy: str) -> None:
    """Take over what an earlier node reported: the restart count goes on, a container that ran has been lost.

    A container that has ended for good under the pod's restart `policy` keeps its end and is not started again.
    """
    if not known:
        return
    container.restarts = known.get("restartCount", 0)
    container.last_state = known.get("lastState") or {}
    state = known.get("state") or {}
    ended = state.get("terminated")
    if "running" in state:
        began = state["running"].get("startedAt")
        ended = STATE_LOST | {"startedAt": began, "containerID": known.get("containerID", "")}
    if not ended:
        return
    if decide_restart(policy, ended["exitCode"], is_init=container.is_init):
        container.last_state = {"terminated": ended}
        container.restarts += 1
    else:
        container.state = {"terminated": ended}


def decide_restart(policy: str, code: int, *, is_init: bool) -> bool:
    """Whether a container that ended with `code` runs again. Always means OnFailure for an init container."""
    return (policy == "Always" and not is_init) or (policy != "Never" and code != 0)


def decide_pause(crashes: int, first: float) -> float:
    """Seconds until the next start after so many in a row have ended: none at first, then `first`, then doubled."""
    return min(first * 2.0 ** min(crashes - 2, 30), MAX_BACKOFF_SECONDS) if crashes > 1 else 0.0


def decide_phase(containers: Sequence[ContainerState], facts: PodFacts) -> str:
    """The pod's phase, as the kubelet computes it."""
    main = [c for c in containers if not c.is_init]
    if facts.reason:
        return "Failed"
    if facts.finished:
        failed = any(c.exit_code != 0 for c in containers if c.exit_code is not None)
        return "Failed" if failed or any(c.exit_code is None for c in main) else "Succeeded"
    begun = any("running" in c.state or "terminated" in c.state or c.restarts for c in main)
    return "Running" if begun else "Pending"


def build_status(containers: Sequence[ContainerState], facts: PodFacts, known: Json, now: datetime) -> Json:
    """The whole `.status` of a pod; `known` is the status before, whose transition times stay where nothing changed."""
    main = [c for c in containers if not c.is_init]
    phase = decide_phase(containers, facts)
    initialized = all(c.exit_code == 0 for c in containers if c.is_init)
    ready = phase == "Running" and all(c.ready for c in main)
    why = "PodCompleted" if phase == "Succeeded" else "PodFailed" if phase == "Failed" else ""
    unready = {"reason": why or "ContainersNotReady"}
    unready["message"] = f"containers with unready status: {[c.name for c in main if not c.ready]}"
    values = {"Initialized": initialized, "Ready": ready, "ContainersReady": ready, "PodScheduled": True}
    status: Json = {
        "phase": phase,
        "conditions": [
            _condition(kind, holds, known, now) | (unready if not holds and kind.endswith("Ready") else {})
            for kind, holds in values.items()
        ],
        "hostIP": facts.host_ip,
        "podIP": facts.pod_ip,
        "podIPs": [{"ip": facts.pod_ip}],
        "startTime": facts.start_time,
        "containerStatuses": [_container_status(c) for c in main],
    }
    if len(main) < len(containers):
        status["initContainerStatuses"] = [_container_status(c) for c in containers if c.is_init]
    if facts.reason:
        status |= {"reason": facts.reason, "message": facts.message}
    return status


def _condition(kind: str, holds: bool, known: Json, now: datetime) -> Json:
    before = next((c for c in known.get("conditions") or () if c["type"] == kind), None)
    since = before["lastTransitionTime"] if before and before["status"] == str(holds) else stamp(now)
    return {"type": kind, "status": str(holds), "lastProbeTime": None, "lastTransitionTime": since}


def _container_status(container: ContainerState) -> Json:
    parts = {"name": container.name, "image": container.spec.get("image", ""), "imageID": ""}
    shown = {"state": container.state, "lastState": container.last_state, "restartCount": container.restarts}
    flags = {"ready": container.ready, "started": container.started}
    return parts | shown | flags | ({"containerID": container.container_id} if container.container_id else {})


def stamp(moment: datetime) -> str:
    """RFC 3339 in whole seconds, as the API's Time."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
