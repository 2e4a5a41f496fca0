"""The HTTP entry: who may come in, what the path names, what the verb does, and how failures are answered.

Owns the order of every request (fence, health, discovery, resources) and the translation between one request and the
calls of Objects, Lists and Watch: parameters, patch types, status codes, forms of the answer. The rules are there.
Each failure leaves as a Status object; a defect of this server is a 500 with its trace in the log, and the server
goes on.
"""

from __future__ import annotations

import logging
import time
from typing import Any

from aiohttp import web

from watchbill_local.server.admission import Write
from watchbill_local.server.auth import FREE_PATHS, Fence
from watchbill_local.server.cluster import Cluster
from watchbill_local.server.errors import ApiError, build_details, method_not_allowed
from watchbill_local.server.exchange import (
    HEADERS,
    Call,
    Target,
    answer,
    answer_error,
    answer_success,
    parse_accept,
    parse_target,
    patch_object,
    read_body,
)
from watchbill_local.server.objects import parse_delete_options
from watchbill_local.server.registry import PODS
from watchbill_local.server.resource import Resource
from watchbill_local.server.store import Entry
from watchbill_local.server.subresources import Subresources
from watchbill_local.server.views import View, parse_selection, select, show_object
from watchbill_local.server.watch import Watch, is_true, parse_watch

log = logging.getLogger(__name__)

_NO_SUCH_PATH = "the server could not find the requested resource"


class Api:
    """Answers every request to one cluster."""

    def __init__(self, cluster: Cluster, fence: Fence) -> None:
        self._cluster = cluster
        self._fence = fence
        self._subresources = Subresources(cluster)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        try:
            return await self._route(request)
        except ApiError as refusal:
            return answer_error(refusal)
        except ConnectionError:
            raise  # the client has gone; there is nobody to answer
        except OSError as error:
            return _fail(request, f"the change could not be kept: {error}")
        except Exception as error:  # noqa: BLE001 - a defect met by one request must not end the server
            return _fail(request, f"Internal error occurred: {error!r}")

    async def close(self) -> None:
        """Close what was opened for requests."""
        await self._subresources.close()

    async def _route(self, request: web.BaseRequest) -> web.StreamResponse:
        refusal = self._fence.decide_refusal(request.path, request.headers)
        if refusal is not None:
            raise refusal
        if request.path in FREE_PATHS:
            return web.Response(text="ok")
        target, accept = parse_target(request.path), request.headers.get("Accept", "")
        if target is None:
            document = self._cluster.discovery.find(request.path, accept)
            if document is None:
                raise ApiError(404, "NotFound", _NO_SUCH_PATH)
            return web.Response(body=document[1], headers={"Content-Type": document[0], "Vary": "Accept"})
        resource = self._cluster.registry.find(target.group, target.version, target.plural)
        if resource is None:
            return web.Response(status=404, text="404 page not found\n")
        if not is_served(resource, target):
            raise ApiError(404, "NotFound", _NO_SUCH_PATH)
        view = View(resource, parse_accept(accept), request.query.get("includeObject", "Metadata"))
        call = Call(request, target, view, parse_write(resource, target, request.query))
        handler = self._subresources.find(call)
        return await (handler(call) if handler else self._serve(call))

    async def _serve(self, call: Call) -> web.StreamResponse:
        """Answer a request on a resource, an object or its status. Raises ApiError for a refusal."""
        request, target, objects = call.request, call.target, self._cluster.objects
        has_place = target.namespace is not None or not call.resource.namespaced
        match request.method, "object" if target.name else "collection":
            case "GET", _ if is_true(request.query.get("watch")):
                return await self._watch(call)
            case "GET", "collection":
                selection = parse_selection(call.resource, target.namespace, request.query)
                page = self._cluster.lists.page(selection, request.query)
                return answer(call.view.render_list(*page, time.time()), 200, call.write.warnings)
            case "GET", _:
                return _show(call, objects.get(call.write))
            case "POST", "collection" if has_place:
                return _show(call, objects.create(call.write, await read_body(request)), 201)
            case "PUT", "object":
                return _show(call, objects.update(call.write, await read_body(request), needs_version=True))
            case "PATCH", "object":
                patched = await patch_object(call, lambda: show_object(call.resource, objects.get(call.write)))
                return _show(call, objects.update(call.write, patched))
            case "DELETE", "object" if not target.subresource:
                return await self._delete(call)
            case "DELETE", "collection" if "deletecollection" in call.resource.verbs:
                return await self._delete_collection(call)
        raise method_not_allowed(call.resource, call.write.name)

    async def _delete(self, call: Call) -> web.Response:
        options = parse_delete_options(await read_body(call.request), call.request.query)
        entry, is_gone = self._cluster.objects.delete(call.write, options)
        if is_gone and call.resource.key != PODS:
            details = build_details(call.resource, call.write.name)
            return answer_success(details={**details, "uid": entry.obj["metadata"]["uid"]})
        return answer(View(call.resource).render(entry, time.time()))

    async def _delete_collection(self, call: Call) -> web.Response:
        query = call.request.query
        options = parse_delete_options(await read_body(call.request), query)
        entries = select(self._cluster.store, parse_selection(call.resource, call.target.namespace, query))
        for entry in entries:
            metadata = entry.obj["metadata"]
            write = Write(call.resource, metadata.get("namespace", ""), metadata["name"])
            self._cluster.objects.delete(write, options)
        metadata = {"resourceVersion": str(self._cluster.store.version)}
        return answer(View(call.resource).render_list(entries, metadata, time.time()))

    async def _watch(self, call: Call) -> web.StreamResponse:
        query, store = call.request.query, self._cluster.store
        selection = parse_selection(call.resource, call.target.namespace, query, call.target.name)
        watch = Watch(store, selection, call.view, parse_watch(query, store.version))
        response = web.StreamResponse(headers=HEADERS)
        response.enable_chunked_encoding()
        await response.prepare(call.request)
        self._cluster.watches.add(watch)
        try:
            await watch.run(response.write)
        finally:
            self._cluster.watches.discard(watch)
        await response.write_eof()
        return response


