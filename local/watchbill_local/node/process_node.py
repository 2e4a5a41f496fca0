"""The node as a whole: which pods are here, and what happens to them when the API or a signal says so.

Owns the table of pods by uid. Invariant: one worker for each uid, from the first time it is seen bound to this node
until its Pod object is gone; a pod that was deleted and created again under its name is another uid, so another worker.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from watchbill_local.node.api import UNREACHABLE, ApiError, Json
from watchbill_local.node.containers import ContainerWorker
from watchbill_local.node.endpoint import serve_endpoint
from watchbill_local.node.pods import PodWorker
from watchbill_local.node.registration import register_node, report_node, watch_heartbeat
from watchbill_local.node.scheduling import MAX_PODS, decide_binding, is_waiting
from watchbill_local.node.settings import Shared

FAST_SECONDS = 5.0
STOP_MARGIN_SECONDS = 5.0  #: for the last status patches, after the grace periods
RETRY_SECONDS = 10.0
SCHEDULER_LEASE_SECONDS = 60
SCHEDULER_LEASE = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/kube-scheduler"
TERMINAL = ("Succeeded", "Failed")

log = logging.getLogger(__name__)


class ProcessNode:
    """Runs pods. Use `run` once."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._pods: dict[str, PodWorker] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._waiting: dict[str, Json] = {}  #: pods that could not be bound yet
        self._looked = datetime.min.replace(tzinfo=UTC)
        self._has_scheduler = False
        self._node: Json = {}  #: the Node object as it was when we last looked
        self._addresses = _pod_addresses(shared.cookie)
        self._cleaned = False

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop` is set, then stop all containers. Raises OSError, ApiError or UNREACHABLE at the start."""
        shared = self._shared
        runner, port = await serve_endpoint(self.find, shared.settings)
        try:
            await register_node(shared, port)
            log.info("node %s is ready: isolation %s, port %d", shared.settings.name, shared.level, port)
            loops = [
                asyncio.create_task(stop.wait()),
                asyncio.create_task(watch_heartbeat(shared, port)),
                asyncio.create_task(shared.api.watch("/api/v1/pods", self.take_list, self.take_event)),
                asyncio.create_task(self._retry_waiting()),
            ]
            ended, _ = await asyncio.wait(loops, return_when=asyncio.FIRST_COMPLETED)
            for loop in loops:
                loop.cancel()
            await self._shut_down(port)
            for loop in ended:
                loop.result()
        finally:
            await runner.cleanup()

    def find(self, namespace: str, pod: str, container: str) -> ContainerWorker | None:
        """The container that a name means: of the newest pod of that name."""
        for worker in reversed(self._pods.values()):
            meta = worker.item["metadata"]
            if (meta["namespace"], meta["name"]) == (namespace, pod):
                return next((c for c in worker.containers if c.state.name == container), None)
        return None

    async def take_list(self, items: list[Json]) -> None:
        """All pods as they are now: what is not among them is gone."""
        known = {item["metadata"]["uid"] for item in items}
        for uid in set(self._pods) - known:
            self._pods[uid].vanish()
        self._waiting = {uid: item for uid, item in self._waiting.items() if uid in known}
        if not self._cleaned:
            await asyncio.to_thread(self._clean_directories, known)
            self._cleaned = True
        for item in items:
            await self.take_event("ADDED", item)

    async def take_event(self, kind: str, item: Json) -> None:
        """One pod was added, changed or deleted."""
        uid = item["metadata"]["uid"]
        self._waiting.pop(uid, None)
        worker = self._pods.get(uid)
        if kind == "DELETED":
            if worker:
                worker.vanish()
        elif worker:
            worker.change(item)
        elif is_waiting(item):
            await self._bind(item)
        elif item["spec"].get("nodeName") == self._shared.settings.name:
            self._adopt(item)

    def _adopt(self, item: Json) -> None:
        """Take on a pod that is bound here."""
        uid = item["metadata"]["uid"]
        worker = PodWorker(item, self._shared, next(self._addresses))
        worker.change(item)
        self._pods[uid] = worker
        self._tasks[uid] = asyncio.create_task(self._run_pod(uid, worker))

    async def _run_pod(self, uid: str, worker: PodWorker) -> None:
        """A pod's life here, up to the removal of its object."""
        if (worker.item.get("status") or {}).get("phase") not in TERMINAL:
            await worker.run()
        worker.over.set()
        await worker.deletion.wait()
        await worker.remove()
        del self._pods[uid], self._tasks[uid]

    async def _bind(self, item: Json) -> None:
        """Bind a waiting pod to this node and start it, or say in its status why not."""
        meta = item["metadata"]
        path = f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}"
        target = {"apiVersion": "v1", "kind": "Node", "name": self._shared.settings.name}
        self._waiting[meta["uid"]] = item
        try:
            await self._look_around()
            if self._has_scheduler:
                return
            labels, cordoned = self._node["metadata"].get("labels") or {}, bool(self._node["spec"].get("unschedulable"))
            running = sum(1 for worker in self._pods.values() if not worker.is_over)
            why = decide_binding(item, labels, running=running, cordoned=cordoned)
            if why:
                await self._show_unschedulable(item, path, why)
                return
            binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": meta["name"]}, "target": target}
            await self._shared.api.post(f"{path}/binding", binding)
        except (ApiError, *UNREACHABLE) as error:
            log.info("pod %s is not bound: %s", meta["name"], error)
            return
        self._waiting.pop(meta["uid"], None)
        self._shared.events.record(
            item, "Scheduled", f"Successfully assigned {meta['namespace']}/{meta['name']} to {target['name']}"
        )
        self._adopt({**item, "spec": {**item["spec"], "nodeName": target["name"]}})

    async def _show_unschedulable(self, item: Json, path: str, why: str) -> None:
        known = (item.get("status") or {}).get("conditions") or ()
        if any(c["type"] == "PodScheduled" and c.get("message") == why for c in known):
            return
        self._shared.events.record(item, "FailedScheduling", why, warning=True)
        condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": why}
        await self._shared.api.patch(f"{path}/status", {"status": {"phase": "Pending", "conditions": [condition]}})

    async def _look_around(self) -> None:
        """Learn, at most every RETRY_SECONDS, whether a real scheduler is there, and our labels and cordon."""
        now = datetime.now(UTC)
        if now < self._looked + timedelta(seconds=RETRY_SECONDS):
            return
        lease = await self._shared.api.find(SCHEDULER_LEASE)
        renewed = ((lease or {}).get("spec") or {}).get("renewTime")
        age = now - datetime.fromisoformat(renewed) if renewed else timedelta.max
        self._has_scheduler = age < timedelta(seconds=SCHEDULER_LEASE_SECONDS)
        self._node = await self._shared.api.get(f"/api/v1/nodes/{self._shared.settings.name}")
        self._looked = now

    async def _retry_waiting(self) -> None:
        """Look again, now and then, at pods that had no place: one may have ended, or the node been uncordoned."""
        while True:
            await asyncio.sleep(RETRY_SECONDS)
            for item in list(self._waiting.values())[:MAX_PODS]:
                await self._bind(item)

    async def _shut_down(self, port: int) -> None:
        """Stop every container by its grace period, report it, and leave the Pod objects for the next start."""
        fast, seconds = self._shared.settings.fast, 0.0
        for worker in self._pods.values():
            grace = float(worker.item["spec"].get("terminationGracePeriodSeconds", 30))
            grace = min(grace, FAST_SECONDS) if fast else grace
            seconds = max(seconds, grace)
            worker.stop(grace)
        with contextlib.suppress(ApiError, *UNREACHABLE):
            await report_node(self._shared, port, ready=False)
        endings = [asyncio.create_task(worker.over.wait()) for worker in self._pods.values()]
        if endings:
            await asyncio.wait(endings, timeout=seconds + STOP_MARGIN_SECONDS)
        await self._shared.events.drain(1.0)
        for task in (*endings, *self._tasks.values()):
            task.cancel()

    def _clean_directories(self, known: set[str]) -> None:
        """Remove what pods left that no longer exist."""
        for folder in (self._shared.settings.data / "pods").iterdir():
            if folder.name not in known:
                shutil.rmtree(folder, ignore_errors=True)


def _pod_addresses(cookie: str) -> Iterator[str]:
    """Loopback addresses, one for each pod, so that two can listen on the same port; apart by node as well."""
    net = 64 + int(cookie[:4], 16) % 128
    for number in itertools.count():
        yield f"127.{net}.{number // 250 % 250 + 1}.{number % 250 + 1}"
