"""A CRD version's schema: all that it does to an object on its way in.

Owns the order: prune unknown members, drop nulls, fill in defaults, then validate and run CEL rules. Compiled once
for each version of a CRD; `normalise` changes the given object (the caller's own copy), `check` only reads.
"""

from __future__ import annotations

from watchbill_local.server.causes import ROOT
from watchbill_local.server.cel import compile_rules, run_rules
from watchbill_local.server.errors import Cause
from watchbill_local.server.schema_shape import drop_nulls, fill_defaults, prune
from watchbill_local.server.schema_validate import MISSING, compile_validator
from watchbill_local.server.values import Obj

ANYTHING: Obj = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
_TYPE_META = ("apiVersion", "kind", "metadata")
_UNSAFE_FOR_RULES = {f"FieldValue{word}" for word in ("Required", "TypeInvalid", "NotSupported", "TooLong", "TooMany")}
_RULES_NOT_RUN = Cause(
    "FieldValueInvalid",
    ROOT,
    "Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing "
    "errors to complete validation",
)


class Schema:
    """The compiled schema of one CRD version."""

    def __init__(self, raw: Obj | None) -> None:
        self.raw = raw or ANYTHING
        properties = {k: v for k, v in (self.raw.get("properties") or {}).items() if k not in _TYPE_META}
        self._validate = compile_validator({**self.raw, "properties": properties})
        self._rules = compile_rules(self.raw)

    def normalise(self, value: Obj) -> list[str]:
        """Prune, drop nulls and fill in defaults in place; return the paths of the unknown members, removed now."""
        unknown = prune(value, self.raw, is_root=True)
        drop_nulls(value, self.raw)
        fill_defaults(value, self.raw)
        return unknown

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
            return [*causes, _RULES_NOT_RUN]
        return causes + run_rules(self._rules, value, old)
