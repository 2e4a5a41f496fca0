"""Strategic merge patch for the built-in kinds.

Owns which lists are merged by a key, which are sets and which are replaced, and the directives `$patch`,
`$retainKeys`, `$setElementOrder/...` and `$deleteFromPrimitiveList/...`. The table goes by the name of the field,
which is unambiguous among the kinds served here but for `ports`. Pure: the patched object is new.
"""

from __future__ import annotations

from typing import Any

from watchbill_local.server.values import Obj, copy_value, format_json

_LISTS_BY_KEY = {
    "name": "containers initContainers ephemeralContainers volumes env imagePullSecrets secrets resourceClaims "
    "resourceClaimStatuses allocatedResourcesStatus schedulingGates",
    "ip": "hostAliases podIPs hostIPs",
    "type": "conditions addresses",
    "uid": "ownerReferences",
    "mountPath": "volumeMounts",
    "devicePath": "volumeDevices",
    "topologyKey": "topologySpreadConstraints",
}
MERGE_KEYS = {field: key for key, fields in _LISTS_BY_KEY.items() for field in fields.split()}
PRIMITIVE_SETS = {"finalizers", "podCIDRs"}
_ORDER, _DELETE_FROM = "$setElementOrder/", "$deleteFromPrimitiveList/"
_REMOVED: Any = object()


def apply_strategic_patch(target: Obj, patch: Obj) -> Obj:
    """Return `target` with a strategic merge patch applied."""
    merged = _merge_object(target, patch)
    return {} if merged is _REMOVED else merged


def find_merge_key(field: str, items: list[Any]) -> str | None:
    """Return the member by which items of list `field` are matched, None when the list is no map."""
    if field == "ports":
        has_container_port = any(isinstance(item, dict) and "containerPort" in item for item in items)
        return "containerPort" if has_container_port else "port"
    return MERGE_KEYS.get(field)


def _merge(target: Any, patch: Any, field: str) -> Any:
    if isinstance(patch, dict):
        return _merge_object(target, patch)
    if isinstance(patch, list):
        return _merge_list(target, patch, field)
    return patch


def _merge_object(target: Any, patch: Obj) -> Any:
    directive = patch.get("$patch")
    if directive == "replace":
        return copy_value({key: value for key, value in patch.items() if key != "$patch"})
    if directive == "delete":
        return _REMOVED
    merged: Obj = dict(target) if isinstance(target, dict) else {}
    if "$retainKeys" in patch:
        merged = {key: value for key, value in merged.items() if key in patch["$retainKeys"]}
    for key, value in patch.items():
        _merge_member(merged, key, value)
    for key, order in patch.items():
        if key.startswith(_ORDER):
            _order_list(merged, key.removeprefix(_ORDER), order)
    return merged


def _merge_member(merged: Obj, key: str, value: Any) -> None:
    """Apply one member of a patch to `merged`, a fresh copy of the object."""
    if key.startswith(_DELETE_FROM):
        field = key.removeprefix(_DELETE_FROM)
        merged[field] = [item for item in merged.get(field) or [] if item not in value]
    elif value is None:
        merged.pop(key, None)
    elif not key.startswith("$"):
        result = _merge(merged.get(key), value, key)
        if result is _REMOVED:
            merged.pop(key, None)
        else:
            merged[key] = result


def _merge_list(target: Any, patch: list[Any], field: str) -> list[Any]:
    current: list[Any] = list(target) if isinstance(target, list) else []
    if any(isinstance(item, dict) and item.get("$patch") == "replace" for item in patch):
        return copy_value([item for item in patch if not (isinstance(item, dict) and "$patch" in item)])
    if field in PRIMITIVE_SETS:
        return current + [item for item in patch if item not in current]
    key = find_merge_key(field, patch + current)
    if key is None or not all(isinstance(item, dict) for item in patch):
        return copy_value(patch)
    for item in patch:
        _merge_item(current, item, key)
    return current


def _merge_item(current: list[Any], item: Obj, key: str) -> None:
    index = next((index for index, known in enumerate(current) if known.get(key) == item.get(key)), None)
    if item.get("$patch") == "delete":
        if index is not None:
            del current[index]
    elif index is None:
        current.append(_merge_object({}, item))
    else:
        current[index] = _merge_object(current[index], item)


def _order_list(merged: Obj, field: str, order: list[Any]) -> None:
    items = merged.get(field)
    if not isinstance(items, list):
        return
    key = find_merge_key(field, items)

    def identity(item: Any) -> str:
        return format_json(item.get(key) if isinstance(item, dict) and key else item)

    ranks = {identity(item): rank for rank, item in enumerate(order)}
    merged[field] = sorted(items, key=lambda item: ranks.get(identity(item), len(ranks)))
