"""One pod from binding to deletion.

Owns the pod's directory, its containers' order (init containers one by one, then the others together), its deadline,
and its status in the API. Invariant: the status is a function of what the containers did, written by one task, the
newest state winning; and a Pod object that is being deleted is removed from the API only after its last process ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from watchbill_local.node import memory
from watchbill_local.node.api import STRATEGIC_PATCH, UNREACHABLE, ApiError, Json
from watchbill_local.node.containers import REFUSALS, ContainerWorker
from watchbill_local.node.environment import base_environment, build_environment, parse_quantity
from watchbill_local.node.isolation import build_argv, build_identity, build_root, rewrite_launch
from watchbill_local.node.launch import Launch, Level, Mount
from watchbill_local.node.processes import COOKIE
from watchbill_local.node.settings import Shared
from watchbill_local.node.status import ContainerState, PodFacts, build_status, restore_state, stamp
from watchbill_local.node.volumes import bind_claim, make_subpaths, plan_mounts, prepare_volumes

RETRY_SECONDS = 1.0  #: after a status patch that did not reach the server
VOLUME_RETRY_SECONDS = (0.5, 1.0, 2.0, 5.0)

log = logging.getLogger(__name__)


class PodWorker:
    """Runs one pod. `run` is its whole life; the other methods say what happened outside."""

    def __init__(self, item: Json, shared: Shared, address: str) -> None:
        spec, known = item["spec"], item.get("status") or {}
        self.item = item
        self.shared = shared
        self.address = known.get("podIP") or address
        self.home = shared.settings.data / "pods" / item["metadata"]["uid"]
        self.stopping = asyncio.Event()
        self.stop_at: float | None = None
        self.deletion = asyncio.Event()  #: the Pod object is being deleted: remove it when all has ended
        self.over = asyncio.Event()  #: no container runs or will run
        self._gone = False  #: the Pod object is gone already
        self._changed = asyncio.Event()
        self._closing = False  #: the next report is the last
        self._sent: Json = {}
        self._volumes: dict[str, Path] = {}
        begun = known.get("startTime") or stamp(datetime.now(UTC))
        self._facts = PodFacts(shared.settings.address, self.address, begun)
        inits = [ContainerState(c, is_init=True) for c in spec.get("initContainers") or ()]
        states = [*inits, *(ContainerState(c) for c in spec["containers"])]
        reported = {
            c["name"]: c for key in ("initContainerStatuses", "containerStatuses") for c in known.get(key) or ()
        }
        for state in states:
            restore_state(state, reported.get(state.name), spec.get("restartPolicy", "Always"))
        self.containers = [ContainerWorker(self, state, self.home / "containers" / state.name) for state in states]

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
        self._facts = replace(self._facts, finished=ended or init_failed or self.is_final)
        self._closing = True
        self.tell_change()
        await reporter

    @property
    def is_over(self) -> bool:
        """Whether no container of this pod runs or will run."""
        return self.over.is_set()

    @property
    def is_final(self) -> bool:
        """Whether containers that end now stay ended: the pod is being deleted or has failed as a whole."""
        return self.deletion.is_set() or bool(self._facts.reason)

    def change(self, item: Json) -> None:
        """The Pod object changed; a deletion mark starts the end."""
        self.item = item
        specs = {c["name"]: c for key in ("initContainers", "containers") for c in item["spec"].get(key) or ()}
        for container in self.containers:
            container.state.spec = specs.get(container.state.name, container.state.spec)
        meta = item["metadata"]
        if meta.get("deletionTimestamp"):
            self.deletion.set()
            self.stop(float(meta.get("deletionGracePeriodSeconds") or 0))

    def vanish(self) -> None:
        """The Pod object is gone: everything ends now, so that a pod of the same name never runs beside this one."""
        self._gone = True
        self.deletion.set()
        self.stop(0.0)

    def stop(self, seconds: float) -> None:
        """End the containers within `seconds`; called again, the earlier end counts."""
        at = asyncio.get_running_loop().time() + seconds
        if self.stop_at is None or at < self.stop_at:
            self.stop_at = at
            if self.stopping.is_set():
                for container in self.containers:
                    container.schedule_kill(at)
        self.stopping.set()

    async def remove(self) -> None:
        """Take the Pod object out of the API, if it is still this pod, and the pod's directory off the disk."""
        meta = self.item["metadata"]
        options = {"gracePeriodSeconds": 0, "preconditions": {"uid": meta["uid"]}}
        while not self._gone:
            try:
                await self.shared.api.delete(f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}", options)
            except ApiError:
                break
            except UNREACHABLE:
                await asyncio.sleep(RETRY_SECONDS)
            else:
                break
        await asyncio.to_thread(shutil.rmtree, self.home, ignore_errors=True)

    def tell_change(self) -> None:
        """A container's state changed: the status is due."""
        self._changed.set()

    def tell_event(self, reason: str, message: str, container: str = "", *, warning: bool = False) -> None:
        """Record a Kubernetes Event about this pod."""
        self.shared.events.record(self.item, reason, message, warning=warning, container=container)

    async def _live(self) -> None:
        if not await self._prepare():
            return
        deadline = self.item["spec"].get("activeDeadlineSeconds")
        timer = asyncio.get_running_loop().call_later(deadline, self._expire) if deadline else None
        for container in self.containers:
            if container.state.is_init and not await container.run():
                break
        else:
            await self._run_together([c for c in self.containers if not c.state.is_init])
        if timer:
            timer.cancel()

    async def _run_together(self, containers: list[ContainerWorker]) -> None:
        """Run the main containers; an error of the node in one of them ends the others before it is raised."""
        runs = [asyncio.create_task(container.run()) for container in containers]
        ended, running = await asyncio.wait(runs, return_when=asyncio.FIRST_EXCEPTION)
        if running:
            self.stop(0.0)
            await asyncio.wait(running)
        for run in ended:
            run.result()

    def _expire(self) -> None:
        text = "Pod was active on the node longer than the specified deadline"
        self._facts = replace(self._facts, reason="DeadlineExceeded", message=text)
        self.tell_event("DeadlineExceeded", text, warning=True)
        self.stop(float(self.item["spec"].get("terminationGracePeriodSeconds", 30)))

    async def _prepare(self) -> bool:
        """Make directory and volumes, waiting for what is not there yet. False if the pod was stopped meanwhile."""
        failures = 0
        while not self.stopping.is_set():
            try:
                self.home.mkdir(parents=True, exist_ok=True)
                self._volumes = await prepare_volumes(self.item, self.home, self._lookup, self._claim)
            except REFUSALS as refusal:
                self._show_waiting(str(refusal))
            else:
                return True
            pause = VOLUME_RETRY_SECONDS[min(failures, len(VOLUME_RETRY_SECONDS) - 1)]
            failures += 1
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.stopping.wait(), pause)
        return False

    def _show_waiting(self, message: str) -> None:
        for container in self.containers:
            if container.state.exit_code is None:
                container.state.state = {"waiting": {"reason": "ContainerCreating", "message": message}}
        self.tell_change()
        self.tell_event("FailedMount", message, warning=True)

    async def plan_launch(self, container: ContainerState) -> Launch:
        """The launch of one container as its spec says now. Raises one of REFUSALS."""
        settings, level = self.shared.settings, self.shared.level
        home = self.home / "containers" / container.name
        pod = {**self.item, "status": {"podIP": self.address, "hostIP": settings.address, "podIPs": self.address}}
        base = base_environment(pod, home=str(Path.home()) if level is Level.PROCESSES else "/")
        environment = await build_environment(container.spec, pod, base, self._lookup)
        argv = build_argv(container.spec, settings.images, environment)
        mounts = plan_mounts(container.spec, self._volumes, environment)
        make_subpaths(mounts)
        (home / "root").mkdir(parents=True, exist_ok=True)
        message = home / "termination-log"
        message.touch()
        message.chmod(0o666)
        message_path = container.spec.get("terminationMessagePath") or "/dev/termination-log"
        launch = Launch(
            argv=argv,
            environment=environment | {COOKIE: f"{self.shared.cookie}:{self.home.name}/{container.name}/"},
            directory=container.spec.get("workingDir") or "/",
            level=level,
            mounts=(*mounts, Mount(str(message), message_path)),
            cgroup=self._memory_group(container),
        )
        if level is Level.PROCESSES:
            return rewrite_launch(launch, home / "root")
        hidden = [str(path.resolve()) for path in (settings.data, settings.kubeconfig, *settings.volumes.values())]
        root = build_root(container.spec, pod, home / "root", hidden)
        root = replace(root, readable=(*root.readable, *map(str, settings.readable)))
        return replace(launch, identity=build_identity(container.spec, pod), root=root)

    def _memory_group(self, container: ContainerState) -> str:
        limit = ((container.spec.get("resources") or {}).get("limits") or {}).get("memory")
        if not limit:
            return ""
        group = memory.make_group(f"{self.home.name}-{container.name}", int(parse_quantity(limit)))
        return str(group / "cgroup.procs") if group else ""

    async def _lookup(self, kind: str, name: str) -> Json | None:
        return await self.shared.api.find(f"/api/v1/namespaces/{self.item['metadata']['namespace']}/{kind}/{name}")

    async def _claim(self, name: str) -> Path | None:
        return await bind_claim(self.shared.api, self.shared.settings, self.item["metadata"]["namespace"], name)

    def status(self) -> Json:
        """The pod's status as of now."""
        states = [container.state for container in self.containers]
        return build_status(states, self._facts, self._sent or self.item.get("status") or {}, datetime.now(UTC))

    async def _report(self) -> None:
        """Write the status whenever it changed, until the last one is written."""
        closing = False
        while not closing:
            await self._changed.wait()
            self._changed.clear()
            closing = self._closing
            await self._send_until_taken()

    async def _send_until_taken(self) -> None:
        """Write the status; if the server cannot be reached, again and again unless the node is about to stop."""
        while not self._gone:
            try:
                await self._send()
                return
            except (ApiError, *UNREACHABLE) as error:
                log.warning("status of pod %s: %s", self.item["metadata"]["name"], error)
                if isinstance(error, ApiError) and error.code < 500:
                    return  # 404 and 409: the Pod object is not this pod any more; the rest will not get better
            await asyncio.sleep(RETRY_SECONDS)

    async def _send(self) -> None:
        status = self.status()
        if status == self._sent:
            return
        meta = self.item["metadata"]
        body = {"metadata": {"uid": meta["uid"]}, "status": status}
        path = f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}/status"
        await self.shared.api.patch(path, body, kind=STRATEGIC_PATCH)
        self._sent = status
