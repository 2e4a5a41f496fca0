"""Requests taken apart, answers put together: the HTTP edge.

Owns the URL scheme of Kubernetes, what an Accept header asks for, the reading of bodies (size, type, syntax) and the
making of answers with their headers. Knows no kind and no object; whether what a path names exists is for the caller.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import orjson
from aiohttp import web

from watchbill_local.server.admission import Write
from watchbill_local.server.errors import ApiError, bad_request, unpatchable, unsupported_media_type
from watchbill_local.server.patch import apply_json_patch, apply_merge_patch, apply_strategic_patch
from watchbill_local.server.protobuf import PROTOBUF, NoEnvelopeError, UnknownTypeError, parse_protobuf
from watchbill_local.server.resource import JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH, Resource
from watchbill_local.server.tokens import Tokens, User
from watchbill_local.server.values import Obj, find_duplicates, format_go, name_go_type
from watchbill_local.server.views import View

JSON = "application/json"
HEADERS = {"Content-Type": JSON, "Cache-Control": "no-cache, private"}

#: Longest request body; upstream's limit.
LONGEST_BODY = 3 * 1024 * 1024

#: Bytes of an unreadable body that a refusal shows.
_SHOWN_BYTES = 1024

_UNKNOWN_FORMAT = "the body of the request was in an unknown format - accepted media types include:"
_FORMS = ("Table", "PartialObjectMetadata")
_PATCHES: dict[str, Callable[[Any, Any], Any]] = {
    JSON_PATCH: apply_json_patch,
    MERGE_PATCH: apply_merge_patch,
    STRATEGIC_PATCH: apply_strategic_patch,
}


@dataclass(frozen=True, slots=True)
class Target:
    """The resource, object or subresource that a path names."""

    group: str
    version: str
    plural: str
    namespace: str | None = None  #: None: all namespaces, or a cluster-wide kind
    name: str | None = None
    subresource: str = ""


@dataclass(slots=True)
class Call:
    """One request on a resource, taken apart."""

    request: web.BaseRequest
    view: View
    write: Write  #: what the path names; without namespace or name: all of them
    user: User
    tokens: Tokens


def parse_target(path: str) -> Target | None:
    """Return what a path names, or None for paths of another kind (discovery, health)."""
    parts = path.strip("/").split("/")
    if parts[0] == "api" and len(parts) > 2:
        group, version, rest = "", parts[1], parts[2:]
    elif parts[0] == "apis" and len(parts) > 3:
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        return None
    namespace = None
    is_namespace_itself = group == "" and rest[2:] == ["status"]
    if rest[0] == "namespaces" and len(rest) > 2 and not is_namespace_itself:
        namespace, rest = rest[1], rest[2:]
    name = rest[1] if len(rest) > 1 else None
    return Target(group, version, rest[0], namespace, name, "/".join(rest[2:]))


@functools.lru_cache(maxsize=256)
def parse_accept(header: str) -> tuple[str, str]:
    """Return the first form asked for that is served: (Table or PartialObjectMetadata, version); empty for plain JSON.

    Raises a 406 where none is served.
    """
    for part in header.split(","):
        media, *rest = (piece.strip() for piece in part.split(";"))
        parameters = dict(piece.split("=", 1) for piece in rest if "=" in piece)
        form, version = parameters.get("as", "").removesuffix("List"), parameters.get("v", "")
        if media in ("", JSON, "application/*", "*/*") and not form:
            return "", ""
        if media == JSON and form in _FORMS and version in ("v1", "v1beta1"):
            return form, version
    raise ApiError(406, "NotAcceptable", f"only the following media types are accepted: {JSON}")


def content_type_of(request: web.BaseRequest) -> str:
    """Return the media type of the body, JSON where none is given (pykube gives none)."""
    return request.headers.get("Content-Type", JSON).partition(";")[0].strip()


async def read_body(call: Call) -> Any:
    """Return the body as a JSON value, None for an empty one. Raises 400, 413 or 415."""
    request, resource = call.request, call.write.resource
    is_long = (request.content_length or 0) > LONGEST_BODY
    raw = b"" if is_long else await request.content.read()
    if is_long or len(raw) > LONGEST_BODY:
        raise ApiError(413, "RequestEntityTooLarge", f"Request entity too large: limit is {LONGEST_BODY}")
    if not raw:
        return None
    kind = content_type_of(request)
    if kind == PROTOBUF and not resource.crd:
        return _parse_protobuf(resource, raw)
    if kind != JSON and not kind.endswith("+json"):
        accepted = ", ".join([JSON] if resource.crd else [JSON, PROTOBUF])
        raise unsupported_media_type(f"{_UNKNOWN_FORMAT} {accepted}")
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        message = f"the object provided is unrecognized: couldn't get version/kind; json parse error: {error}"
        raise bad_request(message) from None
    if request.method in ("POST", "PUT") and not isinstance(body, dict):
        return _read_odd(resource, body, raw)
    if call.write.field_validation != "Ignore":
        call.write.duplicates = find_duplicates(raw, body)
    return body


def _read_odd(resource: Resource, body: Any, raw: bytes) -> Obj:
    """Return what Go makes of null, an object without members; anything else that is no object is a 400."""
    if body is None and not resource.crd:
        return {}
    struct = r'struct { APIVersion string "json:\"apiVersion,omitempty\""; Kind string "json:\"kind,omitempty\"" }'
    why = f"json: cannot unmarshal {name_go_type(body)} into Go value of type {struct}"
    why = (
        "Object 'Kind' is missing in 'null'" if body is None else f"couldn't get version/kind; json parse error: {why}"
    )
    raise bad_request(f"the object provided is unrecognized (must be of type {resource.kind}): {why} ({_show(raw)})")


def _show(raw: bytes) -> str:
    """Return as much of an unreadable body as a refusal shows."""
    return raw.hex() if len(raw) <= _SHOWN_BYTES else f"{raw[:_SHOWN_BYTES].hex()} ..."


def _parse_protobuf(resource: Resource, raw: bytes) -> Obj:
    """Return the object of a protobuf body. Raises a 400 in the words of upstream's decoder."""
    try:
        return parse_protobuf(raw)
    except NoEnvelopeError as error:
        start = f"the object provided is unrecognized (must be of type {resource.kind})"
        raise bad_request(f"{start}: {error} ({_show(raw)})") from None
    except UnknownTypeError as error:
        raise bad_request(f"the body cannot be handled as a {resource.kind}: {error}") from None
    except ValueError as error:
        shown = f'{resource.kind} in version "{resource.version}"'
        raise bad_request(f"{shown} cannot be handled as a {resource.kind}: {error}") from None


