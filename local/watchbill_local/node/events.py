"""Kubernetes Events about pods.

Owns the node's Events: each (pod, container, reason, message) is told once. Invariant: telling never delays or breaks
what is told about; an Event that the server does not take is dropped, and at most PENDING are on their way.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from datetime import UTC, datetime

from watchbill_local.node.api import UNREACHABLE, ApiClient, ApiError, Json
from watchbill_local.node.status import stamp

PENDING = 200
REMEMBERED = 2_000


class EventRecorder:
    """Tells the API what happened to pods, in the background."""

    def __init__(self, api: ApiClient, node: str) -> None:
        self._api = api
        self._node = node
        self._told: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def record(self, pod: Json, reason: str, message: str, *, warning: bool = False, container: str = "") -> None:
        """Make one Event about `pod`, unless the same was told before."""
        meta = pod["metadata"]
        digest = hashlib.sha256("\0".join((meta["uid"], self._node, reason, message, container)).encode()).hexdigest()[
            :16
        ]
        name = f"{meta['name'][:230]}.{digest}"
        if name in self._told or len(self._tasks) >= PENDING:
            return
        if len(self._told) >= REMEMBERED:
            self._told.clear()
        self._told.add(name)
        now = stamp(datetime.now(UTC))
        about = {
            "apiVersion": "v1",
            "kind": "Pod",
            "name": meta["name"],
            "namespace": meta["namespace"],
            "uid": meta["uid"],
        }
        if container:
            about["fieldPath"] = f"spec.containers{{{container}}}"
        event: Json = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": meta["namespace"]},
            "involvedObject": about,
            "type": "Warning" if warning else "Normal",
            "reason": reason,
            "message": message[:1000],
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
            "source": {"component": "process-node", "host": self._node},
            "reportingComponent": "process-node",
            "reportingInstance": self._node,
        }
        task = asyncio.create_task(self._send(event))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def drain(self, seconds: float) -> None:
        """Wait until what was recorded is sent, at most `seconds`."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)

    async def _send(self, event: Json) -> None:
        with contextlib.suppress(ApiError, *UNREACHABLE):
            await self._api.post(f"/api/v1/namespaces/{event['metadata']['namespace']}/events", event)