def is_served(resource: Resource, target: Target) -> bool:
    """Whether the path fits the scope of the resource, and its subresource is one of its own."""
    is_misplaced = target.namespace is not None and not resource.namespaced
    is_homeless = target.name is not None and target.namespace is None and resource.namespaced
    return not is_misplaced and not is_homeless and target.subresource in ("", *resource.subresources)


def parse_write(resource: Resource, target: Target, query: Any) -> Write:
    """Return what a request says about its write. Raises a 422."""
    dry_run = [value for value in query.getall("dryRun", []) if value]
    validation = query.get("fieldValidation") or "Warn"
    for parameter, values, known in (
        ("dryRun", dry_run, ("All",)),
        ("fieldValidation", [validation], ("Strict", "Warn", "Ignore")),
    ):
        if not set(values) <= set(known):
            raise ApiError(422, "Invalid", f'{parameter}: Unsupported value: "{values[0]}"')
    return Write(
        resource,
        namespace=target.namespace or "",
        name=target.name or "",
        subresource=target.subresource,
        dry_run=bool(dry_run),
        field_validation=validation,
        warnings=[resource.warning] if resource.warning else [],
    )


def _show(call: Call, entry: Entry, status: int = 200) -> web.Response:
    """Return one object in the form asked for."""
    return answer(call.view.render(entry, time.time()), status, call.write.warnings)


def _fail(request: web.BaseRequest, message: str) -> web.Response:
    """Log the exception at hand, and return the Status of a failure that is not the client's."""
    log.exception("%s %s", request.method, request.path)
    return answer_error(ApiError(500, "InternalError", message))
