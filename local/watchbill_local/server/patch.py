"""Merge patch (RFC 7386) and JSON patch (RFC 6902).

Owns their meaning and their refusals: a patch that cannot be read is a 400, one that does not apply (a failing `test`
too) a 422, as upstream answers. Pure: the patched object is new, the given one stays as it is.
"""

from __future__ import annotations

from typing import Any

from watchbill_local.server.errors import bad_request, unprocessable
from watchbill_local.server.values import copy_value, format_json


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
        raise bad_request("error decoding patch: json: cannot unmarshal object into Go value of type jsonpatch.Patch")
    document = copy_value(target)
    for operation in operations:
        if not isinstance(operation, dict):
            raise bad_request("error decoding patch: json: cannot unmarshal into Go value of type jsonpatch.Operation")
        document = _apply_operation(document, operation)
    return document


def _apply_operation(document: Any, operation: dict[str, Any]) -> Any:
    kind, pointer = operation.get("op"), _parse_pointer(operation.get("path"))
    if kind in ("move", "copy"):
        source = _parse_pointer(operation.get("from"))
        value = copy_value(_find(document, source))
        if kind == "move":
            document = _change(document, source, "remove", None)
        return _change(document, pointer, "add", value)
    if kind == "test":
        if not _is_equal_at(document, pointer, operation.get("value")):
            raise unprocessable()
        return document
    if kind in ("add", "remove", "replace"):
        return _change(document, pointer, kind, copy_value(operation.get("value")))
    raise unprocessable()


def _parse_pointer(text: Any) -> list[str]:
    if text == "":
        return []
    if not isinstance(text, str) or not text.startswith("/"):
        raise unprocessable()
    return [part.replace("~1", "/").replace("~0", "~") for part in text[1:].split("/")]


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
        _change_item(parent, key, kind, value)
    elif not isinstance(parent, dict):
        raise unprocessable()
    elif kind == "add" or (kind == "replace" and key in parent):
        parent[key] = value
    elif kind == "remove" and key in parent:
        del parent[key]
    else:
        raise unprocessable()
    return document


def _change_item(items: list[Any], key: str, kind: str, value: Any) -> None:
    index = len(items) if key == "-" else int(key) if key.isdecimal() else -1
    if kind == "add" and 0 <= index <= len(items):
        items.insert(index, value)
    elif kind == "remove" and 0 <= index < len(items):
        del items[index]
    elif kind == "replace" and 0 <= index < len(items):
        items[index] = value
    else:
        raise unprocessable()
