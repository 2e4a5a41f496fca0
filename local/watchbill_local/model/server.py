"""The Messages API over HTTP, answered from the scripts.

Owns the routes and what is refused: anything but `POST …/v1/messages` (also as Bedrock and Vertex spell it it would be
another API: not here). Any key will do, none is looked at or kept. Logs a line a request without a word of its body.
Keeps no state between requests.
"""

from __future__ import annotations

import json
import logging
import uuid
from typing import Any

from aiohttp import web

from watchbill_local.model.conversation import parse_conversation
from watchbill_local.model.scripts import find_reply
from watchbill_local.model.sse import build_error, build_events, build_message, encode_event

MAX_BODY = 64 * 2**20
log = logging.getLogger("watchbill_local.model")


def build_app() -> web.Application:
    """The application."""
    app = web.Application(client_max_size=MAX_BODY)
    app.router.add_post("/v1/messages", answer)
    app.router.add_get("/healthz", is_well)
    app.router.add_route("*", "/{path:.*}", refuse)
    return app


async def is_well(_request: web.Request) -> web.Response:
    """Say that the model answers."""
    return web.Response(text="ok\n")


async def refuse(request: web.Request) -> web.Response:
    """Say what there is instead."""
    body = build_error("not_found_error", f"no {request.method} {request.path}: this model answers POST /v1/messages")
    return web.json_response(body, status=404)


async def answer(request: web.Request) -> web.StreamResponse:
    """Answer one request, whole or as a stream, as it asks for."""
    headers = {"request-id": f"req_{uuid.uuid4().hex[:24]}"}
    try:
        body = json.loads(await request.read())
        conversation = parse_conversation(body)
        if conversation.schema is not None and conversation.schema.get("type") != "object":
            raise ValueError("tools: input_schema.type: Input should be 'object'")  # so does the real one
    except (ValueError, AttributeError, TypeError) as error:
        said = build_error("invalid_request_error", f"the body is no request: {error}", request=headers["request-id"])
        return web.json_response(said, status=400, headers=headers)
    reply = find_reply(conversation)
    message = build_message(reply, model=str(body.get("model", "")), message=f"msg_{uuid.uuid4().hex[:24]}")
    done, used = len(conversation.rounds), [block["name"] for block in reply.blocks if block["type"] == "tool_use"]
    log.info("%s: turn %d: %s", message["model"], done + 1, ", ".join(used) or reply.stop_reason)
    if not body.get("stream"):
        return web.json_response(message, headers=headers)
    return await _stream(request, message, headers)


async def _stream(request: web.Request, message: dict[str, Any], headers: dict[str, str]) -> web.StreamResponse:
    kind = {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache"}
    response = web.StreamResponse(headers={**kind, **headers})
    try:
        await response.prepare(request)
        for event in build_events(message):
            await response.write(encode_event(event))
        await response.write_eof()
    except ConnectionError:
        log.info("the client went before the answer was whole")
    return response
