"""The sentences of single causes.

Owns how Go's field errors read: the reason in words, the value where it helps, then the detail. Strings are shown in
quotes, other values as JSON.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from watchbill_local.server.errors import Cause
from watchbill_local.server.values import format_json

ROOT = "<nil>"
"""How Go prints the path of the object itself."""


def required(field: str, detail: str = "") -> Cause:
    """A member is absent."""
    return Cause("FieldValueRequired", field, f"Required value: {detail}" if detail else "Required value")


def invalid_value(field: str, value: Any, detail: str) -> Cause:
    """A value breaks a rule."""
    return Cause("FieldValueInvalid", field or ROOT, f"Invalid value: {format_json(value)}: {detail}")


def wrong_type(field: str, value: str, detail: str) -> Cause:
    """A value is of a wrong type or format; `value` is the type found."""
    return Cause("FieldValueTypeInvalid", field or ROOT, f"Invalid value: {format_json(value)}: {detail}")


def forbidden_value(field: str, detail: str) -> Cause:
    """A value is allowed elsewhere and not here."""
    return Cause("FieldValueForbidden", field, f"Forbidden: {detail}")


def unsupported(field: str, value: Any, allowed: Iterable[Any]) -> Cause:
    """A value is not one of `allowed`."""
    texts = [each if isinstance(each, str) else format_json(each) for each in allowed]
    shown = ", ".join(format_json(text) for text in texts)
    text = f"Unsupported value: {format_json(value)}: supported values: {shown}"
    return Cause("FieldValueNotSupported", field or ROOT, text)


def duplicate(field: str, value: Any) -> Cause:
    """A value that must be unique stands twice."""
    return Cause("FieldValueDuplicate", field, f"Duplicate value: {format_json(value)}")


def too_long(field: str, most: int) -> Cause:
    """A text is too long; it is not shown."""
    plural = "byte" if most == 1 else "bytes"
    return Cause("FieldValueTooLong", field or ROOT, f"Too long: may not be more than {most} {plural}")


def too_many(field: str, count: int, most: int) -> Cause:
    """A list or map has too many items."""
    plural = "item" if most == 1 else "items"
    return Cause("FieldValueTooMany", field or ROOT, f"Too many: {count}: must have at most {most} {plural}")
