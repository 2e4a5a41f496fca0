"""Request bodies in, answers out: the JSON edge of the HTTP side.

Owns the reading of bodies (size, type, syntax) and the making of answers with their headers. Knows no resource.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import orjson
from aiohttp import StreamReader, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import RawRequestMessage
from aiohttp.web_protocol import RequestHandler

from watchbill_local.server.errors import ApiError, bad_request, unsupported_media_type
from watchbill_local.server.targets import JSON

#: Longest request body; upstream's limit.
LONGEST_BODY = 3 * 1024 * 1024

_JSON_HEADERS = {"Content-Type": JSON, "Cache-Control": "no-cache, private"}
_READ_TYPES = "application/json"


def make_request(
    message: RawRequestMessage,
    payload: StreamReader,
    protocol: RequestHandler,
    writer: AbstractStreamWriter,
    task: asyncio.Task[None],
) -> web.BaseRequest:
    """Return a request whose body may be as long as upstream takes it; the signature is aiohttp's."""
    loop = asyncio.get_running_loop()
    return web.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=LONGEST_BODY + 1)


def content_type_of(request: web.BaseRequest) -> str:
    """Return the media type of the body, JSON where none is given (pykube gives none)."""
    return request.headers.get("Content-Type", JSON).partition(";")[0].strip()


async def read_body(request: web.BaseRequest) -> Any:
    """Return the JSON of the body, None for an empty one. Raises 400, 413 or 415."""
    kind = content_type_of(request)
    try:
        raw = await request.read()
    except web.HTTPRequestEntityTooLarge:
        message = f"Request entity too large: limit is {LONGEST_BODY}"
        raise ApiError(413, "RequestEntityTooLarge", message) from None
    if not raw:
        return None
    if not kind.endswith("json") and kind not in (
        "*/*",
        "application/octet-stream",
        "application/x-www-form-urlencoded",
    ):
        raise unsupported_media_type(
            f"the body of the request was in an unknown format ({kind}) - this small server reads {_READ_TYPES} alone; "
            "with kubectl use `apply -f` or `create -f`, which send it"
        )
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise bad_request(
            f"the object provided is unrecognized: couldn't get version/kind; json parse error: {error}"
        ) from None


def answer(body: bytes, status: int = 200, warnings: Iterable[str] = ()) -> web.Response:
    """Return a JSON answer; each warning becomes a Warning header, which kubectl prints."""
    response = web.Response(body=body, status=status, headers=_JSON_HEADERS)
    for text in warnings:
        quoted = text.replace("\\", "\\\\").replace('"', '\\"')
        response.headers.add("Warning", f'299 - "{quoted}"')
    return response


def answer_error(error: ApiError) -> web.Response:
    """Return the Status of a refusal."""
    response = answer(orjson.dumps(error.status()), error.code)
    response.headers.update(error.headers)
    return response


def answer_success(status: int = 200, **fields: Any) -> web.Response:
    """Return the Status of a success that has no object to show."""
    return answer(
        orjson.dumps({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", **fields}), status
    )
