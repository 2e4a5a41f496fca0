"""The HTTP entry: who may come in, what the path names, what the verb does, and how failures are answered.

Owns the order of every request (fence, health, discovery, resources) and the translation between one request and the
calls of Objects, Lists and Watch: parameters, patch types, status codes, forms of the answer. The rules are there.
Each failure leaves as a Status object; a defect of this server is a 500 with its trace in the log, and the server
goes on.
"""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import logging
import time
from collections.abc import Mapping

from aiohttp import web
from aiohttp.http_exceptions import BadHttpMethod

from watchbill_local.server import exchange
from watchbill_local.server.admission import Write, check_name
from watchbill_local.server.auth import HEALTH_PATHS, decide_refusal
from watchbill_local.server.cluster import Cluster
from watchbill_local.server.deletion import parse_delete_options
from watchbill_local.server.discovery import OPENAPI_V2_EMPTY, OPENAPI_V2_TYPE
from watchbill_local.server.errors import (
    ApiError,
    Undecodable,
    bad_request,
    build_details,
    method_not_allowed,
    not_found,
    unpatchable,
)
from watchbill_local.server.exchange import Call, Target, answer, read_body
from watchbill_local.server.openapi import ROOT as OPENAPI_V3
from watchbill_local.server.options import check_counts, check_included, check_list, check_options, check_version
from watchbill_local.server.registry import PODS
from watchbill_local.server.resource import Resource
from watchbill_local.server.reviews import serve_review
from watchbill_local.server.store import Entry
from watchbill_local.server.subresources import HANDLERS
from watchbill_local.server.tokens import Tokens
from watchbill_local.server.views import Selection, View, parse_selection, select, show_object
from watchbill_local.server.watch import Watch, is_true, parse_watch

log = logging.getLogger(__name__)

_NOTHING = functools.partial(web.Response, status=404, text="404 page not found\n")
#: Of accesses nothing is logged.
_NO_LOG = logging.Logger("accesses", logging.CRITICAL)
_NO_SUCH_PATH = "the server could not find the requested resource"


class Api:
    """Answers every request to one cluster."""

    def __init__(self, cluster: Cluster, token: str) -> None:
        self._cluster = cluster
        self._tokens = Tokens(token, cluster.store.uids)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        try:
            return await self._route(request)
        except ApiError as refusal:
            return exchange.answer_error(refusal)
        except ConnectionError:
            raise  # the client has gone; there is nobody to answer
        except OSError as error:
            return _fail(request, f"the change could not be kept: {error}")
        except Exception as error:  # noqa: BLE001 - a defect met by one request must not end the server
            return _fail(request, f"Internal error occurred: {error!r}")

    async def _route(self, request: web.BaseRequest) -> web.StreamResponse:
        user = self._tokens.identify(request.headers.get("Authorization", ""), time.time())
        refusal = decide_refusal(user, request.path, request.headers)
        if refusal is not None:
            raise refusal
        target, accept = exchange.parse_target(request.path), request.headers.get("Accept", "")
        if target is None or user is None:
            return self._discover(request.path.strip("/"))
        if (target.group, target.plural, target.name, request.method) == ("", "bindings", None, "POST"):
            target = dataclasses.replace(target, plural="pods", subresource="binding")
        resource = self._cluster.registry.find(target.group, target.version, target.plural)
        if resource is None:
            return self._miss(target)
        write = parse_write(resource, target, request.query)
        check_options(request.method, request.query, request.content_type)
        view = View(resource, *exchange.parse_accept(accept), check_included(request.query))
        call = Call(request, view, write, user, self._tokens)
        if target.subresource not in ("", "status"):
            handler = HANDLERS.get((request.method, target.subresource))
            if handler is None:
                raise method_not_allowed(resource if resource.crd else None, request.method)
            return await handler(self._cluster, call)
        return await (serve_review(call) if resource.is_review else self._serve(call))

    def _discover(self, path: str) -> web.Response:
        if path in HEALTH_PATHS:
            return web.Response(text="ok")
        if path == "openapi/v2":
            return web.Response(body=OPENAPI_V2_EMPTY, headers={"Content-Type": OPENAPI_V2_TYPE})
        is_openapi = path.startswith(OPENAPI_V3)
        registry = self._cluster.registry
        document = registry.openapi(path) if is_openapi else registry.documents.get(path)
        if document is None and path.startswith("api/"):
            raise ApiError(404, "NotFound", _NO_SUCH_PATH)
        return _NOTHING() if document is None else answer(document)

    def _miss(self, target: Target) -> web.Response:
        """Answer for a resource that is not served; upstream has a Status only where it serves the group itself."""
        group = f"apis/{target.group}/{target.version}" if target.group else f"api/{target.version}"
        is_custom = "." in target.group and not target.group.endswith(".k8s.io")
        if is_custom or group not in self._cluster.registry.documents:
            return _NOTHING()
        raise ApiError(404, "NotFound", _NO_SUCH_PATH)

    async def _serve(self, call: Call) -> web.StreamResponse:
        """Answer a request on a resource, an object or its status. Raises ApiError for a refusal."""
        request, write, objects = call.request, call.write, self._cluster.objects
        has_place = bool(write.namespace) or not write.resource.namespaced
        match request.method, "object" if write.name else "collection":
            case "GET", "collection" if is_true(request.query.get("watch")):
                return await self._watch(call)
            case "GET", "collection":
                check_list(request.query, self._cluster.store.version)
                page = self._cluster.lists.page(_select(call), request.query)
                return answer(call.view.render_list(*page, time.time()), 200, write.warnings)
            case "GET", _:
                check_version(request.query, self._cluster.store.version)
                return _show(call, objects.get(write))
            case "POST", "collection" if has_place:
                return _show(call, objects.create(write, await read_body(call)), 201)
            case "PUT", "object" if write.resource.created_by_put and objects.store.get(write.ident) is None:
                body = await read_body(call)
                check_name(write, body)
                body["metadata"].pop("resourceVersion", None)  # upstream creates it whatever version was meant
                return _show(call, objects.create(write, body), 201)
            case "PUT", "object":
                return _show(call, objects.update(write, await read_body(call), needs_version=True))
            case "PATCH", "object":
                patched = await exchange.patch_object(call, lambda: show_object(write.resource, objects.get(write)))
                try:
                    return _show(call, objects.update(write, patched))
                except Undecodable as error:
                    raise unpatchable(patched, error.why) from None
            case "POST", "collection" if write.resource.crd:
                return _NOTHING()
            case "PUT" | "PATCH", "collection" if write.resource.crd:
                raise bad_request("name must be provided")
            case "DELETE", "object" if not write.subresource:
                return await self._delete(call)
            case "DELETE", "collection" if "deletecollection" in write.resource.verbs:
                return await self._delete_collection(call)
        raise method_not_allowed(write.resource if write.resource.crd else None, request.method)

    async def _delete(self, call: Call) -> web.Response:
        options = parse_delete_options(await read_body(call), call.request.query)
        entry, is_gone = self._cluster.objects.delete(call.write, options)
        resource = call.write.resource
        if is_gone and resource.key != PODS:
            details = build_details(resource, call.write.name)
            return exchange.answer_success(details={**details, "uid": entry.obj["metadata"]["uid"]})
        return answer(View(resource).render(entry, time.time()))

    async def _delete_collection(self, call: Call) -> web.Response:
        resource, store = call.write.resource, self._cluster.store
        check_counts(call.request.query)
        options = parse_delete_options(await read_body(call), call.request.query)
        entries = select(store, _select(call))
        for metadata in [entry.obj["metadata"] for entry in entries]:
            self._cluster.objects.delete(Write(resource, metadata.get("namespace", ""), metadata["name"]), options)
        return answer(View(resource).render_list(entries, {"resourceVersion": str(store.version)}, time.time()))

    async def _watch(self, call: Call) -> web.StreamResponse:
        store = self._cluster.store
        watch = Watch(store, _select(call), call.view, parse_watch(call.request.query, store.version))
        response = web.StreamResponse(headers=exchange.HEADERS)
        response.enable_chunked_encoding()
        await response.prepare(call.request)
        self._cluster.watches.add(watch)
        await watch.run(response.write)
        await response.write_eof()
        return response


