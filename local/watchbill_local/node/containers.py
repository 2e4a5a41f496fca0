"""One container through its starts, restarts and end.

Owns the processes of one container of one pod. Invariant: at most one start of a container is alive at a time, and
when `run` returns none is. Refusals (an unknown image, a missing ConfigMap) are waited out and shown as the reason of
the waiting state; they never end the pod. Never writes to the API: it changes its ContainerState and tells the pod.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from watchbill_local.node import memory
from watchbill_local.node.api import UNREACHABLE, ApiError, Json
from watchbill_local.node.environment import ConfigurationMissing
from watchbill_local.node.isolation import ImageUnknown, SpecRefused, rewrite_paths
from watchbill_local.node.launch import Launch, Level
from watchbill_local.node.leftovers import kill_leftovers
from watchbill_local.node.logs import LogWriter, pump_output, tail_text
from watchbill_local.node.probes import ask_once, watch_liveness, watch_readiness, watch_startup
from watchbill_local.node.processes import COOKIE, KILLED, ContainerProcess, StartError
from watchbill_local.node.status import ContainerState, decide_restart, stamp

if TYPE_CHECKING:
    from watchbill_local.node.pods import PodWorker

MAX_BACKOFF_SECONDS = 300.0
MAX_REFUSED_SECONDS = 15.0
BACKOFF_RESET_SECONDS = 600.0  #: a container that ran this long starts its back-off anew
OUTPUT_SECONDS = 5.0  #: how long a pipe may stay open after the container's end, held by a stranger
MESSAGE_BYTES = 4096  #: of a termination message
START_ERROR_CODE = 128
REFUSALS = (ConfigurationMissing, SpecRefused, ImageUnknown, ApiError, OSError, ValueError, *UNREACHABLE)


class ContainerWorker:
    """Runs one container until it has ended for good or its pod stops."""

    def __init__(self, pod: PodWorker, state: ContainerState, home: Path) -> None:
        self.state = state
        self.home = home  #: logs, termination message and root directory
        self.is_running = asyncio.Event()
        self._pod = pod
        self._backoff = 0.0
        self._crashes = 0  #: since the back-off began
        self._launch: Launch | None = None
        self._process: ContainerProcess | None = None
        self._killer: asyncio.TimerHandle | None = None
        self._tasks: list[asyncio.Task[Any]] = []

    async def run(self) -> bool:
        """Start, and start again by the pod's restartPolicy. True when the container has ended well for good."""
        policy = self._pod.item["spec"].get("restartPolicy", "Always")
        while self.state.exit_code is None and not self._pod.stopping.is_set():
            began = asyncio.get_running_loop().time()
            try:
                ended = await self._run_once(await self._pod.plan_launch(self.state))
            except REFUSALS as refusal:
                await self._wait_refused(refusal)
                continue
            if asyncio.get_running_loop().time() - began > BACKOFF_RESET_SECONDS:
                self._backoff, self._crashes = 0.0, 0
            again = decide_restart(policy, ended["exitCode"], is_init=self.state.is_init)
            if self._pod.is_final or not again:
                self._show({"terminated": ended})
                break
            await self._wait_restart(ended)
        return self.state.exit_code == 0

    def schedule_kill(self, at: float) -> None:
        """Kill what still runs at loop time `at`."""
        if self._killer:
            self._killer.cancel()
        if self._process:
            self._killer = asyncio.get_running_loop().call_at(at, self._process.kill)

    async def _run_once(self, launch: Launch) -> Json:
        """One start to its end; returns the terminated state."""
        state, started_at = self.state, stamp(datetime.now(UTC))
        state.container_id = f"process://{self._pod.item['metadata']['uid']}/{state.name}/{state.restarts}"
        state.started = state.ready = False
        message = self.home / "termination-log"
        with contextlib.suppress(FileNotFoundError):
            os.truncate(message, 0)
        writer = LogWriter(self.home, state.restarts)
        process, pumps = self._start(launch, writer)
        reason, text = "Error", ""
        try:
            await process.started
        except StartError as error:
            code, reason, text = START_ERROR_CODE, "StartError", str(error)
            writer.write("stderr", f"{error}\n".encode())
            self._pod.tell_event(
                "Failed", f"Error: failed to start container {state.name}: {error}", state.name, warning=True
            )
            process.kill()
        else:
            self._show_running(started_at)
            self._spawn(self._probe(process))
            code = await self._until_end(process)
        await process.ended
        if process.was_lost:
            await asyncio.to_thread(kill_leftovers, launch.environment[COOKIE])
        _, open_pumps = await asyncio.wait(pumps, timeout=OUTPUT_SECONDS)
        for pump in open_pumps:
            pump.cancel()
        writer.close()
        self._forget()
        if launch.cgroup:
            group = Path(launch.cgroup).parent
            reason = "OOMKilled" if memory.was_exhausted(group) and code else reason
            memory.remove_group(group)
        text = text or self._termination_message(code)
        ended = {"exitCode": code, "reason": "Completed" if code == 0 else reason, "startedAt": started_at}
        ended |= {"finishedAt": stamp(datetime.now(UTC)), "containerID": state.container_id}
        return ended | ({"message": text} if text else {})

    def _start(self, launch: Launch, writer: LogWriter) -> tuple[ContainerProcess, list[asyncio.Task[None]]]:
        (out_read, out_write), (error_read, error_write) = os.pipe(), os.pipe()
        try:
            self._launch = launch
            self._process = self._pod.shared.launcher.start(launch, out_write, error_write)
        finally:
            os.close(out_write)
            os.close(error_write)
        pipes = ((out_read, "stdout"), (error_read, "stderr"))
        return self._process, [asyncio.create_task(pump_output(fd, stream, writer)) for fd, stream in pipes]

    async def _until_end(self, process: ContainerProcess) -> int:
        """Wait for the end, and bring it about when the pod stops; returns the exit code."""
        stopping = asyncio.create_task(self._pod.stopping.wait())
        await asyncio.wait((process.ended, stopping), return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not process.ended.done():
            self._cancel_tasks()
            await self._stop(process, self._pod.stop_at or 0.0)
        return await process.ended

    async def _stop(self, process: ContainerProcess, at: float) -> None:
        """preStop hook, SIGTERM, and SIGKILL to everything at loop time `at`."""
        self.schedule_kill(at)
        self._pod.tell_event("Killing", f"Stopping container {self.state.name}", self.state.name)
        hook = ((self.state.spec.get("lifecycle") or {}).get("preStop") or {}).get("exec")
        if hook:
            await self._execute(hook["command"])  # ends with the container at the latest
        process.signal(signal.SIGTERM)

    async def _probe(self, process: ContainerProcess) -> None:
        spec = self.state.spec
        if "startupProbe" in spec and not await watch_startup(spec["startupProbe"], self._ask):
            await self._restart_unhealthy(process, "startup")
            return
        self.state.started = True
        if "readinessProbe" in spec:
            self._spawn(watch_readiness(spec["readinessProbe"], self._ask, self._set_ready))
        else:
            self.state.ready = True
        self._pod.tell_change()
        if "livenessProbe" in spec:
            await watch_liveness(spec["livenessProbe"], self._ask)
            await self._restart_unhealthy(process, "liveness")

    async def _ask(self, probe: Json) -> bool:
        return await ask_once(probe, self.state.spec, self._pod.address, self._execute, self._pod.shared.probing)

    async def _execute(self, argv: list[str]) -> int:
        """Run a probe's or a hook's command inside; in plain processes its paths are rewritten like the program's."""
        if self._process is None or self._launch is None:
            return KILLED
        if self._launch.level is Level.PROCESSES:
            argv = [rewrite_paths(word, self._launch.mounts) for word in argv]
        return await self._process.execute(argv)

    async def _restart_unhealthy(self, process: ContainerProcess, kind: str) -> None:
        text = f"Container {self.state.name} failed {kind} probe, will be restarted"
        self._pod.tell_event("Unhealthy", text, self.state.name, warning=True)
        grace = self._pod.item["spec"].get("terminationGracePeriodSeconds", 30)
        await self._stop(process, asyncio.get_running_loop().time() + grace)

    def _set_ready(self, ready: bool) -> None:
        self.state.ready = ready
        self._pod.tell_change()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.append(asyncio.create_task(work))

    def _cancel_tasks(self) -> None:
        for task in self._tasks:
            task.cancel()
        self._tasks.clear()

    def _forget(self) -> None:
        """The container has ended: no probe, no timer, no process any more."""
        self._cancel_tasks()
        if self._killer:
            self._killer.cancel()
        self.is_running.clear()
        self._process = self._killer = None
        self.state.ready = self.state.started = False

    def _show(self, state: Json) -> None:
        self.state.state = state
        self._pod.tell_change()

    def _show_running(self, started_at: str) -> None:
        self.is_running.set()
        self.state.started = "startupProbe" not in self.state.spec
        self.state.ready = self.state.started and "readinessProbe" not in self.state.spec
        self._show({"running": {"startedAt": started_at}})
        self._pod.tell_event("Started", f"Started container {self.state.name}", self.state.name)

    def _termination_message(self, code: int) -> str:
        with contextlib.suppress(OSError), (self.home / "termination-log").open("rb") as file:
            if text := file.read(MESSAGE_BYTES).decode(errors="replace"):
                return text
        if code and self.state.spec.get("terminationMessagePolicy") == "FallbackToLogsOnError":
            return tail_text(self.home / f"{self.state.restarts}.log")
        return ""

    async def _wait_refused(self, refusal: BaseException) -> None:
        """Show why the container cannot start now, and wait a little longer each time."""
        reason = "CreateContainerConfigError"
        if isinstance(refusal, ImageUnknown):
            reason = "ImagePullBackOff" if self._backoff else "ErrImagePull"
        self._backoff = min(max(self._backoff * 2, 1.0), MAX_REFUSED_SECONDS)
        self._show({"waiting": {"reason": reason, "message": str(refusal)}})
        self._pod.tell_event("Failed", f"Error: {refusal}", self.state.name, warning=True)
        await self._pause(self._backoff)

    async def _wait_restart(self, ended: Json) -> None:
        """Between two starts: the first follows at once, later ones after a doubling pause."""
        state = self.state
        state.last_state = {"terminated": ended}
        state.restarts += 1
        self._crashes += 1
        if self._pod.stopping.is_set():
            self._show({"waiting": {"reason": "NodeShutdown", "message": "starts again with the node"}})
            return
        if self._crashes == 1:
            self._show({"waiting": {"reason": "ContainerCreating"}})
            return
        self._backoff = min(self._backoff * 2 or self._pod.shared.settings.backoff, MAX_BACKOFF_SECONDS)
        meta = self._pod.item["metadata"]
        about = f"container {state.name} in pod {meta['name']}_{meta['namespace']}({meta['uid']})"
        waiting = {"reason": "CrashLoopBackOff", "message": f"back-off {self._backoff:g}s restarting failed {about}"}
        self._show({"waiting": waiting})
        self._pod.tell_event("BackOff", f"Back-off restarting failed {about}", state.name, warning=True)
        await self._pause(self._backoff)

    async def _pause(self, seconds: float) -> None:
        """Wait, but not longer than until the pod stops."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._pod.stopping.wait(), seconds)