async def patch_object(call: Call, present: Callable[[], Obj]) -> Obj:
    """Return what the body of a PATCH makes of the object `present()`, as a copy. Raises 400, 413, 415 or 422."""
    kind = content_type_of(call.request)
    allowed = call.write.resource.patch_types
    if kind not in _PATCHES and call.write.resource.crd is None:
        raise unsupported_media_type("415: Unsupported Media Type")
    if kind not in allowed:
        raise unsupported_media_type(f"{_UNKNOWN_FORMAT} {', '.join(allowed)}")
    body = await read_body(call)  # first: the object may change while it comes in
    if kind != JSON_PATCH and not isinstance(body, dict):
        start = "" if kind == STRATEGIC_PATCH else "error decoding patch: "
        words = f"json: cannot unmarshal {name_go_type(body)} into Go value of type map[string]interface {{}}"
        raise bad_request(f"{start}{words}")
    patched = _PATCHES[kind](present(), body)
    _report_duplicates(call.write, format_go(body) if kind == STRATEGIC_PATCH else patched, kind)
    if not isinstance(patched, dict):
        raise bad_request("error decoding patch: the result is not an object")
    return patched


def _report_duplicates(write: Write, shown: Any, kind: str) -> None:
    """Refuse, or warn of, members that occur more than once in a patch; its result has none of them."""
    start = "json patch " if kind == JSON_PATCH else ""
    words = [f'{start}duplicate field "{path}"' for path in write.duplicates]
    if words and write.field_validation == "Strict":
        raise unpatchable(shown, f"strict decoding error: {', '.join(words)}")
    write.warnings.extend(words)
    write.duplicates = []


def answer(body: bytes, status: int = 200, warnings: Iterable[str] = ()) -> web.Response:
    """Return a JSON answer; each warning becomes a Warning header, which kubectl prints."""
    response = web.Response(body=body, status=status, headers=HEADERS)
    for text in warnings:
        quoted = text.replace("\\", "\\\\").replace('"', '\\"')
        response.headers.add("Warning", f'299 - "{quoted}"')
    return response


def answer_error(error: ApiError) -> web.Response:
    """Return the Status of a refusal."""
    return answer(orjson.dumps(error.status()), error.code)


def answer_success(status: int = 200, **fields: Any) -> web.Response:
    """Return the Status of a success that has no object to show."""
    shown: Obj = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", **fields}
    return answer(orjson.dumps(shown), status)
