"""One pod from binding to deletion.

Owns the pod's directory, its containers' order (init containers one by one, then the others together), and its status
in the API. Invariant: the status is a function of what the containers did, written by one task, the newest state
winning; and a Pod object that is being deleted is removed from the API only after its last process ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from watchbill_local.node.api import UNREACHABLE, ApiError, Json
from watchbill_local.node.containers import REFUSALS, ContainerWorker
from watchbill_local.node.environment import base_environment, build_environment
from watchbill_local.node.isolation import build_argv, build_identity, build_root, rewrite_launch
from watchbill_local.node.launch import Launch, Level
from watchbill_local.node.processes import COOKIE
from watchbill_local.node.settings import Shared
from watchbill_local.node.sources import Source
from watchbill_local.node.status import ContainerState, PodFacts, build_status, restore_state, stamp
from watchbill_local.node.volumes import Volume, find_foreign_file, make_subpaths, plan_mounts, prepare_volumes

RETRY_SECONDS = 1.0  #: after a request that did not reach the server, or a volume that is not there yet

log = logging.getLogger(__name__)


class PodWorker:
    """Runs one pod. `run` is its whole life; the other methods say what happened outside."""

    def __init__(self, item: Json, shared: Shared, address: str) -> None:
        spec, known = item["spec"], item.get("status") or {}
        self.item = item
        self.shared = shared
        self._path = f"/api/v1/namespaces/{item['metadata']['namespace']}/pods/{item['metadata']['name']}"
        self.address: str = known.get("podIP") or address
        self.home = shared.settings.data / "pods" / item["metadata"]["uid"]
        self.grace = float(spec.get("terminationGracePeriodSeconds", 30))
        self.stopping = asyncio.Event()
        self.stop_at = float("inf")  #: loop time at which all is killed
        self.deletion = asyncio.Event()  #: the Pod object is being deleted: remove it when all has ended
        self.over = asyncio.Event()  #: no container runs or will run
        self._gone = False  #: the Pod object is gone already
        self.changed = asyncio.Event()  #: a container's state changed: the status is due
        self._closing = False  #: the next report is the last
        self._sent: Json = known
        self._volumes: dict[str, Volume] = {}
        begun = known.get("startTime") or stamp(datetime.now(UTC))
        self._facts = PodFacts(shared.settings.address, self.address, begun)
        self.containers = []
        for kind in ("initContainer", "container"):
            reported = {status["name"]: status for status in known.get(f"{kind}Statuses") or ()}
            for container in spec.get(f"{kind}s") or ():
                state = ContainerState(container, is_init=kind == "initContainer")
                restore_state(state, reported.get(state.name), spec.get("restartPolicy", "Always"))
                self.containers.append(ContainerWorker(self, state, self.home / "containers" / state.name))

    async def run(self) -> None:
        """Live until the pod has ended or is stopped. Never raises but when cancelled."""
        reporter = asyncio.create_task(self._report())
        try:
            await self._live()
        except Exception as error:  # the outermost loop of a pod: one pod's trouble is not the node's
            log.exception("pod %s failed", self.home.name)
            self._facts = replace(self._facts, reason="NodeError", message=f"{type(error).__name__}: {error}")
        states = [container.state for container in self.containers]
        ended = all(state.exit_code is not None for state in states if not state.is_init)
        init_failed = any(state.exit_code for state in states if state.is_init)
        self._facts = replace(self._facts, finished=ended or init_failed or self.deletion.is_set())
        self._closing = True
        self.changed.set()
        await reporter

    def change(self, item: Json) -> None:
        """The Pod object changed; a deletion mark starts the end."""
        self.item = item
        specs = {c["name"]: c for key in ("initContainers", "containers") for c in item["spec"].get(key) or ()}
        for container in self.containers:
            container.state.spec = specs.get(container.state.name, container.state.spec)
        if item["metadata"].get("deletionTimestamp"):
            self.deletion.set()
            self.stop(float(item["metadata"].get("deletionGracePeriodSeconds") or 0))

    def vanish(self) -> None:
        """The Pod object is gone: everything ends now, so that a pod of the same name never runs beside this one."""
        self._gone = True
        self.deletion.set()
        self.stop(0.0)

    def stop(self, seconds: float) -> None:
        """End the containers within `seconds`; called again, the earlier end counts."""
        at = asyncio.get_running_loop().time() + seconds
        if at < self.stop_at:
            self.stop_at = at
            for container in self.containers if self.stopping.is_set() else ():
                container.schedule_kill(at)
        self.stopping.set()

    @property
    def sources(self) -> list[Source]:
        """Its volumes whose objects are to be followed."""
        return [] if self.over.is_set() else [each for each in self._volumes.values() if isinstance(each, Source)]

    async def remove(self) -> None:
        """Take the Pod object out of the API, if it is still this pod, and the pod's directory off the disk."""
        options = {"gracePeriodSeconds": 0, "preconditions": {"uid": self.item["metadata"]["uid"]}}
        while not self._gone:
            try:
                await self.shared.api.call("DELETE", self._path, options)
                break
            except (ApiError, *UNREACHABLE) as error:
                if isinstance(error, ApiError) and not error.is_passing:
                    break  # it is gone, or another pod's name by now
            await asyncio.sleep(RETRY_SECONDS)
        await asyncio.to_thread(shutil.rmtree, self.home, ignore_errors=True)

    def tell_event(self, reason: str, message: str, *, warning: bool = False) -> None:
        """Record a Kubernetes Event about this pod."""
        self.shared.events.record(self.item, reason, message, warning=warning)

    async def _live(self) -> None:
        await self._prepare()
        for container in self.containers:
            if container.state.is_init and not await container.run():
                return
        runs = [asyncio.create_task(c.run()) for c in self.containers if not c.state.is_init]
        ended, running = await asyncio.wait(runs, return_when=asyncio.FIRST_EXCEPTION)
        if running:  # an error of the node in one container ends the others before it is raised
            self.stop(0.0)
            await asyncio.wait(running)
        for run in ended:
            run.result()

    async def _prepare(self) -> None:
        """Make directory and volumes, waiting for what is not there yet, until the pod is stopped."""
        while not self.stopping.is_set():
            try:
                self.home.mkdir(parents=True, exist_ok=True)
                self._volumes = await prepare_volumes(self.item, self.home, self.shared)
                return
            except REFUSALS as refusal:
                waiting = {"reason": "ContainerCreating", "message": str(refusal)}
            for container in self.containers:
                container.show_waiting(waiting)
            self.tell_event("FailedMount", waiting["message"], warning=True)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(RETRY_SECONDS):
                    await self.stopping.wait()

    async def plan_launch(self, container: ContainerState) -> Launch:
        """The launch of one container as its spec says now. Raises one of REFUSALS."""
        settings, level, spec = self.shared.settings, self.shared.level, container.spec
        scratch = self.home / "containers" / container.name / "root"
        scratch.mkdir(parents=True, exist_ok=True)
        pod = {**self.item, "status": {"podIP": self.address, "hostIP": settings.address, "podIPs": self.address}}
        base = base_environment(pod, home=str(Path.home()) if level is Level.PROCESSES else "/")
        environment = await build_environment(spec, pod, base, self.shared.api)
        argv = build_argv(spec, settings.images, environment)
        mounts = plan_mounts(spec, self._volumes)
        make_subpaths(mounts)
        environment[COOKIE] = f"{self.shared.cookie}:{self.home.name}/{container.name}/"
        launch = Launch(argv, environment, spec.get("workingDir") or "/", level, mounts)
        if level is Level.PROCESSES:
            return rewrite_launch(launch, base, scratch)
        identity = build_identity(spec, pod)
        if level is Level.NAMESPACES and (place := find_foreign_file(mounts, identity.uid)):
            text = f"{place} is root's and user {identity.uid} cannot change it: remove it, or change its owner"
            self.tell_event("ForeignFile", text, warning=True)
        hidden = [str(path.resolve()) for path in (settings.data, settings.kubeconfig, *settings.volumes.values())]
        return replace(launch, identity=identity, root=build_root(spec, pod, scratch, hidden))

    async def _report(self) -> None:
        """Write the status whenever it changed, until the last one is written."""
        closing = False
        while not closing and not self._gone:
            await self.changed.wait()
            self.changed.clear()
            closing = self._closing
            try:
                await self._send()
            except (ApiError, *UNREACHABLE) as error:
                log.warning("status of pod %s: %s", self.item["metadata"]["name"], error)
                if isinstance(error, ApiError) and not error.is_passing:
                    continue  # 404 and 409: the Pod object is not this pod any more; the rest will not get better
                closing = False
                await asyncio.sleep(RETRY_SECONDS)
                self.changed.set()

    async def _send(self) -> None:
        states = [container.state for container in self.containers]
        status = build_status(states, self._facts, self._sent, datetime.now(UTC))
        if status != self._sent and not self._gone:
            body = {"metadata": {"uid": self.item["metadata"]["uid"]}, "status": status}
            await self.shared.api.call("PATCH", f"{self._path}/status", body)
            self._sent = status
