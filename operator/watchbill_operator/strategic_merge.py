"""Strategic merge: a partial pod laid over a whole one.

Owns the rule by which lists of a pod are merged: by the key that names their items where Kubernetes has one, appended
without repetition where order and place do not matter, replaced otherwise. Pure; neither argument is changed.
Invariant: merging twice is merging once. Directives (`$patch` and its like) and nulls are not understood:
`pod_template_shape` refuses them before anything gets here.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

ITEM_KEYS: Mapping[str, str] = {
    "containers": "name",
    "initContainers": "name",
    "volumes": "name",
    "env": "name",
    "volumeMounts": "mountPath",
    "ports": "containerPort",
    "imagePullSecrets": "name",
    "hostAliases": "ip",
    "resourceClaims": "name",
}
REPLACED_ITEMS = frozenset({"env", "volumes"})  #: an item has one source: a patched one takes the place of the old one
APPENDED = frozenset({"tolerations", "envFrom", "topologySpreadConstraints"})


def build_merged(base: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """`patch` laid over `base`: maps member by member, lists by their rule, anything else replaced."""
    merged = copy.deepcopy(dict(base))
    for name, value in patch.items():
        merged[name] = _merge_member(name, merged.get(name), value)
    return merged


def _merge_member(name: str, old: Any, new: Any) -> Any:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        return build_merged(old, new)
    if name in ITEM_KEYS and isinstance(old, list) and isinstance(new, list) and _have_keys(ITEM_KEYS[name], old, new):
        return _merge_items(name, old, new)
    if name in APPENDED and isinstance(old, list) and isinstance(new, list):
        return _append_new(old, new)
    return copy.deepcopy(new)


def _have_keys(key: str, *lists: list[Any]) -> bool:
    return all(isinstance(item, Mapping) and isinstance(item.get(key), str | int) for items in lists for item in items)


def _merge_items(name: str, old: list[Any], new: list[Any]) -> list[Any]:
    """Items of `old` in their order, each merged with its namesakes in `new`, then those that only `new` has."""
    key = ITEM_KEYS[name]
    items: dict[Any, Any] = {item[key]: item for item in old}
    for item in new:
        known = {} if name in REPLACED_ITEMS else items.get(item[key], {})
        items[item[key]] = build_merged(known, item)
    return list(items.values())


def _append_new(old: list[Any], new: list[Any]) -> list[Any]:
    items = list(old)
    for item in new:
        if item not in items:
            items.append(copy.deepcopy(item))
    return items
