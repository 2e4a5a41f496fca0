"""One container through its starts, restarts and end.

Owns the processes of one container of one pod. Invariant: at most one start of a container is alive at a time, and
when `run` returns none is. Refusals (an unknown image, a missing ConfigMap) are waited out and shown as the reason of
the waiting state; they never end the pod. Never writes to the API: it changes its ContainerState and tells the pod.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from watchbill_local.node.api import UNREACHABLE, ApiError, Json
from watchbill_local.node.environment import ConfigurationMissing
from watchbill_local.node.isolation import ImageUnknown, SpecRefused, rewrite_paths
from watchbill_local.node.launch import Launch, Level
from watchbill_local.node.logs import LogWriter, tail_text
from watchbill_local.node.probes import Probing, run_probes
from watchbill_local.node.processes import COOKIE, ContainerProcess, StartError, kill_leftovers
from watchbill_local.node.status import ContainerState, decide_pause, decide_restart, stamp

if TYPE_CHECKING:
    from watchbill_local.node.pods import PodWorker

REFUSED_SECONDS = (1.0, 2.0, 4.0, 8.0, 15.0)  #: pauses after the first, second, ... refusal in a row
BACKOFF_RESET_SECONDS = 600.0  #: a container that ran this long starts its back-off anew
START_ERROR_CODE = 128
REFUSALS = (ConfigurationMissing, SpecRefused, ImageUnknown, ApiError, OSError, ValueError, *UNREACHABLE)


class ContainerWorker:
    """Runs one container until it has ended for good or its pod stops."""

    def __init__(self, pod: PodWorker, state: ContainerState, home: Path) -> None:
        self.state = state
        self.home = home  #: logs and root directory
        self.is_running = asyncio.Event()
        self._pod = pod
        self._process: ContainerProcess | None = None

    async def run(self) -> bool:
        """Start, and start again by the pod's restartPolicy. True when the container has ended well for good."""
        crashes = refusals = 0
        policy = self._pod.item["spec"].get("restartPolicy", "Always")
        while self.state.exit_code is None and not self._pod.stopping.is_set():
            began = asyncio.get_running_loop().time()
            try:
                ended = await self._run_once(await self._pod.plan_launch(self.state))
            except REFUSALS as refusal:
                await self._wait_refused(refusal, refusals)
                refusals += 1
                continue
            lasted = asyncio.get_running_loop().time() - began
            crashes, refusals = 1 if lasted > BACKOFF_RESET_SECONDS else crashes + 1, 0
            again = decide_restart(policy, ended["exitCode"], is_init=self.state.is_init)
            if self._pod.deletion.is_set() or not again:
                self._show({"terminated": ended})
            else:
                await self._wait_restart(ended, crashes)
        return self.state.exit_code == 0

    def schedule_kill(self, at: float) -> None:
        """Kill what still runs at loop time `at`."""
        if self._process and not self._process.ended.done():
            self._process.kill_at(at)

    async def _run_once(self, launch: Launch) -> Json:
        """One start to its end; returns the terminated state."""
        state, started_at = self.state, stamp(datetime.now(UTC))
        state.container_id = f"process://{self._pod.item['metadata']['uid']}/{state.name}/{state.restarts}"
        writer = LogWriter(self.home, state.restarts)
        pipes = writer.open_pipe("stdout"), writer.open_pipe("stderr")
        process = self._process = self._pod.shared.launcher.start(launch, *pipes)
        reason, text = "Error", ""
        try:
            await process.started
            self.is_running.set()
            state.started = "startupProbe" not in state.spec
            state.ready = state.started and "readinessProbe" not in state.spec
            self._show({"running": {"startedAt": started_at}})
            self._pod.tell_event("Started", f"Started container {state.name}")
            code = await self._until_end(process, launch)
        except StartError as error:
            code, reason, text = START_ERROR_CODE, "StartError", str(error)
            writer.write("stderr", f"{error}\n".encode())
            self._pod.tell_event("Failed", f"Error: failed to start container {state.name}: {error}", warning=True)
            process.kill()
        await process.ended
        if process.was_lost:
            await asyncio.to_thread(kill_leftovers, launch.environment[COOKIE])
        await writer.close()
        self.is_running.clear()
        state.ready = state.started = False
        if code and state.spec.get("terminationMessagePolicy") == "FallbackToLogsOnError":
            text = text or tail_text(self.home / f"{state.restarts}.log")
        ended = {"exitCode": code, "reason": "Completed" if code == 0 else reason, "startedAt": started_at}
        ended |= {"finishedAt": stamp(datetime.now(UTC)), "containerID": state.container_id}
        return ended | ({"message": text} if text else {})

    async def _until_end(self, process: ContainerProcess, launch: Launch) -> int:
        """Probe until the end, and bring it about when the pod stops; returns the exit code."""
        probing = asyncio.create_task(self._probe(process, launch))
        stopping = asyncio.create_task(self._pod.stopping.wait())
        await asyncio.wait((process.ended, stopping), return_when=asyncio.FIRST_COMPLETED)
        for task in (probing, stopping):
            task.cancel()
        if not process.ended.done():
            self._stop(process, self._pod.stop_at)
        return await process.ended

    def _stop(self, process: ContainerProcess, at: float) -> None:
        """SIGTERM now, and SIGKILL to everything at loop time `at`."""
        process.kill_at(at)
        self._pod.tell_event("Killing", f"Stopping container {self.state.name}")
        process.signal(signal.SIGTERM)

    async def _probe(self, process: ContainerProcess, launch: Launch) -> None:
        """Keep `ready` true to the probes; a container that failed one for good is stopped, to be started anew."""

        async def execute(argv: list[str]) -> int:
            """In plain processes a probe's paths are rewritten like the program's."""
            plain = launch.level is Level.PROCESSES
            return await process.execute([rewrite_paths(word, launch.mounts) for word in argv] if plain else argv)

        probing = Probing(self.state.spec, self._pod.address, execute, self._pod.shared.probing)
        kind = await run_probes(probing, self._set_ready)
        text = f"Container {self.state.name} failed {kind} probe, will be restarted"
        self._pod.tell_event("Unhealthy", text, warning=True)
        self._stop(process, asyncio.get_running_loop().time() + self._pod.grace)

    def _set_ready(self, ready: bool) -> None:
        self.state.started, self.state.ready = True, ready
        self._pod.changed.set()

    def _show(self, state: Json) -> None:
        self.state.state = state
        self._pod.changed.set()

    def show_waiting(self, waiting: Json) -> None:
        """Show why a container that has not ended for good does not run."""
        if self.state.exit_code is None:
            self._show({"waiting": waiting})

    async def _wait_refused(self, refusal: BaseException, before: int) -> None:
        """Show why the container cannot start now, and wait a little longer each time."""
        reason = "CreateContainerConfigError"
        if isinstance(refusal, ImageUnknown):
            reason = "ImagePullBackOff" if before else "ErrImagePull"
        self._pod.tell_event("Failed", f"Error: {refusal}", warning=True)
        pause = REFUSED_SECONDS[min(before, len(REFUSED_SECONDS) - 1)]
        await self._wait({"reason": reason, "message": str(refusal)}, pause)

    async def _wait_restart(self, ended: Json, crashes: int) -> None:
        """Between two starts: the first follows at once, later ones after a doubling pause."""
        self.state.last_state = {"terminated": ended}
        self.state.restarts += 1
        pause = decide_pause(crashes, self._pod.shared.settings.backoff)
        if self._pod.stopping.is_set():
            await self._wait({"reason": "NodeShutdown", "message": "starts again with the node"}, 0.0)
        elif not pause:
            await self._wait({"reason": "ContainerCreating"}, 0.0)
        else:
            meta = self._pod.item["metadata"]
            about = f"container {self.state.name} in pod {meta['name']}_{meta['namespace']}({meta['uid']})"
            self._pod.tell_event("BackOff", f"Back-off restarting failed {about}", warning=True)
            message = f"back-off {pause:g}s restarting failed {about}"
            await self._wait({"reason": "CrashLoopBackOff", "message": message}, pause)

    async def _wait(self, waiting: Json, seconds: float) -> None:
        """Show why the container does not run, for so long, but not longer than until the pod stops."""
        self.show_waiting(waiting)
        if seconds:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._pod.stopping.wait()
