"""The rows of built-in kinds as kubectl shows them.

Owns the cells of each kind's Table; the columns stand with the kinds in kinds.py. Pure: `now` (seconds since the
epoch) is given, and each function returns one cell for each column, in their order.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from watchbill_local.server.times import age_of
from watchbill_local.server.values import Obj, dig

NONE = "<none>"
_ACCESS_MODES = {
    "ReadWriteOnce": "RWO",
    "ReadOnlyMany": "ROX",
    "ReadWriteMany": "RWX",
    "ReadWriteOncePod": "RWOP",
}
Cell = Callable[[Obj], Any]


def build_age(value: Obj, now: float) -> str:
    """Return the age of an object."""
    return age_of(value["metadata"].get("creationTimestamp"), now)


def build_plain_row(cells: list[Cell], wide: list[Cell] | None = None) -> Callable[[Obj, float], list[Any]]:
    """Return a row function: name, `cells`, age, then `wide`, which only `-o wide` shows."""

    def build_row(value: Obj, now: float) -> list[Any]:
        narrow = [cell(value) for cell in cells]
        return [value["metadata"]["name"], *narrow, build_age(value, now), *[cell(value) for cell in wide or []]]

    return build_row


def at(*path: str | int, default: Any = "") -> Cell:
    """Return a cell that shows what lies at a path."""
    return lambda value: dig(value, *path, default=default)


def count_of(*fields: str) -> Cell:
    """Return a cell that counts the members of maps or lists."""
    return lambda value: sum(len(value.get(field) or ()) for field in fields)


def build_access_modes(value: Obj) -> str:
    """Return the access modes of a claim: `RWO,ROX`."""
    modes = dig(value, "status", "accessModes", default=[])
    return ",".join(_ACCESS_MODES.get(mode, mode) for mode in modes)


def build_ports(value: Obj) -> str:
    """Return the ports of a service: `80/TCP,443/TCP`."""
    ports = dig(value, "spec", "ports", default=[])
    return ",".join(f"{port['port']}/{port.get('protocol', 'TCP')}" for port in ports) or NONE


def build_selector(value: Obj) -> str:
    """Return the selector of a service: `a=b,c=d`."""
    selector = dig(value, "spec", "selector", default={})
    return ",".join(f"{key}={wanted}" for key, wanted in selector.items()) or NONE


def build_role_ref(value: Obj) -> str:
    """Return what a binding binds: `Role/name`."""
    return f"{dig(value, 'roleRef', 'kind', default='')}/{dig(value, 'roleRef', 'name', default='')}"


def build_node_status(value: Obj) -> str:
    """Return Ready, NotReady or Unknown, and whether scheduling is disabled."""
    conditions = dig(value, "status", "conditions", default=[])
    ready = next((each.get("status") for each in conditions if each.get("type") == "Ready"), None)
    words = "Unknown" if ready is None else "Ready" if ready == "True" else "NotReady"
    return f"{words},SchedulingDisabled" if dig(value, "spec", "unschedulable") else words


def build_node_roles(value: Obj) -> str:
    """Return the roles of a node, from its labels."""
    prefix = "node-role.kubernetes.io/"
    labels = value["metadata"].get("labels") or {}
    return ",".join(sorted(key.removeprefix(prefix) for key in labels if key.startswith(prefix))) or NONE


def build_node_address(kind: str) -> Cell:
    """Return a cell that shows a node's address of that kind."""

    def build_cell(value: Obj) -> str:
        addresses = dig(value, "status", "addresses", default=[])
        return next((each["address"] for each in addresses if each.get("type") == kind), NONE)

    return build_cell


def build_event_row(value: Obj, now: float) -> list[Any]:
    """Return the row of a core event."""
    about, source, series = (value.get(key) or {} for key in ("involvedObject", "source", "series"))
    first = value.get("firstTimestamp") or value.get("eventTime")
    last = series.get("lastObservedTime") or value.get("lastTimestamp") or first
    component = source.get("component") or value.get("reportingComponent") or ""
    host = source.get("host")
    return [
        age_of(last, now),
        value.get("type") or "",
        value.get("reason") or "",
        f"{about.get('kind', '').lower()}/{about.get('name', '')}",
        about.get("fieldPath") or "",
        f"{component}, {host}" if host else component,
        (value.get("message") or "").strip(),
        age_of(first, now),
        series.get("count") or value.get("count") or 1,
        value["metadata"]["name"],
    ]


