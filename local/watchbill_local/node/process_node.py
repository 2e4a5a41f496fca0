"""The node as a whole: which pods are here, and what happens to them when the API or a signal says so.

Owns the table of pods by uid, and the binding of pods that wait for the default scheduler: there is one node, so only
its selector labels, its cordon and its room are looked at. Invariant: one worker for each uid, from the first time it
is seen bound to this node until its Pod object is gone; a pod that was deleted and created again under its name is
another uid, so another worker.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import shutil
from collections.abc import Iterator

from watchbill_local.certificate import load_certificate
from watchbill_local.node.api import UNREACHABLE, ApiError, Json
from watchbill_local.node.containers import ContainerWorker
from watchbill_local.node.logs import serve_logs
from watchbill_local.node.pods import PodWorker
from watchbill_local.node.reports import MAX_PODS, register_node, report_node, watch_heartbeat
from watchbill_local.node.settings import Shared
from watchbill_local.node.sources import FOLLOW_SECONDS, follow_sources

STOP_MARGIN_SECONDS = 5.0  #: for the last status patches, after the grace periods
RETRY_SECONDS = 10.0
NO_ROOM = "0/1 nodes are available: 1 node(s) are cordoned, full, or not matched by the pod's node selector."

log = logging.getLogger(__name__)


def is_waiting(pod: Json) -> bool:
    """Whether `pod` waits for the default scheduler to bind it."""
    spec = pod["spec"]
    held = spec.get("nodeName") or spec.get("schedulingGates") or pod["metadata"].get("deletionTimestamp")
    return not held and spec.get("schedulerName", "default-scheduler") == "default-scheduler"


def is_suitable(node: Json, pod: Json, *, running: int) -> bool:
    """Whether `pod` may run on `node`, which runs so many already."""
    labels, selector = node["metadata"].get("labels") or {}, pod["spec"].get("nodeSelector") or {}
    cordoned = (node.get("spec") or {}).get("unschedulable")
    return selector.items() <= labels.items() and not cordoned and running < MAX_PODS


class ProcessNode:
    """Runs pods. Use `run` once."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._pods: dict[str, PodWorker] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._waiting: dict[str, Json] = {}  #: pods that could not be bound yet
        self._addresses = _pod_addresses(shared.cookie)

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop` is set, then stop all containers. Raises OSError, ApiError or UNREACHABLE at the start."""
        shared = self._shared
        tls, _ = load_certificate(str(shared.settings.data / "certificate.pem"))
        runner, port = await serve_logs(self.find, shared.settings.address, tls)
        try:
            await register_node(shared, port)
            log.info("node %s is ready: isolation %s, port %d", shared.settings.name, shared.level, port)
            space = f"/namespaces/{shared.settings.namespace}" if shared.settings.namespace else ""
            watching = shared.api.watch(f"/api/v1{space}/pods", self.take_list, self.take_event)
            work = (stop.wait(), watch_heartbeat(shared, port), watching, self._retry_waiting(), self._follow_sources())
            loops = [asyncio.ensure_future(each) for each in work]
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
        """All pods as they are now: what is not among them is gone, and so is what it left on the disk."""
        known = {item["metadata"]["uid"] for item in items}
        for uid in set(self._pods) - known:
            self._pods[uid].vanish()
        self._waiting.clear()
        for folder in (self._shared.settings.data / "pods").iterdir():
            if folder.name not in known and folder.name not in self._pods:
                await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
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
        """Take on a pod that is bound here, once."""
        uid = item["metadata"]["uid"]
        if uid in self._pods:
            return
        worker = PodWorker(item, self._shared, next(self._addresses))
        worker.change(item)
        self._pods[uid] = worker
        self._tasks[uid] = asyncio.create_task(self._run_pod(uid, worker))

    async def _run_pod(self, uid: str, worker: PodWorker) -> None:
        """A pod's life here, up to the removal of its object."""
        if (worker.item.get("status") or {}).get("phase") not in ("Succeeded", "Failed"):
            await worker.run()
        worker.over.set()
        await worker.deletion.wait()
        await worker.remove()
        del self._pods[uid], self._tasks[uid]

    async def _bind(self, item: Json) -> None:
        """Bind a waiting pod to this node and start it, or say in its status why not."""
        meta, api, name = item["metadata"], self._shared.api, self._shared.settings.name
        path = f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}"
        self._waiting[meta["uid"]] = item
        running = sum(not worker.over.is_set() for worker in self._pods.values())
        try:
            if not is_suitable(await api.call("GET", f"/api/v1/nodes/{name}"), item, running=running):
                condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": NO_ROOM}
                await api.call("PATCH", f"{path}/status", {"status": {"phase": "Pending", "conditions": [condition]}})
                self._shared.events.record(item, "FailedScheduling", NO_ROOM, warning=True)
                return
            target = {"apiVersion": "v1", "kind": "Node", "name": name}
            binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": meta["name"]}, "target": target}
            await api.call("POST", f"{path}/binding", binding)
        except (ApiError, *UNREACHABLE) as error:
            log.info("pod %s is not bound: %s", meta["name"], error)
            return
        self._waiting.pop(meta["uid"], None)
        self._shared.events.record(
            item, "Scheduled", f"Successfully assigned {meta['namespace']}/{meta['name']} to {name}"
        )
        self._adopt({**item, "spec": {**item["spec"], "nodeName": name}})

    async def _retry_waiting(self) -> None:
        """Look again, now and then, at pods that had no place: one may have ended, or the node been uncordoned."""
        while True:
            await asyncio.sleep(RETRY_SECONDS)
            for item in list(self._waiting.values()):
                await self._bind(item)

    async def _follow_sources(self) -> None:
        """Bring what changed in ConfigMaps and Secrets to the pods that run with them."""
        while True:
            await asyncio.sleep(FOLLOW_SECONDS)
            sources = [source for worker in self._pods.values() for source in worker.sources]
            await follow_sources(sources, self._shared.api)

    async def _shut_down(self, port: int) -> None:
        """Stop every container by its grace period, report it, and leave the Pod objects for the next start."""
        workers = list(self._pods.values())
        for worker in workers:
            worker.stop(worker.grace)
        with contextlib.suppress(ApiError, *UNREACHABLE):
            await report_node(self._shared, port, ready=False)
        if endings := [asyncio.create_task(worker.over.wait()) for worker in workers]:
            await asyncio.wait(endings, timeout=max(worker.grace for worker in workers) + STOP_MARGIN_SECONDS)
        for task in (*endings, *self._tasks.values()):
            task.cancel()


def _pod_addresses(cookie: str) -> Iterator[str]:
    """Loopback addresses, one for each pod, so that two can listen on the same port; apart by node as well."""
    net = 64 + int(cookie[:4], 16) % 128
    for number in itertools.count():
        yield f"127.{net}.{number // 250 % 250 + 1}.{number % 250 + 1}"
