"""What lies below an object and is not a part of it: scale, binding, eviction, log.

Owns their requests; `status` is an ordinary write and is with the verbs. The log of a pod is read from its node, which
names its port in its status.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import orjson
from aiohttp import web

from watchbill_local.server.cluster import Cluster
from watchbill_local.server.deletion import parse_delete_options
from watchbill_local.server.errors import ApiError, Cause, bad_request, conflict, invalid, method_not_allowed
from watchbill_local.server.exchange import answer, answer_success, content_type_of, read_body
from watchbill_local.server.jsonpath import split_simple_path
from watchbill_local.server.registry import NODES
from watchbill_local.server.resource import Scale
from watchbill_local.server.shapes import show_object
from watchbill_local.server.store import Entry, Ident
from watchbill_local.server.times import now_iso
from watchbill_local.server.values import Obj, copy_value, dig
from watchbill_local.server.verbs import Call, apply_patch

_SCALE_METADATA = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")


class Subresources:
    """Answers requests on subresources."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._session: aiohttp.ClientSession | None = None
        self._handlers: dict[str, Callable[[Call], Awaitable[web.StreamResponse]]] = {
            "scale": self._scale,
            "binding": self._bind,
            "eviction": self._evict,
            "log": self._log,
        }

    def find(self, name: str) -> Callable[[Call], Awaitable[web.StreamResponse]] | None:
        """Return what answers a subresource."""
        return self._handlers.get(name)

    async def close(self) -> None:
        """Close the connections to nodes."""
        if self._session is not None:
            await self._session.close()

    async def _scale(self, call: Call) -> web.StreamResponse:
        """Read or write the number of replicas where the kind's definition says that it is."""
        paths = call.resource.scale
        if paths is None:
            raise method_not_allowed(call.resource, call.write.name)
        entry = self._cluster.objects.get(call.write)
        current = build_scale(paths, show_object(call.resource, entry))
        if call.request.method == "GET":
            return answer(orjson.dumps(current))
        body = await read_body(call.request)
        if call.request.method == "PATCH":
            body = apply_patch(content_type_of(call.request), current, body)
        elif call.request.method != "PUT":
            raise method_not_allowed(call.resource, call.write.name)
        replicas = dig(body, "spec", "replicas", default=0)
        if not isinstance(replicas, int) or replicas < 0:
            text = f"Invalid value: {replicas}: should be a non-negative integer"
            raise invalid(call.resource, call.write.name, [Cause("FieldValueInvalid", "spec.replicas", text)])
        if dig(body, "metadata", "resourceVersion") not in (None, "", current["metadata"]["resourceVersion"]):
            raise conflict(call.resource, call.write.name)
        obj = copy_value(show_object(call.resource, self._cluster.objects.get(call.write)))
        _set_path(obj, split_simple_path(paths.spec_replicas), replicas)
        updated = self._cluster.objects.update(call.write, obj)
        return answer(orjson.dumps(build_scale(paths, show_object(call.resource, updated))))

    async def _bind(self, call: Call) -> web.StreamResponse:
        """Assign a pod to a node, once."""
        body = _require_post(call, await read_body(call.request))
        node = dig(body, "target", "name")
        if not node:
            raise bad_request("Binding.target.name: Required value")
        entry = self._cluster.objects.get(call.write)
        present = dig(entry.obj, "spec", "nodeName")
        if present or entry.obj["metadata"].get("deletionTimestamp"):
            why = f'already assigned to node "{present}"' if present else "being deleted, cannot be assigned to a host"
            raise conflict(call.resource, call.write.name, f"pod {call.write.name} is {why}")
        pod = copy_value(entry.obj)
        pod["spec"]["nodeName"] = node
        status = pod.setdefault("status", {})
        others = [each for each in status.get("conditions") or () if each["type"] != "PodScheduled"]
        scheduled = {"type": "PodScheduled", "status": "True", "lastProbeTime": None, "lastTransitionTime": now_iso()}
        status["conditions"] = [*others, scheduled]
        self._cluster.store.put(call.write.ident, pod, "MODIFIED")
        return answer_success(201, code=201)

    async def _evict(self, call: Call) -> web.StreamResponse:
        """Delete a pod as `kubectl drain` asks for it; there are no disruption budgets here."""
        body = _require_post(call, await read_body(call.request))
        options = parse_delete_options(dig(body, "deleteOptions", default={}), call.request.query)
        self._cluster.objects.delete(call.write, options)
        return answer_success(201, code=201)

    async def _log(self, call: Call) -> web.StreamResponse:
        """Pass a pod's log through from its node, as long as the client reads."""
        pod = self._cluster.objects.get(call.write)
        container = _choose_container(pod.obj, call.request.query.get("container"))
        if not dig(pod.obj, "spec", "nodeName"):
            return web.Response(text="")
        url = f"{self._find_node(pod)}/containerLogs/{call.write.namespace}/{call.write.name}/{container}"
        parameters = {key: value for key, value in call.request.query.items() if key != "container"}
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None, sock_connect=5))
        try:
            async with self._session.get(url, params=parameters) as source:
                if source.status >= 400:
                    raise ApiError(source.status, "BadRequest", (await source.text()).strip())
                response = web.StreamResponse(headers={"Content-Type": "text/plain"})
                await response.prepare(call.request)
                async for chunk in source.content.iter_any():
                    await response.write(chunk)
        except aiohttp.ClientConnectorError as error:
            raise ApiError(
                500, "InternalError", f"the node of pod {call.write.name} does not answer: {error}"
            ) from None
        await response.write_eof()
        return response

    def _find_node(self, pod: Entry) -> str:
        """Return the URL of the node that runs a pod."""
        name = pod.obj["spec"]["nodeName"]
        node = self._cluster.store.get(Ident(NODES, "", name))
        if node is None:
            raise bad_request(f'nodes "{name}" not found')
        addresses = dig(node.obj, "status", "addresses", default=[])
        host = next((each["address"] for each in addresses if each["type"] == "InternalIP"), None)
        port = dig(node.obj, "status", "daemonEndpoints", "kubeletEndpoint", "Port")
        if not host or not port:
            raise bad_request(f'node "{name}" does not say where it serves logs')
        return f"http://{host}:{port}"


