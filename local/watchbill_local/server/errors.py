"""Refusals of the API, in the words and shape of Kubernetes.

Owns `ApiError`, the one exception by which a request ends in a Status object, and the constructors of its ordinary
kinds, and the sentences of single causes: the reason in words, the value where it helps (strings in quotes, the rest as
JSON), then the detail. Codes, reasons and messages are upstream's, since clients (kubectl, kopf, client-go) decide by
them. Never logs and never sends: the HTTP layer does that.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from watchbill_local.server.values import format_json

#: How Go prints the path of the object itself.
ROOT = "<nil>"

STALE_OBJECT = "the object has been modified; please apply your changes to the latest version and try again"


class Cause(NamedTuple):
    """One thing that is wrong with an object, as it stands in `details.causes` of a Status."""

    reason: str  #: FieldValueInvalid, FieldValueRequired, ...
    field: str  #: path such as spec.containers[0].name; <nil> for the object itself
    message: str  #: begins with the reason in words: `Invalid value: "x": ...`


@dataclass(frozen=True, kw_only=True)
class Named:
    """The names of a kind of object, as messages and details show them."""

    group: str
    version: str
    plural: str
    kind: str

    @cached_property
    def api_version(self) -> str:
        """`group/version`, or the version alone for the core group."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def qualified(self) -> str:
        """`plural.group`, or the plural alone for the core group."""
        return f"{self.plural}.{self.group}" if self.group else self.plural


@dataclass(eq=False)
class ApiError(Exception):
    """A request is refused; `status()` is what the client reads. The caller sends it and goes on."""

    code: int
    reason: str
    message: str
    details: dict[str, Any] | None = None
    headers: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__init__(self.message)

    def status(self) -> dict[str, Any]:
        """Return the Status object (kind Status, apiVersion v1, status Failure)."""
        status: dict[str, Any] = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
        status |= {"message": self.message, "code": self.code, **({"reason": self.reason} if self.reason else {})}
        return status if self.details is None else {**status, "details": self.details}


class Undecodable(ApiError):
    """400: the object is not one of its kind, as Go's decoder would have it; a patch that makes one is a 422."""

    def __init__(self, kind: str, version: str, why: str, wanted: str = "") -> None:
        words = f'{kind} in version "{version}" cannot be handled as a {wanted or kind}: {why}'
        super().__init__(400, "BadRequest", words)
        self.why = why


def build_details(on: Named, name: str, kind: str | None = None) -> dict[str, Any]:
    """Return `details` of a Status: name, group and kind (by custom of Kubernetes the plural stands as kind)."""
    details = {"name": name, "group": on.group, "kind": kind or on.plural}
    return {key: value for key, value in details.items() if value}


def not_found(on: Named, name: str) -> ApiError:
    """404: there is no object of that name."""
    return ApiError(404, "NotFound", f'{on.qualified} "{name}" not found', build_details(on, name))


def already_exists(on: Named, name: str, *, is_going: bool = False) -> ApiError:
    """409: the name is taken, maybe by an object that is being deleted."""
    words = f'{"object is being deleted: " if is_going else ""}{on.qualified} "{name}" already exists'
    return ApiError(409, "AlreadyExists", words, build_details(on, name))


def conflict(on: Named, name: str, why: str = STALE_OBJECT) -> ApiError:
    """409: the request was made against another state of the object."""
    message = f'Operation cannot be fulfilled on {on.qualified} "{name}": {why}'
    return ApiError(409, "Conflict", message, build_details(on, name))


def failed(message: str) -> ApiError:
    """500 without a reason: upstream's answer to a few mistakes of the client."""
    return ApiError(500, "", message)


def unpatchable(patched: Any, why: str) -> ApiError:
    """422: what a patch makes of the object is not one of its kind."""
    nothing = Named(group="", version="", plural="", kind="")
    shown = patched if isinstance(patched, str) else format_json(patched)
    return invalid(nothing, "", [invalid_value("patch", shown, why)])


def bad_request(message: str) -> ApiError:
    """400: the request cannot be understood."""
    return ApiError(400, "BadRequest", message)


def forbidden(on: Named, name: str, why: str) -> ApiError:
    """403: understood and refused."""
    return ApiError(403, "Forbidden", f'{on.qualified} "{name}" is forbidden: {why}', build_details(on, name))


def gone(message: str, reason: str = "Expired") -> ApiError:
    """410: the resource version or continue token is too old; the client lists again."""
    return ApiError(410, reason, message)


def method_not_allowed(on: Named | None = None, method: str = "") -> ApiError:
    """405: there is no such verb; of custom kinds (`on`) upstream tells which."""
    verb = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}.get(method, method.lower())
    message = "the server does not allow this method on the requested resource"
    if on is None or not method:
        return ApiError(405, "MethodNotAllowed", message)
    message = f'{verb} is not supported on resources of kind "{on.qualified}"'
    return ApiError(405, "MethodNotAllowed", message, build_details(on, ""))


def unsupported_media_type(message: str) -> ApiError:
    """415: a body or patch of this type is not read here."""
    return ApiError(415, "UnsupportedMediaType", message)


def invalid(on: Named, name: str, causes: Sequence[Cause]) -> ApiError:
    """422: the object breaks rules; every broken rule is one of `causes` (at least one)."""
    lines = [f"{cause.field}: {cause.message}" for cause in causes]
    text = lines[0] if len(lines) == 1 else "[" + ", ".join(lines) + "]"
    details = build_details(on, name, on.kind)
    details["causes"] = [{"reason": c.reason, "message": c.message, "field": c.field} for c in causes]
    kind = f"{on.kind}.{on.group}" if on.group else on.kind
    return ApiError(422, "Invalid", f'{kind} "{name}" is invalid: {text}', details)


def unprocessable() -> ApiError:
    """422 for a JSON patch that is well formed and does not apply (a failing `test` too); upstream tells no more."""
    return ApiError(422, "Invalid", "the server rejected our request due to an error in our request", {})


def required(field: str, detail: str = "") -> Cause:
    """A member is absent."""
    return Cause("FieldValueRequired", field, f"Required value: {detail}" if detail else "Required value")


def invalid_value(field: str, value: Any, detail: str, *, reason: str = "FieldValueInvalid") -> Cause:
    """A value breaks a rule."""
    return Cause(reason, field or ROOT, f"Invalid value: {format_json(value)}: {detail}")


def unsupported(field: str, value: Any, allowed: Iterable[Any]) -> Cause:
    """A value is not one of `allowed`."""
    shown = ", ".join(format_json(each if isinstance(each, str) else format_json(each)) for each in allowed)
    text = f"Unsupported value: {format_json(value)}: supported values: {shown}"
    return Cause("FieldValueNotSupported", field or ROOT, text)


def too_long(field: str, most: int) -> Cause:
    """A text is too long; it is not shown."""
    return Cause("FieldValueTooLong", field or ROOT, f"Too long: may not be more than {most} byte{'s'[: most != 1]}")


def too_many(field: str, count: int, most: int) -> Cause:
    """A list or map has too many items."""
    text = f"Too many: {count}: must have at most {most} item{'s'[: most != 1]}"
    return Cause("FieldValueTooMany", field or ROOT, text)
