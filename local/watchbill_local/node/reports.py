"""What the node tells the API of itself and of pods: the Node object, the lease that says it is alive, and Events.

Invariant: it is honest: the runtime is called `process`, and a condition says whether pods are kept apart. An idle
node writes its lease every LEASE_SECONDS and its status every STATUS_SECONDS, nothing else. Telling an Event never
delays or breaks what is told about; one that the server does not take is dropped, and none is told twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
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
STATUS_SECONDS = 300
MAX_PODS = 110
REMEMBERED = 2_000
LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
LIMITS_NOTE = "CPU and memory limits are not enforced"

log = logging.getLogger(__name__)


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
        task = asyncio.create_task(self._send(event))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _send(self, event: Json) -> None:
        with contextlib.suppress(ApiError, *UNREACHABLE):
            await self._api.post(f"/api/v1/namespaces/{event['metadata']['namespace']}/events", event)


async def register_node(shared: Shared, port: int) -> None:
    """Create the Node object or take over the one of that name. Raises ApiError or UNREACHABLE."""
    name, level = shared.settings.name, shared.level
    labels = {"hostname": name, "os": "linux", "arch": ARCHITECTURE}
    meta: Json = {"name": name, "labels": {f"kubernetes.io/{key}": value for key, value in labels.items()}}
    meta["annotations"] = {"watchbill.dev/isolation": level, "watchbill.dev/isolation-note": DESCRIPTION[level]}
    try:
        await shared.api.post("/api/v1/nodes", {"apiVersion": "v1", "kind": "Node", "metadata": meta, "spec": {}})
    except ApiError as error:
        if error.code != 409:
            raise
        await shared.api.patch(f"/api/v1/nodes/{name}", {"metadata": meta})
    await report_node(shared, port, ready=True)


async def report_node(shared: Shared, port: int, *, ready: bool) -> None:
    """Write the Node's status. Raises ApiError or UNREACHABLE."""
    settings, level = shared.settings, shared.level
    pages = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    capacity = {"cpu": str(os.cpu_count()), "memory": f"{pages // 1024}Ki", "pods": str(MAX_PODS)}
    apart, note = level is not Level.PROCESSES, f"level {level}: {DESCRIPTION[level]}; {LIMITS_NOTE}"
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
            _condition("Ready", ready, "ProcessNode", "runs containers as local processes"),
            _condition("PodsIsolated", apart, "IsolationLevel", note),
        ],
    }
    await shared.api.patch(f"/api/v1/nodes/{settings.name}/status", {"status": status})


def _condition(kind: str, holds: bool, reason: str, message: str) -> Json:
    times = dict.fromkeys(("lastHeartbeatTime", "lastTransitionTime"), stamp(datetime.now(UTC)))
    return {"type": kind, "status": str(holds), "reason": reason, "message": message, **times}


async def watch_heartbeat(shared: Shared, port: int) -> None:
    """Renew lease and status until cancelled; a server that is away is waited for."""
    beats = 0
    while True:
        try:
            await _renew_lease(shared, port)
            beats += 1
            if beats % (STATUS_SECONDS // LEASE_SECONDS) == 0:
                await report_node(shared, port, ready=True)
        except (ApiError, *UNREACHABLE) as error:
            log.debug("heartbeat: %s", error)
        await asyncio.sleep(LEASE_SECONDS)


async def _renew_lease(shared: Shared, port: int) -> None:
    """Renew the lease; where it is gone, the server has forgotten this node, which then registers again."""
    name = shared.settings.name
    spec = {"holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": format_time(datetime.now(UTC))}
    try:
        await shared.api.patch(f"{LEASES}/{name}", {"spec": spec})
    except ApiError as error:
        if error.code != 404:
            raise
        lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "spec": spec}
        await register_node(shared, port)
        await shared.api.post(LEASES, lease | {"metadata": {"name": name, "namespace": "kube-node-lease"}})
