"""The Node object, and the lease that says that it is alive.

Owns what the API knows about this node. Invariant: it is honest: the runtime is called `process`, a condition says
whether pods are kept apart, another whether memory limits are enforced. An idle node writes its lease every
LEASE_SECONDS and its status every STATUS_SECONDS, nothing else.
"""

from __future__ import annotations

import asyncio
import logging
import os
import platform
from datetime import UTC, datetime

from watchbill_local.node import memory
from watchbill_local.node.api import UNREACHABLE, ApiError, Json
from watchbill_local.node.isolation import DESCRIPTION
from watchbill_local.node.launch import Level
from watchbill_local.node.logs import format_time
from watchbill_local.node.scheduling import MAX_PODS
from watchbill_local.node.settings import Shared
from watchbill_local.node.status import stamp

LEASE_SECONDS = 10
STATUS_SECONDS = 300
LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}

log = logging.getLogger(__name__)


def build_labels(name: str) -> dict[str, str]:
    """The labels that a node selector may name."""
    machine = platform.machine()
    return {
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": ARCHITECTURES.get(machine, machine),
        "watchbill.dev/process-node": "true",
    }


def build_node_status(shared: Shared, port: int, *, ready: bool, now: datetime) -> Json:
    """The Node's status."""
    capacity = {
        "cpu": str(os.cpu_count()),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') // 1024}Ki",
        "pods": str(MAX_PODS),
    }
    limits = memory.is_enforceable()
    note = "memory limits are enforced by control groups" if limits else "memory limits are not enforced here"
    apart = shared.level is not Level.PROCESSES
    return {
        "capacity": capacity,
        "allocatable": capacity,
        "addresses": [
            {"type": "InternalIP", "address": shared.settings.address},
            {"type": "Hostname", "address": shared.settings.name},
        ],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
        "nodeInfo": {
            "kubeletVersion": "v0.1.0-process-node",
            "containerRuntimeVersion": "process://0.1",
            "operatingSystem": "linux",
            "architecture": ARCHITECTURES.get(platform.machine(), platform.machine()),
            "kernelVersion": platform.release(),
            "osImage": f"the host, isolation level {shared.level}",
            "machineID": "",
            "systemUUID": "",
            "bootID": "",
            "kubeProxyVersion": "",
        },
        "conditions": [
            _condition("Ready", ready, "ProcessNode", "runs containers as local processes", now),
            _condition(
                "PodsIsolated", apart, "IsolationLevel", f"level {shared.level}: {DESCRIPTION[shared.level]}", now
            ),
            _condition("MemoryLimited", limits, "ControlGroups", note, now),
        ],
    }


def _condition(kind: str, holds: bool, reason: str, message: str, now: datetime) -> Json:
    times = {"lastHeartbeatTime": stamp(now), "lastTransitionTime": stamp(now)}
    return {"type": kind, "status": "True" if holds else "False", "reason": reason, "message": message, **times}


async def register_node(shared: Shared, port: int) -> Json:
    """Create the Node object or take over the one of that name; returns it. Raises ApiError or UNREACHABLE."""
    name = shared.settings.name
    note = {"watchbill.dev/isolation": str(shared.level), "watchbill.dev/isolation-note": DESCRIPTION[shared.level]}
    meta = {"name": name, "labels": build_labels(name), "annotations": note}
    try:
        await shared.api.post("/api/v1/nodes", {"apiVersion": "v1", "kind": "Node", "metadata": meta, "spec": {}})
    except ApiError as error:
        if error.code != 409:
            raise
        await shared.api.patch(f"/api/v1/nodes/{name}", {"metadata": meta})
    return await report_node(shared, port, ready=True)


async def report_node(shared: Shared, port: int, *, ready: bool) -> Json:
    """Write the Node's status. Raises ApiError or UNREACHABLE."""
    status = build_node_status(shared, port, ready=ready, now=datetime.now(UTC))
    return await shared.api.patch(f"/api/v1/nodes/{shared.settings.name}/status", {"status": status})


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
        meta = {"name": name, "namespace": "kube-node-lease"}
        await register_node(shared, port)
        await shared.api.post(
            LEASES, {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": meta, "spec": spec}
        )
