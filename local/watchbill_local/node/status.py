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
    image_id: str = ""

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
    not_ready = [c.name for c in main if not c.ready]
    unready = (
        {}
        if ready
        else {"reason": why or "ContainersNotReady", "message": f"containers with unready status: {not_ready}"}
    )
    conditions = [
        _condition("Initialized", initialized, known, now),
        _condition("Ready", ready, known, now, **unready),
        _condition("ContainersReady", ready, known, now, **unready),
        _condition("PodScheduled", True, known, now),
    ]
    status: Json = {
        "phase": phase,
        "conditions": conditions,
        "hostIP": facts.host_ip,
        "podIP": facts.pod_ip,
        "podIPs": [{"ip": facts.pod_ip}],
        "startTime": facts.start_time,
        "containerStatuses": [_container_status(c) for c in main],
        "qosClass": known.get("qosClass", "BestEffort"),
    }
    if len(main) < len(containers):
        status["initContainerStatuses"] = [_container_status(c) for c in containers if c.is_init]
    if facts.reason:
        status |= {"reason": facts.reason, "message": facts.message}
    return status


def _condition(kind: str, holds: bool, known: Json, now: datetime, **why: str) -> Json:
    value = "True" if holds else "False"
    before = next((c for c in known.get("conditions") or () if c["type"] == kind), None)
    since = before["lastTransitionTime"] if before and before["status"] == value else stamp(now)
    return {"type": kind, "status": value, "lastProbeTime": None, "lastTransitionTime": since, **why}


def _container_status(container: ContainerState) -> Json:
    status: Json = {
        "name": container.name,
        "image": container.spec.get("image", ""),
        "imageID": container.image_id,
        "state": container.state,
        "lastState": container.last_state,
        "ready": container.ready,
        "started": container.started,
        "restartCount": container.restarts,
    }
    if container.container_id:
        status["containerID"] = container.container_id
    return status


def stamp(moment: datetime) -> str:
    """RFC 3339 in whole seconds, as the API's Time."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
