"""What lies below an object and is not a part of it: scale, binding, log.

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
from watchbill_local.server.errors import ApiError, bad_request, conflict, invalid, invalid_value, method_not_allowed
from watchbill_local.server.exchange import Call, answer, answer_success, patch_object, read_body
from watchbill_local.server.jsonpath import split_simple_path
from watchbill_local.server.registry import NODES
from watchbill_local.server.resource import Scale
from watchbill_local.server.store import Entry, Ident
from watchbill_local.server.times import now_iso
from watchbill_local.server.values import Obj, copy_value, dig
from watchbill_local.server.views import show_object

_SCALE_METADATA = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")

Handler = Callable[[Call], Awaitable[web.StreamResponse]]


class Subresources:
    """Answers requests on subresources."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._session: aiohttp.ClientSession | None = None
        self._handlers: dict[tuple[str, str], Handler] = {
            ("GET", "scale"): self._scale,
            ("PUT", "scale"): self._scale,
            ("PATCH", "scale"): self._scale,
            ("POST", "binding"): self._bind,
            ("GET", "log"): self._log,
        }

    def find(self, call: Call) -> Handler | None:
        """Return what answers a request, or None where its target is the object or its status. Raises a 405."""
        handler = self._handlers.get((call.request.method, call.target.subresource))
        if handler is None and call.target.subresource not in ("", "status"):
            raise method_not_allowed(call.resource, call.write.name)
        return handler

    async def close(self) -> None:
        """Close the connections to nodes."""
        if self._session is not None:
            await self._session.close()

    async def _scale(self, call: Call) -> web.StreamResponse:
        """Read or write the number of replicas where the kind's definition says that it is."""
        resource, write, paths = call.resource, call.write, call.resource.scale
        assert paths is not None, "only a kind with a scale has the subresource"

        def present() -> Obj:
            return build_scale(paths, show_object(resource, self._cluster.objects.get(write)))

        if call.request.method == "GET":
            return answer(orjson.dumps(present()))
        is_patch = call.request.method == "PATCH"
        wanted = await patch_object(call, present) if is_patch else await read_body(call.request)
        replicas = dig(wanted, "spec", "replicas", default=0)
        if not isinstance(replicas, int) or replicas < 0:
            raise invalid(
                resource, write.name, [invalid_value("spec.replicas", replicas, "should be a non-negative integer")]
            )
        obj = copy_value(show_object(resource, self._cluster.objects.get(write)))
        obj["metadata"]["resourceVersion"] = dig(wanted, "metadata", "resourceVersion")
        _set_path(obj, split_simple_path(paths.spec_replicas), replicas)
        updated = self._cluster.objects.update(write, obj)
        return answer(orjson.dumps(build_scale(paths, show_object(resource, updated))))

    async def _bind(self, call: Call) -> web.StreamResponse:
        """Assign a pod to a node, once."""
        node = dig(await read_body(call.request), "target", "name")
        if not node:
            raise bad_request("Binding.target.name: Required value")
        pod = copy_value(self._cluster.objects.get(call.write).obj)
        present = dig(pod, "spec", "nodeName")
        if present or pod["metadata"].get("deletionTimestamp"):
            why = f'already assigned to node "{present}"' if present else "being deleted, cannot be assigned to a host"
            raise conflict(call.resource, call.write.name, f"pod {call.write.name} is {why}")
        pod["spec"]["nodeName"] = node
        status = pod.setdefault("status", {})
        others = [each for each in status.get("conditions") or () if each["type"] != "PodScheduled"]
        scheduled = {"type": "PodScheduled", "status": "True", "lastProbeTime": None, "lastTransitionTime": now_iso()}
        status["conditions"] = [*others, scheduled]
        self._cluster.store.put(call.write.ident, pod)
        return answer_success(201, code=201)

    async def _log(self, call: Call) -> web.StreamResponse:
        """Pass a pod's log through from its node, as long as the client reads."""
        pod, write = self._cluster.objects.get(call.write), call.write
        container = _choose_container(pod.obj, call.request.query.get("container"))
        if not dig(pod.obj, "spec", "nodeName"):
            return web.Response(text="")
        url = f"{self._find_node(pod)}/containerLogs/{write.namespace}/{write.name}/{container}"
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
            raise ApiError(500, "InternalError", f"the node of pod {write.name} does not answer: {error}") from None
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


def _choose_container(pod: Obj, asked: str | None) -> str:
    """Return the container whose log is meant, in upstream's words where that is not clear."""
    spec, name = pod["spec"], pod["metadata"]["name"]
    names = [str(each["name"]) for each in spec.get("containers") or []]
    every = [*names, *(each["name"] for each in spec.get("initContainers") or [])]
    if asked is None and len(names) > 1:
        raise bad_request(f"a container name must be specified for pod {name}, choose one of: [{' '.join(every)}]")
    if asked not in (None, *every):
        raise bad_request(f"container {asked} is not valid for pod {name}")
    return asked or names[0]
