"""What lies below an object and is not a part of it: scale, binding, log.

Owns their requests; `status` is an ordinary write and is with the verbs. The log of a pod is read from its node, which
names its port in its status. Each handler raises ApiError for a refusal.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable

import aiohttp
import orjson
from aiohttp import web

from watchbill_local.server.cluster import Cluster
from watchbill_local.server.errors import ApiError, Undecodable, bad_request, conflict, failed, not_found, unpatchable
from watchbill_local.server.exchange import Call, answer, answer_success, patch_object, read_body
from watchbill_local.server.jsonpath import split_simple_path
from watchbill_local.server.registry import NODES, PODS
from watchbill_local.server.resource import Scale
from watchbill_local.server.reviews import serve_token
from watchbill_local.server.store import Ident
from watchbill_local.server.times import now_iso
from watchbill_local.server.values import Obj, copy_value, dig, name_go_type
from watchbill_local.server.views import show_object

#: Seconds that a node has to take a connection; a log that is followed may last.
NODE_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=5)

_SCALE_METADATA = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")


async def serve_scale(cluster: Cluster, call: Call) -> web.StreamResponse:
    """Read or write the number of replicas where the kind's definition says that it is."""
    resource, write, paths = call.write.resource, call.write, call.write.resource.scale
    assert paths is not None, "only a kind with a scale has the subresource"

    def present() -> Obj:
        return build_scale(paths, show_object(resource, cluster.objects.get(write)))

    if call.request.method == "GET":
        return answer(orjson.dumps(present()))
    is_patch = call.request.method == "PATCH"
    wanted = await patch_object(call, present) if is_patch else await read_body(call)
    replicas = dig(wanted, "spec", "replicas", default=0)
    if dig(wanted, "kind", default="Scale") != "Scale":
        raise bad_request('no kind is registered for the type v1.Scale in scheme "pkg/runtime/scheme.go:111"')
    if not isinstance(replicas, int):
        words = f"{name_go_type(replicas)} into Go struct field ScaleSpec.spec.replicas of type int32"
        error = Undecodable("Scale", "v1", f"json: cannot unmarshal {words}")
        raise unpatchable(wanted, error.why) if is_patch else error
    obj = copy_value(show_object(resource, cluster.objects.get(write)))
    obj["metadata"]["resourceVersion"] = dig(wanted, "metadata", "resourceVersion")
    *parents, last = split_simple_path(paths.spec_replicas)
    place = obj
    for key in parents:
        place = place.setdefault(key, {})
    place[last] = replicas
    updated = cluster.objects.update(write, obj)
    return answer(orjson.dumps(build_scale(paths, show_object(resource, updated))))


def build_scale(paths: Scale, obj: Obj) -> Obj:
    """Return the Scale of an object."""
    status: Obj = {"replicas": dig(obj, *split_simple_path(paths.status_replicas), default=0)}
    selector = dig(obj, *split_simple_path(paths.selector)) if paths.selector else None
    metadata = {key: obj["metadata"][key] for key in _SCALE_METADATA if key in obj["metadata"]}
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": metadata,
        "spec": {"replicas": dig(obj, *split_simple_path(paths.spec_replicas), default=0)},
        "status": {**status, "selector": selector} if selector else status,
    }


