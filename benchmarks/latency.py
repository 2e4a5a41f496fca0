"""How long one task takes on an idle system with warm agents, one at a time."""

from __future__ import annotations

import http.client
import queue
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from benchmarks.bench_system import BenchSystem
from benchmarks.percentiles import milliseconds
from benchmarks.sender import Sender
from benchmarks.table import Figures
from watchbill_cli.cluster import Task

ENDED = ("Succeeded", "Failed", "Cancelled")


class Watcher:
    """A watch in a thread of its own; remembers when it saw each Task end, on the wall clock. Close it after use."""

    def __init__(self, system: BenchSystem) -> None:
        self._seen: queue.Queue[tuple[float, Mapping[str, Any]]] = queue.Queue()
        self._listed = threading.Event()
        self._sender = Sender(system.config)
        self._thread = threading.Thread(target=self._run, args=(system.tasks_path,), daemon=True)
        self._thread.start()
        self._listed.wait(60)

    def __enter__(self) -> Watcher:
        return self

    def __exit__(self, *_: object) -> None:
        """End the watch: one that nobody reads would cost server and client their share in the next measurement."""
        self._sender.close()
        self._thread.join()

    def wait(self, name: str) -> tuple[float, Mapping[str, Any]]:
        """When that Task was seen to have ended (seconds since the Unix epoch), and the object."""
        while True:
            at, obj = self._seen.get(timeout=60)
            if obj["metadata"]["name"] == name:
                return at, obj

    def wait_any(self) -> tuple[float, Mapping[str, Any]]:
        """The next Task that was seen to have ended, and when."""
        return self._seen.get(timeout=60)

    def _run(self, path: str) -> None:
        with suppress(OSError, http.client.HTTPException):  # closed
            for kind, obj in self._sender.watch(path, self._listed.set):
                if kind == "ERROR":
                    raise RuntimeError(f"the watch failed: {obj}")
                if kind == "MODIFIED" and (obj.get("status") or {}).get("phase") in ENDED:
                    self._seen.put((time.time(), obj))


def measure_first_instruction(system: BenchSystem, repeats: int) -> Figures:
    """From the create call's return to the command's first instruction: `date` prints its time."""
    durations = []
    with Watcher(system) as watcher:
        api = system.api
        for number in range(repeats):
            name = f"first-{number}"
            Task(api, system.task(name, ["date", "+%s%N"])).create()
            created = time.time()
            _, obj = watcher.wait(name)
            durations.append(int(obj["status"]["result"]) / 1e9 - created)
    return {"create returned → first instruction of the command": milliseconds(durations)}


def measure_succeeded(system: BenchSystem, repeats: int) -> Figures:
    """From the create call's return to Succeeded seen by a watch, for `true`."""
    durations = []
    with Watcher(system) as watcher:
        api = system.api
        for number in range(repeats):
            name = f"true-{number}"
            Task(api, system.task(name, ["true"])).create()
            created = time.time()
            at, _ = watcher.wait(name)
            durations.append(at - created)
    return {"create returned → Succeeded seen by watch, `true`": milliseconds(durations)}
