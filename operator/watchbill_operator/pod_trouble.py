"""Why a pod does not run, in words that name the cause and, where there is one, the fix.

Owns the reading of what kubelet, scheduler and API server say about pods: total on whatever JSON comes. Pure. Knows no
Agent: the same words serve the pods of agents and that of the operator.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from watchbill_operator.conditions import Finding, build_sentence, parse_time

IMAGE_REASONS = frozenset(
    {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError"}
)
IMAGE_UNAVAILABLE = "ImageUnavailable"
CONFIG_REASONS = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError"})
CREATING = frozenset({"ContainerCreating", "PodInitializing"})
ASK_DOCTOR = "`watchbill doctor` says what the claim waits for."
KILLED = 137  #: exit code of what SIGKILL ended; nodes do not always notice that it was for want of memory
OUT_OF_MEMORY = "OOMKilled"
STARVED = f"it used more memory than its limit ({OUT_OF_MEMORY})"
STILL_CREATING_SECONDS = 60.0  #: after which a container that is being made is told of
NODE_SAYS = {"InvalidImageName": "this is no name of an image", "ErrImageNeverPull": "the node has no such image"}


def find_trouble(status: Mapping[str, Any], container: Mapping[str, Any], what: str = "agent") -> Finding | None:
    """The first reason that the pod gives for not running."""
    if status.get("phase") == "Failed":
        reason = str(status.get("reason") or "PodFailed")
        return Finding(reason, build_sentence(str(status.get("message") or "The pod failed")))
    return find_container_trouble(container, what) or find_unscheduled(status)


def find_container_trouble(container: Mapping[str, Any], what: str) -> Finding | None:
    """Why a container waits to be started, where that is more than its turn."""
    waiting = _map(_map(container.get("state")).get("waiting"))
    reason, message = str(waiting.get("reason", "")), str(waiting.get("message", ""))
    if reason in IMAGE_REASONS:
        cause = message or NODE_SAYS.get(reason, reason)
        return Finding(IMAGE_UNAVAILABLE, _tell_image(str(container.get("image", "")), cause))
    if reason in CONFIG_REASONS:
        return Finding("ContainerNotCreated", build_sentence(f"The container cannot be made: {message or reason}"))
    if reason == "CrashLoopBackOff":
        return _explain_crashes(container, what)
    return None


def find_unscheduled(status: Mapping[str, Any]) -> Finding | None:
    """Why no node takes the pod."""
    for condition in status.get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            told = build_sentence(f"No node takes the pod: {condition.get('message') or 'no reason given'}")
            is_claim = "persistentvolumeclaim" in told.lower()
            return Finding("Unschedulable", f"{told} {ASK_DOCTOR}" if is_claim else told)
    return None


def find_creating_since(status: Mapping[str, Any], container: Mapping[str, Any]) -> float | None:
    """Since when a node has been making the container, in seconds since the Unix epoch; None: it is not."""
    if str(_map(_map(container.get("state")).get("waiting")).get("reason", "")) not in CREATING:
        return None
    for condition in status.get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("status") == "True":
            return parse_time(condition.get("lastTransitionTime"))
    return None


def build_still_creating(pod: str) -> Finding:
    """That a node has been making the container for long. Only Events say why, and agents' pods have many of those."""
    text = (
        f"{pod} has been in ContainerCreating for more than {STILL_CREATING_SECONDS:.0f} s: the Events that "
        f"`kubectl describe pod {pod}` shows say what is missing, such as a volume or a Secret"
    )
    return Finding("ContainerCreating", build_sentence(text))


def find_last_end(container: Mapping[str, Any]) -> Mapping[str, Any]:
    """How the newest run that is over ended: while the container does not run again, `state` may tell of it."""
    ends = [_map(_map(container.get(moment)).get("terminated")) for moment in ("state", "lastState")]
    return ends[0] or ends[1]


def build_refusal(pod: str, said: str) -> Finding:
    """That the API server refused a pod, and why, where its words are those of a known rule."""
    reason = "PodNotCreated"
    if "exceeded quota" in said or "failed quota" in said:
        reason = "QuotaExceeded"
    elif "violates PodSecurity" in said:
        reason = "PodSecurityRefused"
    return Finding(reason, build_sentence(f"The API server refused the pod {pod}: {said}"))


def _explain_crashes(container: Mapping[str, Any], what: str) -> Finding:
    ended = _map(_map(container.get("lastState")).get("terminated"))
    code, message = ended.get("exitCode", "unknown"), str(ended.get("message") or "").strip()
    if ended.get("reason") == OUT_OF_MEMORY:
        message = f"{STARVED}: raise that"
    elif not message and code == KILLED:
        message = "it was killed, as when it needs more memory than its limit"
    told = f"exit code {code}{', ' + message[-500:] if message else ''}."
    return Finding("CrashLooping", f"The {what} ends again and again: {told}")


def _tell_image(image: str, cause: str) -> str:
    """That an image cannot be had, and why; a node that names the image itself has said the whole sentence."""
    return build_sentence(cause if f'"{image}"' in cause else f"The image {image} cannot be had: {cause}")


def _map(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
