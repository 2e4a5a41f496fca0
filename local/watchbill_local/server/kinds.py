"""The built-in kinds that the server knows.

Owns the way from the table `kinds.json` to `Resource`s: names, scopes, subresources, selectable fields, columns and
defaults (of a member whose name ends in `?` only where it is there) are data there; what needs code is named there and
stands here, in pod_rules.py, core_rules.py and crds.py. The cells of columns are shown by upstream's rules. A kind that
is not in the table does not exist here unless a CustomResourceDefinition brings it.

Far fewer mistakes are refused than upstream refuses. A fill function changes the object that it is given, which is the
caller's own copy; a check only reads.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import fields
from typing import Any

from watchbill_local.server import core_rules
from watchbill_local.server.crds import fill_crd
from watchbill_local.server.definition_rules import check_crd
from watchbill_local.server.errors import Cause
from watchbill_local.server.field_rules import check_fields
from watchbill_local.server.jsonpath import parse_jsonpath
from watchbill_local.server.pod_rules import check_pod, fill_pod
from watchbill_local.server.resource import Check, Fill, Resource, Row
from watchbill_local.server.times import age_of
from watchbill_local.server.values import Obj, copy_value, dig, load_table

#: (object, now in seconds since the epoch) -> what kubectl shows in a column.
Cell = Callable[[Obj, float], Any]

_FIELDS = {field.name for field in fields(Resource)}
_PLAIN_COLUMNS: list[Obj] = [{"name": "Name"}, {"name": "Age"}]


def build_kinds() -> list[Resource]:
    """Return all built-in kinds."""
    return [_build_kind(entry) for entry in load_table("kinds.json")]


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


def _node_status(value: Obj, now: float) -> str:
    word = {None: "Unknown", "True": "Ready"}.get(_find_condition(value, "Ready"), "NotReady")
    return f"{word},SchedulingDisabled" if dig(value, "spec", "unschedulable") else word


def _event_object(value: Obj, now: float) -> str:
    kind, name = (dig(value, "involvedObject", key, default="") for key in ("kind", "name"))
    return f"{kind.lower()}/{name}" if name else kind.lower()


def _name_subjects(value: Obj, kind: str) -> str:
    subjects = [each for each in value.get("subjects") or [] if each.get("kind") == kind]
    names = [(each.get("namespace", ""), each.get("name", "")) for each in subjects]
    return ", ".join(f"{namespace}/{name}" if kind == "ServiceAccount" else name for namespace, name in names)


_CELLS: dict[str, Cell] = {
    "name": lambda value, now: value["metadata"]["name"],
    "age": lambda value, now: age_of(value["metadata"].get("creationTimestamp"), now),
    "data count": lambda value, now: len(value.get("data") or {}) + len(value.get("binaryData") or {}),
    "event count": lambda value, now: dig(value, "series", "count") or value.get("count") or 1,
    "event first seen": lambda value, now: age_of(value.get("firstTimestamp") or value.get("eventTime"), now),
    "event last seen": _event_last,
    "event message": lambda value, now: str(value.get("message") or "").strip(),
    "event object": _event_object,
    "node status": _node_status,
    "pod ready": _count_ready,
    "pod restarts": _count_restarts,
    "pod status": lambda value, now: decide_pod_status(value),
    "ports": lambda value, now: ",".join(
        f"{each.get('port')}/{each.get('protocol')}" for each in dig(value, "spec", "ports", default=[])
    ),
    "selector": lambda value, now: ",".join(
        f"{k}={v}" for k, v in sorted(dig(value, "spec", "selector", default={}).items())
    ),
    "accounts": lambda value, now: _name_subjects(value, "ServiceAccount"),
    "groups": lambda value, now: _name_subjects(value, "Group"),
    "users": lambda value, now: _name_subjects(value, "User"),
    "role": lambda value, now: "/".join(dig(value, "roleRef", key, default="") for key in ("kind", "name")),
}


_FILLS: dict[str, Fill] = {
    "config map": core_rules.drop_empty,
    "definition": fill_crd,
    "namespace": core_rules.fill_namespace,
    "pod": fill_pod,
    "secret": core_rules.fill_secret,
    "service": core_rules.fill_service,
}
_CHECKS: dict[str, Check] = {
    "claim": core_rules.check_claim,
    "data": core_rules.check_data,
    "definition": check_crd,
    "event": core_rules.check_event,
    "pod": check_pod,
    "role": core_rules.check_role,
    "role binding": core_rules.check_role_binding,
    "service": core_rules.check_service,
}


def _build_kind(entry: Obj) -> Resource:
    columns = entry.get("columns", _PLAIN_COLUMNS)
    named = {key: tuple(value) if isinstance(value, list) else value for key, value in entry.items() if key in _FIELDS}
    made: dict[str, Any] = {
        "columns": tuple(_build_column(column) for column in columns),
        "row": _build_row(columns),
        "fill": functools.partial(_fill, entry.get("defaults") or {}, _FILLS.get(entry.get("fill", ""))),
        "check": functools.partial(_check, entry["kind"], _CHECKS.get(entry.get("check", ""))),
    }
    return Resource(**{"group": "", "version": "v1", **named, **made})


def _build_column(column: Obj) -> Obj:
    name, kind = column["name"], column.get("type", "string")
    form = "name" if name == "Name" else ""
    return {"name": name, "type": kind, "format": form, "description": name, "priority": column.get("priority", 0)}


def _build_row(columns: list[Obj]) -> Row:
    cells = [(_build_cell(column.get("cell", column["name"].lower())), column.get("empty", "")) for column in columns]

    def build_row(value: Obj, now: float) -> list[Any]:
        return [empty if (found := cell(value, now)) in (None, "") else found for cell, empty in cells]

    return build_row


def _build_cell(source: str) -> Cell:
    """Return (object, now) -> cell; a source is a path or the name of a function."""
    if source in _CELLS:
        return _CELLS[source]
    path = parse_jsonpath(source)
    return lambda value, now: ",".join([str(each) for each in path(value) if each is not None])


def _check(kind: str, special: Check | None, value: Obj, old: Obj | None) -> list[Cause]:
    return check_fields(kind, value) + (special(value, old) if special else [])


def _fill(defaults: Obj, special: Fill | None, value: Obj, old: Obj | None, now: str) -> None:
    _fill_defaults(value, defaults)
    if special:
        special(value, old, now)


def _fill_defaults(value: Obj, defaults: Obj) -> None:
    """Add members that are absent; an object is filled in member by member, and a list of one object item by item."""
    for key, default in defaults.items():
        if key.endswith("?"):  # filled in only where it is there
            if isinstance(value.get(key[:-1]), dict):
                _fill_defaults(value[key[:-1]], default)
            continue
        if isinstance(default, list) and isinstance(default[0], dict):
            for item in value.get(key) or []:
                _fill_defaults(item, default[0])
            continue
        if value.get(key) is None:
            value[key] = {} if isinstance(default, dict) else copy_value(default)
        if isinstance(default, dict):
            _fill_defaults(value[key], default)
