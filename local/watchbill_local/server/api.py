"""The HTTP entry: who may come in, what the path names, and how failures are answered.

Owns the order of every request: fence, health, discovery, resources. Each failure leaves as a Status object;
a defect of this server is a 500 with its trace in the log, and the server goes on.
"""

from __future__ import annotations

import logging

from aiohttp import web

from watchbill_local.server.auth import FREE_PATHS, Fence
from watchbill_local.server.cluster import Cluster
from watchbill_local.server.errors import ApiError
from watchbill_local.server.exchange import answer_error
from watchbill_local.server.shapes import View
from watchbill_local.server.subresources import Subresources
from watchbill_local.server.targets import Target, parse_accept, parse_target
from watchbill_local.server.verbs import Call, Verbs, parse_write

log = logging.getLogger(__name__)


class Api:
    """Answers every request to one cluster."""

    def __init__(self, cluster: Cluster, fence: Fence) -> None:
        self._cluster = cluster
        self._fence = fence
        self._verbs = Verbs(cluster)
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
            log.exception("%s %s", request.method, request.path)
            return answer_error(ApiError(500, "InternalError", f"the change could not be kept: {error}"))
        except Exception as error:
            log.exception("%s %s", request.method, request.path)
            return answer_error(ApiError(500, "InternalError", f"Internal error occurred: {error!r}"))

    async def close(self) -> None:
        """Close what was opened for requests."""
        await self._subresources.close()

    async def _route(self, request: web.BaseRequest) -> web.StreamResponse:
        refusal = self._fence.decide_refusal(request.path, request.headers)
        if refusal is not None:
            raise refusal
        if request.path in FREE_PATHS:
            return web.Response(text="ok")
        target = parse_target(request.path)
        if target is None:
            return self._discover(request)
        return await self._serve(request, target)

    def _discover(self, request: web.BaseRequest) -> web.Response:
        document = self._cluster.discovery.find(request.path, request.headers.get("Accept", ""))
        if document is None:
            raise ApiError(404, "NotFound", "the server could not find the requested resource")
        return web.Response(body=document.body, headers={"Content-Type": document.content_type, "Vary": "Accept"})

    async def _serve(self, request: web.BaseRequest, target: Target) -> web.StreamResponse:
        resource = self._cluster.registry.find(target.group, target.version, target.plural)
        if resource is None:
            return web.Response(status=404, text="404 page not found\n")
        is_misplaced = target.namespace is not None and not resource.namespaced
        is_homeless = target.name is not None and target.namespace is None and resource.namespaced
        is_unknown = bool(target.subresource) and target.subresource not in resource.subresources
        if is_misplaced or is_homeless or is_unknown:
            raise ApiError(404, "NotFound", "the server could not find the requested resource")
        form = parse_accept(request.headers.get("Accept", ""))
        if form.shape == "refused" and target.subresource != "log":
            raise ApiError(406, "NotAcceptable", "only the following media types are accepted: application/json")
        view = View(resource, form, request.query.get("includeObject", "Metadata"))
        call = Call(request, target, view, parse_write(resource, target, request.query))
        handler = self._subresources.find(target.subresource)
        return await (handler(call) if handler else self._verbs.serve(call))