async def serve_binding(cluster: Cluster, call: Call) -> web.StreamResponse:
    """Assign a pod to a node, once."""
    body = await read_body(call)
    call.write.name = call.write.name or dig(body, "metadata", "name", default="")
    node, kind = dig(body, "target", "name"), dig(body, "target", "kind", default="")
    if kind not in ("", "Node"):
        raise failed(f'target.kind: Unsupported value: "{kind}": supported values: "Node", "<empty>"')
    if not node:
        raise failed("target.name: Required value")
    pod = copy_value(cluster.objects.get(call.write).obj)
    present = dig(pod, "spec", "nodeName")
    if present or pod["metadata"].get("deletionTimestamp"):
        is_going = pod["metadata"].get("deletionTimestamp")
        why = "being deleted, cannot be assigned to a host" if is_going else f'already assigned to node "{present}"'
        named = dataclasses.replace(call.write.resource, plural="pods/binding")
        raise conflict(named, call.write.name, f"pod {call.write.name} is {why}")
    pod["spec"]["nodeName"] = node
    status = pod.setdefault("status", {})
    others = [each for each in status.get("conditions") or () if each["type"] != "PodScheduled"]
    scheduled = {"type": "PodScheduled", "status": "True", "lastProbeTime": None, "lastTransitionTime": now_iso()}
    status["conditions"] = [*others, scheduled]
    cluster.store.put(call.write.ident, pod)
    return answer_success(201, code=201)


async def serve_log(cluster: Cluster, call: Call) -> web.StreamResponse:
    """Pass a pod's log through from its node, as long as the client reads."""
    pod, name = cluster.objects.get(call.write).obj, call.write.name
    container = choose_container(pod, call.request.query.get("container"))
    if not dig(pod, "spec", "nodeName"):
        return web.Response(status=204)
    url = f"{find_node(cluster, pod)}/containerLogs/{call.write.namespace}/{name}/{container}"
    parameters = {key: value for key, value in call.request.query.items() if key != "container"}
    try:
        # a node's certificate is its own authority, as a kubelet's is where nobody signs one
        async with (
            aiohttp.ClientSession(timeout=NODE_TIMEOUT) as node,
            node.get(url, params=parameters, ssl=False) as source,
        ):
            if source.status >= 400:
                raise ApiError(source.status, "BadRequest", (await source.text()).strip())
            response = web.StreamResponse(headers={"Content-Type": "text/plain"})
            await response.prepare(call.request)
            async for chunk in source.content.iter_any():
                await response.write(chunk)
    except aiohttp.ClientConnectorError as error:
        raise ApiError(500, "InternalError", f"the node of pod {name} does not answer: {error}") from None
    await response.write_eof()
    return response


def choose_container(pod: Obj, asked: str | None) -> str:
    """Return the container whose log is meant. Raises a 400, in upstream's words, where that is not clear."""
    spec, name = pod["spec"], pod["metadata"]["name"]
    names = [str(each["name"]) for each in spec.get("containers") or []]
    every = [*names, *(each["name"] for each in spec.get("initContainers") or [])]
    if asked is None and len(names) > 1:
        raise bad_request(f"a container name must be specified for pod {name}, choose one of: [{' '.join(every)}]")
    if asked not in (None, *every):
        raise bad_request(f"container {asked} is not valid for pod {name}")
    return asked or names[0]


def find_node(cluster: Cluster, pod: Obj) -> str:
    """Return the URL of the node that runs a pod. Raises a 400 where the node is unknown or does not say it."""
    name = pod["spec"]["nodeName"]
    node = cluster.store.get(Ident(NODES, "", name))
    if node is None:
        raise not_found(cluster.registry.builtin(PODS), name)  # so upstream, though it is the node
    addresses = dig(node.obj, "status", "addresses", default=[])
    host = next((each["address"] for each in addresses if each["type"] == "InternalIP"), None)
    port = dig(node.obj, "status", "daemonEndpoints", "kubeletEndpoint", "Port")
    if not host or not port:
        raise bad_request(f'node "{name}" does not say where it serves logs')
    return f"https://{host}:{port}"


#: What answers a method on a subresource that is no part of its object.
HANDLERS: dict[tuple[str, str], Callable[[Cluster, Call], Awaitable[web.StreamResponse]]] = {
    ("GET", "scale"): serve_scale,
    ("PUT", "scale"): serve_scale,
    ("PATCH", "scale"): serve_scale,
    ("POST", "binding"): serve_binding,
    ("GET", "log"): serve_log,
    ("POST", "token"): serve_token,
}