def build_pod_row(value: Obj, now: float) -> list[Any]:
    """Return the row of a pod: name, ready, status, restarts, age, address, node, nominated node, readiness gates."""
    spec, status = value.get("spec") or {}, value.get("status") or {}
    statuses = status.get("containerStatuses") or []
    ready = sum(1 for each in statuses if each.get("ready") and dig(each, "state", "running") is not None)
    return [
        value["metadata"]["name"],
        f"{ready}/{len(spec.get('containers') or [])}",
        decide_pod_status(value),
        _build_restarts(status, now),
        build_age(value, now),
        status.get("podIP") or NONE,
        spec.get("nodeName") or NONE,
        status.get("nominatedNodeName") or NONE,
        _build_readiness_gates(spec, status),
    ]


def decide_pod_status(value: Obj) -> str:
    """Return the word in the STATUS column, by kubectl's rules: the most telling reason, not the phase."""
    status = value.get("status") or {}
    conditions = {each.get("type"): each for each in status.get("conditions") or []}
    word: str = status.get("reason") or status.get("phase") or "Unknown"
    if dig(conditions, "PodScheduled", "reason") == "SchedulingGated":
        word = "SchedulingGated"
    init = _decide_init_status(value)
    word = init or _decide_container_status(status, conditions, word)
    if value["metadata"].get("deletionTimestamp"):
        if status.get("reason") == "NodeLost":
            return "Unknown"
        return word if status.get("phase") in ("Succeeded", "Failed") else "Terminating"
    return word


def _decide_init_status(value: Obj) -> str | None:
    """Return what an init container that is not done says, or None."""
    for index, each in enumerate(dig(value, "status", "initContainerStatuses", default=[])):
        ended, waiting = dig(each, "state", "terminated"), dig(each, "state", "waiting", default={})
        if ended and not ended.get("exitCode"):
            continue
        if ended:
            return f"Init:{_name_end(ended)}"
        if waiting.get("reason") not in (None, "", "PodInitializing"):
            return f"Init:{waiting['reason']}"
        return f"Init:{index}/{len(dig(value, 'spec', 'initContainers', default=[]))}"
    return None


def _decide_container_status(status: Obj, conditions: dict[Any, Any], word: str) -> str:
    is_any_running = False
    for each in reversed(status.get("containerStatuses") or []):
        ended, waiting = dig(each, "state", "terminated"), dig(each, "state", "waiting", default={})
        if waiting.get("reason"):
            word = waiting["reason"]
        elif ended:
            word = _name_end(ended)
        elif each.get("ready") and dig(each, "state", "running") is not None:
            is_any_running = True
    if word == "Completed" and is_any_running:
        return "Running" if dig(conditions, "Ready", "status") == "True" else "NotReady"
    return word


def _name_end(ended: Obj) -> str:
    """Return the reason of a container's end, else its signal or exit code."""
    if ended.get("reason"):
        return str(ended["reason"])
    return f"Signal:{ended['signal']}" if ended.get("signal") else f"ExitCode:{ended.get('exitCode', 0)}"


def _build_restarts(status: Obj, now: float) -> str:
    statuses = [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]
    count = sum(each.get("restartCount", 0) for each in statuses)
    ends = [dig(each, "lastState", "terminated", "finishedAt", default="") for each in statuses]
    last = max(ends, default="")
    return f"{count} ({age_of(last, now)} ago)" if count and last else str(count)


def _build_readiness_gates(spec: Obj, status: Obj) -> str:
    gates = spec.get("readinessGates") or []
    if not gates:
        return NONE
    true = {each.get("type") for each in status.get("conditions") or [] if each.get("status") == "True"}
    return f"{sum(1 for gate in gates if gate.get('conditionType') in true)}/{len(gates)}"
