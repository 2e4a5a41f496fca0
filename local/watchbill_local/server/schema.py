"""A CRD version's schema: all that it does to an object on its way in.

Owns the order: prune unknown members, fill in defaults, then validate and run CEL rules. Compiled once for each version
of a CRD; `normalise` changes the given object, which must be the caller's own copy, `check` only reads.
"""

from __future__ import annotations

from typing import Any

from watchbill_local.server.cel import compile_rules, run_rules
from watchbill_local.server.errors import Cause, invalid_value
from watchbill_local.server.schema_validate import MISSING, OBJECT_META, compile_validator
from watchbill_local.server.values import Obj, child_path, copy_value

PRESERVE = "x-kubernetes-preserve-unknown-fields"
_ANYTHING: Obj = {"type": "object", PRESERVE: True}
_METADATA: Obj = {"properties": {name: {PRESERVE: True} for name in OBJECT_META}}
_TYPE_META: Obj = {"apiVersion": {PRESERVE: True}, "kind": {PRESERVE: True}, "metadata": _METADATA}
_UNSAFE_FOR_RULES = {f"FieldValue{word}" for word in ("Required", "TypeInvalid", "NotSupported", "TooLong", "TooMany")}
_NOT_RUN = (
    "some validation rules were not checked because the object was invalid; correct the existing errors to complete "
    "validation"
)


class Schema:
    """The compiled schema of one CRD version. Raises ValueError or re.error for one that does not compile."""

    def __init__(self, raw: Obj | None) -> None:
        self.raw = raw or _ANYTHING
        own = {k: v for k, v in (self.raw.get("properties") or {}).items() if k not in _TYPE_META}
        self._whole = {**self.raw, "properties": {**own, **_TYPE_META}}
        self._validate = compile_validator({**self.raw, "properties": own})
        self._rules = compile_rules(self.raw)

    def normalise(self, value: Obj) -> list[str]:
        """Prune and fill in defaults in place; return the paths of the unknown members, removed now."""
        unknown = prune(value, self._whole)
        self.fill_defaults(value)
        return unknown

    def prune(self, value: Obj) -> None:
        """Remove unknown members alone, as for objects of another version that are read in this one."""
        prune(value, self._whole)

    def fill_defaults(self, value: Obj) -> None:
        """Fill in defaults alone, as for objects that were stored before the schema had them."""
        fill_defaults(value, self.raw)

    def check(self, value: Obj, old: Obj | None) -> list[Cause]:
        """Return what is wrong with an object that replaces `old` (None at create); rules run only on a sound one."""
        causes: list[Cause] = []
        self._validate(value, MISSING if old is None else old, "", causes)
        if self._rules is None:
            return causes
        if any(cause.reason in _UNSAFE_FOR_RULES for cause in causes):
            return [*causes, invalid_value("", None, _NOT_RUN)]
        return causes + run_rules(self._rules, value, old)


def prune(value: Any, schema: Obj, path: str = "") -> list[str]:
    """Remove the members that `schema` does not name and return their paths (`spec.foo`, `spec.items[0].bar`)."""
    unknown: list[str] = []
    if isinstance(value, dict):
        for key in list(value):
            here, below = child_path(path, key), find_member_schema(schema, key)
            if isinstance(below, dict):
                unknown += prune(value[key], below, here)
            elif not below:
                unknown.append(here)
                del value[key]
    elif isinstance(value, list) and isinstance(schema.get("items"), dict):
        for index, item in enumerate(value):
            unknown += prune(item, schema["items"], f"{path}[{index}]")
    return unknown


def fill_defaults(value: Any, schema: Obj) -> None:
    """Put defaults where members are absent, also within defaults just filled in.

    Null counts as absent unless the schema says nullable; where there is no default such a member goes.
    """
    if isinstance(value, dict):
        absent = [key for key in schema.get("properties") or {} if key not in value]
        for key in [*value, *absent]:
            below = find_member_schema(schema, key)
            if isinstance(below, dict):
                _fill_member(value, key, below)
    elif isinstance(value, list) and isinstance(schema.get("items"), dict):
        items = schema["items"]
        for index, item in enumerate(value):
            value[index] = copy_value(items.get("default")) if item is None and not items.get("nullable") else item
            fill_defaults(value[index], items)


def _fill_member(value: Obj, key: str, schema: Obj) -> None:
    if value.get(key) is None and (key not in value or not schema.get("nullable")):
        value[key] = copy_value(schema.get("default"))
        if value[key] is None:
            del value[key]
    fill_defaults(value.get(key), schema)


def find_member_schema(schema: Obj, key: str) -> Obj | bool:
    """Return the schema of a member, True when it is kept as it is, False when it is unknown."""
    below = (schema.get("properties") or {}).get(key, schema.get("additionalProperties"))
    return below if isinstance(below, dict) else below is True or bool(schema.get(PRESERVE))
