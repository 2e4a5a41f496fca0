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
_ACCESS_MODES = {"ReadWriteOnce": "RWO", "ReadOnlyMany": "ROX", "ReadWriteMany": "RWX", "ReadWriteOncePod": "RWOP"}


def build_age(value: Obj, now: float) -> str:
    """Return the age of an object."""
    return age_of(value["metadata"].get("creationTimestamp"), now)


def decide_pod_status(value: Obj) -> str:
    """Return the word in the STATUS column, by upstream's rules: the most telling reason, not the phase."""
    status = value.get("status") or {}
    conditions = _index_conditions(value)
    word: str = status.get("reason") or status.get("phase") or "Unknown"
    if dig(conditions, "PodScheduled", "reason") == "SchedulingGated":
        word = "SchedulingGated"
    initialising = _decide_init_status(value)
    if initialising and dig(conditions, "Initialized", "status") != "True":
        word = initialising
    else:
        word = _decide_container_status(value, initialising or word)
    if value["metadata"].get("deletionTimestamp"):
        if status.get("reason") == "NodeLost":
            return "Unknown"
        return word if status.get("phase") in ("Succeeded", "Failed") else "Terminating"
    return word


def _decide_init_status(value: Obj) -> str | None:
    """Return what the first init container that is not done says, or None."""
    for index, each in enumerate(dig(value, "status", "initContainerStatuses", default=[])):
        ended, waiting = dig(each, "state", "terminated"), dig(each, "state", "waiting", "reason", default="")
        if ended and not ended.get("exitCode"):
            continue
        if ended:
            return f"Init:{_name_end(ended)}"
        if waiting and waiting != "PodInitializing":
            return f"Init:{waiting}"
        return f"Init:{index}/{len(dig(value, 'spec', 'initContainers', default=[]))}"
    return None


def _decide_container_status(value: Obj, word: str) -> str:
    """Return the reason of the first container that has one; Completed yields to an error and to what still runs."""
    is_any_running, failure = False, ""
    for each in reversed(dig(value, "status", "containerStatuses", default=[])):
        ended, waiting = dig(each, "state", "terminated"), dig(each, "state", "waiting", "reason", default="")
        if waiting:
            word = waiting
        elif ended:
            word = _name_end(ended)
            failure = word if ended.get("exitCode") else failure
        elif _is_running(each):
            is_any_running = True
    if word != "Completed":
        return word
    if is_any_running and dig(_index_conditions(value), "Ready", "status") == "True":
        return "Running"
    return failure or ("NotReady" if is_any_running else word)


def _index_conditions(value: Obj) -> Obj:
    return {each.get("type", ""): each for each in dig(value, "status", "conditions", default=[])}


def _is_running(container: Obj) -> bool:
    return bool(container.get("ready")) and dig(container, "state", "running") is not None


def _name_end(ended: Obj) -> str:
    """Return the reason of a container's end, else its signal or exit code."""
    if ended.get("reason"):
        return str(ended["reason"])
    return f"Signal:{ended['signal']}" if ended.get("signal") else f"ExitCode:{ended.get('exitCode', 0)}"


def _count_ready(value: Obj, now: float) -> str:
    statuses = dig(value, "status", "containerStatuses", default=[])
    return f"{sum(1 for each in statuses if _is_running(each))}/{len(dig(value, 'spec', 'containers', default=[]))}"


def _count_restarts(value: Obj, now: float) -> str:
    """Return the restarts, of init containers while they run and of containers after, and when the last one was."""
    field = "initContainerStatuses" if _decide_init_status(value) else "containerStatuses"
    statuses = dig(value, "status", field, default=[])
    count = sum(each.get("restartCount", 0) for each in statuses)
    last = max((dig(each, "lastState", "terminated", "finishedAt", default="") for each in statuses), default="")
    return f"{count} ({age_of(last, now)} ago)" if count and last else str(count)


def _event_source(value: Obj, now: float) -> str:
    component = dig(value, "source", "component") or value.get("reportingComponent") or ""
    host = dig(value, "source", "host") or value.get("reportingInstance")
    return f"{component}, {host}" if host else component


def _event_object(value: Obj, now: float) -> str:
    about = value.get("involvedObject") or {}
    kind, name = str(about.get("kind") or "").lower(), about.get("name")
    return f"{kind}/{name}" if name else kind


def _event_first(value: Obj, now: float) -> str:
    return age_of(value.get("firstTimestamp") or value.get("eventTime"), now)


def _event_last(value: Obj, now: float) -> str:
    last = dig(value, "series", "lastObservedTime") or value.get("lastTimestamp")
    return age_of(last, now) if last else _event_first(value, now)


def _node_status(value: Obj, now: float) -> str:
    ready = dig(_index_conditions(value), "Ready", "status")
    words = "Unknown" if ready is None else "Ready" if ready == "True" else "NotReady"
    return f"{words},SchedulingDisabled" if dig(value, "spec", "unschedulable") else words


def _node_roles(value: Obj, now: float) -> str:
    prefix = "node-role.kubernetes.io/"
    labels = value["metadata"].get("labels") or {}
    return ",".join(sorted(key.removeprefix(prefix) for key in labels if key.startswith(prefix)))


def _service_ports(value: Obj, now: float) -> str:
    ports = dig(value, "spec", "ports", default=[])
    return ",".join(f"{port.get('port', '')}/{port.get('protocol', 'TCP')}" for port in ports)


def _service_selector(value: Obj, now: float) -> str:
    return ",".join(f"{key}={wanted}" for key, wanted in dig(value, "spec", "selector", default={}).items())


def _access_modes(value: Obj, now: float) -> str:
    return ",".join(_ACCESS_MODES.get(mode, mode) for mode in dig(value, "status", "accessModes", default=[]))


CELLS: dict[str, Cell] = {
    "access modes": _access_modes,
    "data count": lambda value, now: len(value.get("data") or {}) + len(value.get("binaryData") or {}),
    "event count": lambda value, now: dig(value, "series", "count") or value.get("count") or 1,
    "event first seen": _event_first,
    "event last seen": _event_last,
    "event message": lambda value, now: str(value.get("message") or "").strip(),
    "event object": _event_object,
    "event source": _event_source,
    "node roles": _node_roles,
    "node status": _node_status,
    "phase": lambda value, now: (
        "Terminating" if value["metadata"].get("deletionTimestamp") else dig(value, "status", "phase")
    ),
    "pod ready": _count_ready,
    "pod restarts": _count_restarts,
    "pod status": lambda value, now: decide_pod_status(value),
    "role": lambda value, now: (
        f"{dig(value, 'roleRef', 'kind', default='')}/{dig(value, 'roleRef', 'name', default='')}"
    ),
    "service ports": _service_ports,
    "service selector": _service_selector,
}