class Server(web.Server):
    """Connections of the server; what is no HTTP that it knows is answered by a Status, too."""

    def __call__(self) -> web.RequestHandler:
        """Return what answers one connection."""
        return _Connection(self, loop=asyncio.get_running_loop(), access_log=_NO_LOG)


class _Connection(web.RequestHandler):
    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what could not be parsed: an unknown method by a 405, all else as ever."""
        if not isinstance(exc, BadHttpMethod):
            return super().handle_error(request, status, exc, message)
        response = exchange.answer_error(method_not_allowed())
        response.force_close()
        return response


def parse_write(resource: Resource, target: Target, query: Mapping[str, str]) -> Write:
    """Return what a request says about its write. Raises a 404 where the path does not fit the resource."""
    is_misplaced = target.namespace is not None and not resource.namespaced
    is_homeless = target.name is not None and target.namespace is None and resource.namespaced
    is_misplaced |= resource.is_review and target.name is not None
    if resource.crd and target.name and target.subresource not in ("", *resource.subresources):
        raise not_found(resource, target.name)
    if is_misplaced or is_homeless or target.subresource not in ("", *resource.subresources):
        raise ApiError(404, "NotFound", _NO_SUCH_PATH)
    return Write(
        resource,
        target.namespace or "",
        target.name or "",
        target.subresource,
        dry_run=bool(query.get("dryRun")),
        field_validation=query.get("fieldValidation") or "Warn",
        warnings=[resource.warning] if resource.warning else [],
    )


def _select(call: Call) -> Selection:
    return parse_selection(call.write.resource, call.write.namespace or None, call.request.query)


def _show(call: Call, entry: Entry, status: int = 200) -> web.Response:
    """Return one object in the form asked for."""
    return answer(call.view.render(entry, time.time()), status, call.write.warnings)


def _fail(request: web.BaseRequest, message: str) -> web.Response:
    """Log the exception at hand, and return the Status of a failure that is not the client's."""
    log.exception("%s %s", request.method, request.path)
    return exchange.answer_error(ApiError(500, "InternalError", message))
