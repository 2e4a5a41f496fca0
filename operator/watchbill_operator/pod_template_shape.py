"""Whether a podTemplate has the shape that its rules and the merge can read.

Owns the first look: nesting, nulls, merge directives, and lists whose items are merged by a key. Pure and total: any
JSON value is answered. Invariant: what passes can be walked by `pod_template` and merged by `strategic_merge` without
a check of types at every step.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from watchbill_operator.conditions import Finding
from watchbill_operator.strategic_merge import APPENDED, ITEM_KEYS

MAX_DEPTH = 24


def check_shape(template: Any) -> Finding | None:
    """The first reason why the rules below could not even read it: nesting, nulls, directives, wrong types."""
    todo: list[tuple[str, Any, int]] = [("podTemplate", template, 0)]
    while todo:
        path, value, depth = todo.pop()
        if depth > MAX_DEPTH:
            return Finding("NestedTooDeep", f"{path[:200]} is nested deeper than {MAX_DEPTH} levels.")
        fault = _find_fault(path, value)
        if fault is not None:
            return fault
        if isinstance(value, Mapping):
            todo += [(f"{path}.{name}", member, depth + 1) for name, member in value.items()]
        elif isinstance(value, list):
            todo += [(f"{path}[{place}]", item, depth + 1) for place, item in enumerate(value)]
    return _check_types(template)


def _find_fault(path: str, value: Any) -> Finding | None:
    if value is None:
        return Finding("NullNotAllowed", f"{path} is null, which would remove what the operator builds; leave it out.")
    directives = [name for name in value if str(name).startswith("$")] if isinstance(value, Mapping) else []
    if directives:
        return Finding(
            "DirectiveNotAllowed", f"{path} has the merge directive {directives[0]}, which is not supported."
        )
    return None


def _check_types(template: Any) -> Finding | None:
    if not isinstance(template, Mapping):
        return Finding("Malformed", "podTemplate is not an object.")
    for part in ("metadata", "spec"):
        if not isinstance(template.get(part, {}), Mapping):
            return Finding("Malformed", f"podTemplate.{part} is not an object.")
    spec = template.get("spec", {})
    fault = _check_map_types("podTemplate.spec", spec)
    if fault is not None:
        return fault
    for path, container in list_containers(spec):
        fault = _check_map_types(path, container)
        if fault is not None:
            return fault
    return None


def _check_map_types(path: str, holder: Mapping[str, Any]) -> Finding | None:
    """Lists that are merged item by item hold objects with their key, which no two share."""
    for field, key in ITEM_KEYS.items():
        items = holder.get(field, [])
        if not isinstance(items, list) or not all(isinstance(item, Mapping) for item in items):
            return Finding("Malformed", f"{path}.{field} is not a list of objects.")
        keys = [item.get(key) for item in items]
        if not all(isinstance(value, str | int) and value != "" for value in keys):
            return Finding("Malformed", f"{path}.{field} has an item without {key}.")
        if len(set(keys)) < len(keys):
            return Finding("Malformed", f"{path}.{field} has two items with the same {key}.")
    for field in sorted(APPENDED):
        if not isinstance(holder.get(field, []), list):
            return Finding("Malformed", f"{path}.{field} is not a list.")
    if not isinstance(holder.get("securityContext", {}), Mapping):
        return Finding("Malformed", f"{path}.securityContext is not an object.")
    return None


def list_containers(spec: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every container of a pod spec with its path, those that are no objects left out."""
    for field in ("containers", "initContainers"):
        items = spec.get(field, [])
        for item in items if isinstance(items, list) else []:
            if isinstance(item, Mapping):
                yield f"podTemplate.spec.{field}[{item.get('name')}]", item
