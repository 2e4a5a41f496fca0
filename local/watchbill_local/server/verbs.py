"""The verbs of resources: get, list, watch, create, update, patch, delete.

Owns the translation between one HTTP request on a resource and the calls of Objects, Lists and Watches. The rules are
there; here is only what HTTP has to do with them: parameters, patch types, status codes, forms of the answer.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from watchbill_local.server.admission import Write
from watchbill_local.server.cluster import Cluster
from watchbill_local.server.deletion import parse_delete_options
from watchbill_local.server.errors import (
    ApiError,
    bad_request,
    build_details,
    method_not_allowed,
    unsupported_media_type,
)
from watchbill_local.server.exchange import answer, answer_success, content_type_of, read_body
from watchbill_local.server.lists import parse_selection, select
from watchbill_local.server.patch import apply_json_patch, apply_merge_patch, apply_strategic_patch
from watchbill_local.server.registry import PODS
from watchbill_local.server.resource import Resource
from watchbill_local.server.shapes import View, render_entry, render_list, show_object
from watchbill_local.server.store import Entry
from watchbill_local.server.targets import JSON, Form, Target
from watchbill_local.server.values import Obj, copy_value
from watchbill_local.server.watch import Watch, is_true, parse_watch

_JSON_PATCH = "application/json-patch+json"
_MERGE_PATCH = "application/merge-patch+json"
_STRATEGIC_PATCH = "application/strategic-merge-patch+json"
_PLAIN = Form("object")


@dataclass(slots=True)
class Call:
    """One request on a resource, taken apart."""

    request: web.BaseRequest
    target: Target
    view: View
    write: Write

    @property
    def resource(self) -> Resource:
        """What the request is about."""
        return self.write.resource


class Verbs:
    """Answers requests on resources and their `status`."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def serve(self, call: Call) -> web.StreamResponse:
        """Answer one request. Raises ApiError for a refusal."""
        if call.target.name is None:
            return await self._serve_collection(call)
        return await self._serve_object(call)

    async def _serve_collection(self, call: Call) -> web.StreamResponse:
        method = call.request.method
        if method == "GET":
            if is_true(call.request.query.get("watch")):
                return await self._watch(call)
            return self._list(call)
        if method == "POST" and (call.target.namespace is not None or not call.resource.namespaced):
            entry = self._cluster.objects.create(call.write, await read_body(call.request))
            return _show(call, entry, 201)
        if method == "DELETE" and "deletecollection" in call.resource.verbs:
            return await self._delete_collection(call)
        raise method_not_allowed(call.resource)

    async def _serve_object(self, call: Call) -> web.StreamResponse:
        method = call.request.method
        if method == "GET":
            if is_true(call.request.query.get("watch")):
                return await self._watch(call)
            return _show(call, self._cluster.objects.get(call.write))
        if method == "PUT":
            body = await read_body(call.request)
            return _show(call, self._cluster.objects.update(call.write, body, needs_version=True))
        if method == "PATCH":
            return await self._patch(call)
        if method == "DELETE" and not call.target.subresource:
            return await self._delete(call)
        raise method_not_allowed(call.resource, call.write.name)

    def _list(self, call: Call) -> web.Response:
        query = call.request.query
        selection = parse_selection(call.resource, call.target.namespace, query)
        page = self._cluster.lists.page(selection, query)
        return answer(render_list(call.view, page.entries, page.metadata, time.time()), 200, call.write.warnings)

    async def _patch(self, call: Call) -> web.Response:
        kind = content_type_of(call.request)
        allowed = {_JSON_PATCH, _MERGE_PATCH}
        if call.resource.crd is None:
            allowed.add(_STRATEGIC_PATCH)
        if kind not in allowed:
            raise unsupported_media_type(
                "the body of the request was in an unknown format - accepted media types include: "
                + ", ".join(sorted(allowed))
            )
        body = await read_body(call.request)
        entry = self._cluster.objects.get(call.write)
        patched = apply_patch(kind, show_object(call.resource, entry), body)
        return _show(call, self._cluster.objects.update(call.write, patched))

    async def _delete(self, call: Call) -> web.Response:
        options = parse_delete_options(await read_body(call.request), call.request.query)
        entry, is_gone = self._cluster.objects.delete(call.write, options)
        if is_gone and call.resource.key != PODS:
            details = build_details(call.resource, call.write.name)
            return answer_success(details={**details, "uid": entry.obj["metadata"]["uid"]})
        return answer(render_entry(View(call.resource, _PLAIN), entry, time.time()))

    async def _delete_collection(self, call: Call) -> web.Response:
        query = call.request.query
        options = parse_delete_options(await read_body(call.request), query)
        selection = parse_selection(call.resource, call.target.namespace, query)
        entries = select(self._cluster.store, selection)
        for entry in entries:
            metadata = entry.obj["metadata"]
            write = Write(call.resource, metadata.get("namespace", ""), metadata["name"])
            if self._cluster.store.get(write.ident):
                self._cluster.objects.delete(write, options)
        metadata = {"resourceVersion": str(self._cluster.store.version)}
        return answer(render_list(View(call.resource, _PLAIN), entries, metadata, time.time()))

    async def _watch(self, call: Call) -> web.StreamResponse:
        query = call.request.query
        options = parse_watch(query, self._cluster.store.version)
        selection = parse_selection(call.resource, call.target.namespace, query, call.target.name)
        response = web.StreamResponse(headers={"Content-Type": JSON, "Cache-Control": "no-cache, private"})
        response.enable_chunked_encoding()
        watch = Watch(selection, call.view)
        await response.prepare(call.request)
        await self._cluster.watches.run(watch, options, response.write)
        await response.write_eof()
        return response


def apply_patch(kind: str, current: Obj, body: Any) -> Obj:
    """Return what a patch of media type `kind` makes of an object, as a copy. Raises 400 or 422."""
    if kind == _JSON_PATCH:
        patched = apply_json_patch(current, body)
    elif not isinstance(body, dict):
        raise bad_request("error decoding patch: json: cannot unmarshal into Go value of type map[string]interface {}")
    elif kind == _STRATEGIC_PATCH:
        patched = apply_strategic_patch(copy_value(current), body)
    else:
        patched = apply_merge_patch(current, body)
    if not isinstance(patched, dict):
        raise bad_request("error decoding patch: the patched document is not an object")
    return patched


def parse_write(resource: Resource, target: Target, query: Any) -> Write:
    """Return what a request says about its write. Raises a 400."""
    dry_run = query.getall("dryRun", [])
    if any(value != "All" for value in dry_run if value):
        message = f'Invalid value: "{dry_run[0]}": supported values: "All"'
        raise ApiError(422, "Invalid", f"dryRun: {message}")
    validation = query.get("fieldValidation") or "Warn"
    if validation not in ("Strict", "Warn", "Ignore"):
        raise ApiError(422, "Invalid", f'fieldValidation: Unsupported value: "{validation}"')
    return Write(
        resource,
        namespace=target.namespace or "",
        name=target.name or "",
        subresource=target.subresource,
        dry_run=any(dry_run),
        field_validation=validation,
        warnings=[resource.warning] if resource.warning else [],
    )


def _show(call: Call, entry: Entry, status: int = 200) -> web.Response:
    """Return one object in the form asked for."""
    return answer(render_entry(call.view, entry, time.time()), status, call.write.warnings)
