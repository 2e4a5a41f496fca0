"""Merge patch (RFC 7386), JSON patch (RFC 6902) and, for the built-in kinds, strategic merge patch.

Owns their meaning and their refusals: a patch that cannot be read is a 400, one that does not apply (a failing `test`
too) a 422, as upstream answers. Which lists a strategic patch merges by which key is the table merge_keys.json (an
empty key: a set of texts); it goes by the name of the field, which is unambiguous among the kinds served here but for
`ports`. Of its directives `$patch`, `$setElementOrder/...` and `$deleteFromPrimitiveList/...` are obeyed.

Pure: the patched object is new, the given one stays as it is.
"""

from __future__ import annotations

from typing import Any

from watchbill_local.server.errors import bad_request, failed, unprocessable
from watchbill_local.server.values import Obj, copy_value, format_go, format_json, load_table, name_go_type

_MERGE_KEYS: dict[str, str] = load_table("merge_keys.json")
_UNREADABLE = "error decoding patch: json: cannot unmarshal"
_DIRECTIVES = ("delete", "merge", "replace")
_ORDER, _DELETE_FROM = "$setElementOrder", "$deleteFromPrimitiveList"


def apply_merge_patch(target: Any, patch: Any) -> Any:
    """Return `target` with `patch` merged in: null removes a member, objects are merged, all else replaces."""
    if not isinstance(patch, dict):
        return copy_value(patch)
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = apply_merge_patch(merged.get(key), value)
    return merged


def apply_json_patch(target: Any, operations: Any) -> Any:
    """Return `target` after all operations, in order. Raises a 400 or a 422; nothing is half applied."""
    if not isinstance(operations, list):
        raise bad_request(f"{_UNREADABLE} {name_go_type(operations)} into Go value of type []handlers.jsonPatchOp")
    document = copy_value(target)
    for operation in operations:
        if not isinstance(operation, dict):
            raise bad_request(f"{_UNREADABLE} {name_go_type(operation)} into Go value of type handlers.jsonPatchOp")
        document = _apply_operation(document, operation)
    return document


def apply_strategic_patch(target: Any, patch: Obj) -> Obj:
    """Return `target` with a strategic merge patch applied."""
    if isinstance(target, dict) and patch.get("$patch") not in (None, *_DIRECTIVES):
        raise failed(f"unknown patch type: {patch['$patch']} in map: {format_go(patch)}")
    merged = dict(target) if isinstance(target, dict) and patch.get("$patch") != "replace" else {}
    for key, value in patch.items():
        sign, _, field = key.partition("/")
        if sign == _DELETE_FROM and isinstance(value, list):
            merged[field] = [item for item in merged.get(field) or [] if item not in value]
        elif value is None or (isinstance(value, dict) and value.get("$patch") == "delete"):
            merged.pop(key, None)
        elif isinstance(value, dict):
            merged[key] = apply_strategic_patch(merged.get(key), value)
        elif not key.startswith("$"):
            merged[key] = _merge_list(merged.get(key), value, key) if isinstance(value, list) else value
    for key, order in patch.items():
        sign, _, field = key.partition("/")
        if sign == _ORDER and isinstance(order, list) and isinstance(merged.get(field), list):
            merged[field] = _order_list(merged[field], order, field)
    return merged


def _apply_operation(document: Any, operation: Obj) -> Any:
    kind, pointer, value = operation.get("op"), _parse_pointer(operation.get("path")), operation.get("value")
    if kind == "test":
        if not _is_equal_at(document, pointer, value):
            raise unprocessable()
        return document
    if kind in ("move", "copy"):
        source = _parse_pointer(operation.get("from"))
        value = _find(document, source)
        document = _change(document, source, "remove", None) if kind == "move" else document
        kind = "add"
    if kind not in ("add", "remove", "replace"):
        raise unprocessable()
    return _change(document, pointer, kind, copy_value(value))


def _parse_pointer(text: Any) -> list[str]:
    if text == "":
        return []
    if not isinstance(text, str) or "/" not in text:
        raise unprocessable()
    # what stands before the first slash is not looked at, as upstream
    return [part.replace("~1", "/").replace("~0", "~") for part in text.split("/")[1:]]


def _find(document: Any, pointer: list[str]) -> Any:
    for part in pointer:
        if isinstance(document, dict) and part in document:
            document = document[part]
        elif isinstance(document, list) and part.isdecimal() and int(part) < len(document):
            document = document[int(part)]
        else:
            raise unprocessable()
    return document


def _is_equal_at(document: Any, pointer: list[str], wanted: Any) -> bool:
    """Return whether the value at `pointer` is `wanted`; an absent member of an existing object equals null."""
    parent = _find(document, pointer[:-1]) if pointer else None
    if isinstance(parent, dict) and pointer[-1] not in parent:
        return wanted is None
    return format_json(_find(document, pointer)) == format_json(wanted)


def _change(document: Any, pointer: list[str], kind: str, value: Any) -> Any:
    """Add, remove or replace in place below the root; returns the document, which is `value` for the empty pointer."""
    if not pointer:
        return value
    parent, key = _find(document, pointer[:-1]), pointer[-1]
    if isinstance(parent, list):
        index = len(parent) if key == "-" else int(key) if key.isdecimal() else -1
        if not 0 <= index < len(parent) + (kind == "add"):
            raise unprocessable()
        parent[index : index + (kind != "add")] = [] if kind == "remove" else [value]
    elif not isinstance(parent, dict) or (kind == "remove" and key not in parent):  # upstream's replace adds, too
        raise unprocessable()
    elif kind == "remove":
        del parent[key]
    else:
        parent[key] = value
    return document


def _find_merge_key(field: str, items: list[Any]) -> str | None:
    """Return the member by which items of list `field` are matched, None when the list is replaced as a whole."""
    if field == "ports" and all(isinstance(item, dict) for item in items):
        return "containerPort" if any("containerPort" in item for item in items) else "port"
    return _MERGE_KEYS.get(field)


def _merge_list(target: Any, patch: list[Any], field: str) -> list[Any]:
    items: list[Any] = list(target) if isinstance(target, list) else []
    if {"$patch": "replace"} in patch:
        return [item for item in patch if item != {"$patch": "replace"}]
    key = _find_merge_key(field, items + patch)
    if key == "":
        return [item for item in patch if item not in items] + items  # what is new comes first, as upstream has it
    if key is None or not all(isinstance(item, dict) for item in items + patch):
        return patch
    known = {_identify(item, key): index for index, item in enumerate(items)}
    news: list[Any] = []
    for item in patch:
        if item.get(key) is None:
            raise failed(f"map: {format_go(item)} does not contain declared merge key: {key}")
        index = known.get(_identify(item, key))
        if item.get("$patch") == "delete":
            items = [each for each in items if each.get(key) != item[key]]
        elif index is None:
            news.append(apply_strategic_patch(None, item))
        else:
            items = [apply_strategic_patch(each, item) if each.get(key) == item[key] else each for each in items]
    return news + items


def _order_list(items: list[Any], order: list[Any], field: str) -> list[Any]:
    """Return a list in the order of the items that a client names, the others behind."""
    key = _find_merge_key(field, items)
    ranks = {_identify(item, key): rank for rank, item in enumerate(order)}
    return sorted(items, key=lambda item: ranks.get(_identify(item, key), len(ranks)))


def _identify(item: Any, key: str | None) -> str:
    return format_json(item.get(key) if isinstance(item, dict) and key else item)
