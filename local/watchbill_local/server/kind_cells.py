"""The cells of built-in kinds that need more than a path.

Owns what kubectl shows of pods, events, nodes and the like, by upstream's rules; which column shows which cell stands
in kinds.json. Pure: `now` (seconds since the epoch) is given.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from watchbill_local.server.times import age_of
from watchbill_local.server.values import Obj, dig

Cell = Callable[[Obj, float], Any]
_ROLE = "node-role.kubernetes.io/"


def decide_pod_status(value: Obj) -> str:
    """Return the word in the STATUS column, by upstream's rules: the most telling reason, not the phase."""
    status = value.get("status") or {}
    word: str = status.get("reason") or status.get("phase") or "Unknown"
    initialising = _decide_init_status(value)
    if not initialising or _find_condition(value, "Initialized") == "True":
        initialising = _decide_container_status(value, initialising or word)
    is_over = status.get("phase") in ("Succeeded", "Failed")
    return "Terminating" if value["metadata"].get("deletionTimestamp") and not is_over else initialising


def _decide_init_status(value: Obj) -> str | None:
    """Return what the first init container that is not done says, or None."""
    for index, each in enumerate(dig(value, "status", "initContainerStatuses", default=[])):
        ended, waiting = dig(each, "state", "terminated"), dig(each, "state", "waiting", "reason", default="")
        if ended and ended.get("exitCode"):
            return f"Init:{_name_end(ended)}"
        if waiting and waiting != "PodInitializing":
            return f"Init:{waiting}"
        if not ended:
            return f"Init:{index}/{len(dig(value, 'spec', 'initContainers', default=[]))}"
    return None


def _decide_container_status(value: Obj, word: str) -> str:
    """Return the reason of the first container that has one; Completed yields to an error and to what still runs."""
    statuses = dig(value, "status", "containerStatuses", default=[])
    failure = ""
    for each in reversed(statuses):
        ended, waiting = dig(each, "state", "terminated"), dig(each, "state", "waiting", "reason")
        word = waiting or (_name_end(ended) if ended else word)
        failure = word if ended and ended.get("exitCode") else failure
    if word != "Completed":
        return word
    is_any_running = any(_is_running(each) for each in statuses)
    if is_any_running and _find_condition(value, "Ready") == "True":
        return "Running"
    return failure or ("NotReady" if is_any_running else word)


def _find_condition(value: Obj, kind: str) -> str | None:
    found = (each.get("status") for each in dig(value, "status", "conditions", default=[]) if each.get("type") == kind)
    return next(found, None)


def _is_running(container: Obj) -> bool:
    return bool(container.get("ready")) and dig(container, "state", "running") is not None


def _name_end(ended: Obj) -> str:
    """Return the reason of a container's end, else its signal or exit code."""
    signal = f"Signal:{ended['signal']}" if ended.get("signal") else ""
    return ended.get("reason") or signal or f"ExitCode:{ended.get('exitCode', 0)}"


def _count_ready(value: Obj, now: float) -> str:
    statuses = dig(value, "status", "containerStatuses", default=[])
    ready = [each for each in statuses if _is_running(each)]
    return f"{len(ready)}/{len(dig(value, 'spec', 'containers', default=[]))}"


def _count_restarts(value: Obj, now: float) -> str:
    """Return the restarts, of init containers while they run and of containers after, and when the last one was."""
    field = "initContainerStatuses" if _decide_init_status(value) else "containerStatuses"
    statuses = dig(value, "status", field, default=[])
    count = sum(each.get("restartCount", 0) for each in statuses)
    last = max((dig(each, "lastState", "terminated", "finishedAt", default="") for each in statuses), default="")
    return f"{count} ({age_of(last, now)} ago)" if count and last else str(count)


def _event_last(value: Obj, now: float) -> str:
    times = (value.get(field) for field in ("lastTimestamp", "firstTimestamp", "eventTime"))
    return age_of(dig(value, "series", "lastObservedTime") or next(filter(None, times), None), now)


def _event_source(value: Obj, now: float) -> str:
    component = dig(value, "source", "component") or value.get("reportingComponent") or ""
    host = dig(value, "source", "host") or value.get("reportingInstance")
    return f"{component}, {host}" if host else component


def _node_status(value: Obj, now: float) -> str:
    word = {None: "Unknown", "True": "Ready"}.get(_find_condition(value, "Ready"), "NotReady")
    return f"{word},SchedulingDisabled" if dig(value, "spec", "unschedulable") else word


def _node_roles(value: Obj, now: float) -> str:
    labels = value["metadata"].get("labels") or {}
    return ",".join(sorted(key.removeprefix(_ROLE) for key in labels if key.startswith(_ROLE)))


def _event_object(value: Obj, now: float) -> str:
    kind, name = (dig(value, "involvedObject", key, default="") for key in ("kind", "name"))
    return f"{kind.lower()}/{name}" if name else kind.lower()


CELLS: dict[str, Cell] = {
    "name": lambda value, now: value["metadata"]["name"],
    "age": lambda value, now: age_of(value["metadata"].get("creationTimestamp"), now),
    "data count": lambda value, now: len(value.get("data") or {}) + len(value.get("binaryData") or {}),
    "event count": lambda value, now: dig(value, "series", "count") or value.get("count") or 1,
    "event first seen": lambda value, now: age_of(value.get("firstTimestamp") or value.get("eventTime"), now),
    "event last seen": _event_last,
    "event message": lambda value, now: str(value.get("message") or "").strip(),
    "event object": _event_object,
    "event source": _event_source,
    "node roles": _node_roles,
    "node status": _node_status,
    "pod ready": _count_ready,
    "pod restarts": _count_restarts,
    "pod status": lambda value, now: decide_pod_status(value),
    "role": lambda value, now: "/".join(dig(value, "roleRef", key, default="") for key in ("kind", "name")),
}