def build_scale(paths: Scale, obj: Obj) -> Obj:
    """Return the Scale of an object."""
    status: Obj = {"replicas": dig(obj, *split_simple_path(paths.status_replicas), default=0)}
    selector = dig(obj, *split_simple_path(paths.selector)) if paths.selector else None
    if selector:
        status["selector"] = selector
    metadata = obj["metadata"]
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {key: metadata[key] for key in _SCALE_METADATA if key in metadata},
        "spec": {"replicas": dig(obj, *split_simple_path(paths.spec_replicas), default=0)},
        "status": status,
    }


def _set_path(obj: Obj, path: tuple[str, ...], value: Any) -> None:
    for key in path[:-1]:
        obj = obj.setdefault(key, {})
    obj[path[-1]] = value


def _require_post(call: Call, body: Any) -> Any:
    if call.request.method != "POST":
        raise method_not_allowed(call.resource, call.write.name)
    return body


def _choose_container(pod: Obj, asked: str | None) -> str:
    """Return the container whose log is meant, in upstream's words where that is not clear."""
    spec, name = pod["spec"], pod["metadata"]["name"]
    names = [each["name"] for each in (spec.get("containers") or [])]
    every = names + [each["name"] for each in spec.get("initContainers") or []]
    if asked is None and len(names) == 1:
        return str(names[0])
    if asked is None:
        raise bad_request(f"a container name must be specified for pod {name}, choose one of: [{' '.join(every)}]")
    if asked not in every:
        raise bad_request(f"container {asked} is not valid for pod {name}")
    return asked
