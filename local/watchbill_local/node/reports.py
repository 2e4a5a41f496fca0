"""What the node tells the API of itself and of pods: the Node object, the lease that says it is alive, and Events.

Invariant: it is honest: the runtime is called `process`, and a condition says whether pods are kept apart. An idle
node writes its lease every LEASE_SECONDS, nothing else. Telling an Event never delays or breaks what is told about; one
that the server does not take is dropped, and none is told twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import platform
from datetime import UTC, datetime

from watchbill_local.node.api import UNREACHABLE, ApiClient, ApiError, Json
from watchbill_local.node.isolation import DESCRIPTION
from watchbill_local.node.launch import Level
from watchbill_local.node.logs import format_time
from watchbill_local.node.settings import Shared
from watchbill_local.node.status import stamp

LEASE_SECONDS = 10
MAX_PODS = 110
REMEMBERED = 2_000
LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())


class EventRecorder:
    """Tells the API what happened to pods, in the background."""

    def __init__(self, api: ApiClient, node: str) -> None:
        self._api = api
        self._node = node
        self._told: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def record(self, pod: Json, reason: str, message: str, *, warning: bool = False) -> None:
        """Make one Event about `pod`, unless the same was told before."""
        meta, now = pod["metadata"], stamp(datetime.now(UTC))
        digest = hashlib.sha256("\0".join((meta["uid"], reason, message)).encode()).hexdigest()[:16]
        if digest in self._told:
            return
        self._told = (self._told if len(self._told) < REMEMBERED else set()) | {digest}
        about = {"apiVersion": "v1", "kind": "Pod"} | {key: meta[key] for key in ("name", "namespace", "uid")}
        event: Json = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"{meta['name'][:230]}.{digest}", "namespace": meta["namespace"]},
            "involvedObject": about,
            "type": "Warning" if warning else "Normal",
            "reason": reason,
            "message": message[:1000],
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
            "source": {"component": "process-node", "host": self._node},
        }
        task = asyncio.create_task(self._send(f"/api/v1/namespaces/{meta['namespace']}/events", event))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _send(self, path: str, event: Json) -> None:
        with contextlib.suppress(ApiError, *UNREACHABLE):
            await self._api.call("POST", path, event)


async def register_node(shared: Shared, port: int) -> None:
    """Create the Node object or take over the one of that name. Raises ApiError or UNREACHABLE."""
    name, level = shared.settings.name, shared.level
    labels = {"hostname": name, "os": "linux", "arch": ARCHITECTURE}
    meta: Json = {"name": name, "labels": {f"kubernetes.io/{key}": value for key, value in labels.items()}}
    meta["annotations"] = {"watchbill.dev/isolation": level, "watchbill.dev/isolation-note": DESCRIPTION[level]}
    await _apply(shared.api, "/api/v1/nodes", {"apiVersion": "v1", "kind": "Node", "metadata": meta})
    await report_node(shared, port, ready=True)


async def _apply(api: ApiClient, collection: str, item: Json) -> bool:
    """Change an object, or create it where it is not there, which is told."""
    try:
        await api.call("PATCH", f"{collection}/{item['metadata']['name']}", item)
    except ApiError as error:
        if error.code != 404:
            raise
        await api.call("POST", collection, item)
        return True
    return False


async def report_node(shared: Shared, port: int, *, ready: bool) -> None:
    """Write the Node's status. Raises ApiError or UNREACHABLE."""
    settings, level = shared.settings, shared.level
    pages = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    capacity = {"cpu": str(os.cpu_count()), "memory": f"{pages // 1024}Ki", "pods": str(MAX_PODS)}
    note = f"level {level}: {DESCRIPTION[level]}; CPU and memory limits are not enforced"
    conditions = [("Ready", ready, "runs containers as local processes")]
    conditions += [("PodsIsolated", level is not Level.PROCESSES, note)]
    times = dict.fromkeys(("lastHeartbeatTime", "lastTransitionTime"), stamp(datetime.now(UTC)))
    info = {"kubeletVersion": "v0.1.0-process-node", "containerRuntimeVersion": "process://0.1"}
    info |= {"operatingSystem": "linux", "architecture": ARCHITECTURE, "kernelVersion": platform.release()}
    info |= {"osImage": f"the host, isolation level {level}"}
    info |= dict.fromkeys(("machineID", "systemUUID", "bootID", "kubeProxyVersion"), "")
    addresses = {"InternalIP": settings.address, "Hostname": settings.name}
    status = {
        "capacity": capacity,
        "allocatable": capacity,
        "addresses": [{"type": kind, "address": address} for kind, address in addresses.items()],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
        "nodeInfo": info,
        "conditions": [
            {"type": kind, "status": str(holds), "reason": "ProcessNode", "message": message, **times}
            for kind, holds, message in conditions
        ],
    }
    await shared.api.call("PATCH", f"/api/v1/nodes/{settings.name}/status", {"status": status})


async def watch_heartbeat(shared: Shared, port: int) -> None:
    """Renew the lease until cancelled. Where it is gone, the server has forgotten this node, which registers again."""
    name = shared.settings.name
    spec: Json = {"holderIdentity": name, "leaseDurationSeconds": 40}
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "spec": spec}
    lease["metadata"] = {"name": name, "namespace": "kube-node-lease"}
    while True:
        spec["renewTime"] = format_time(datetime.now(UTC))
        with contextlib.suppress(ApiError, *UNREACHABLE):
            if await _apply(shared.api, LEASES, lease):
                await register_node(shared, port)
        await asyncio.sleep(LEASE_SECONDS)
