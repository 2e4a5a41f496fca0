"""How many one-line tasks a second the whole system does, from the first create to the last Succeeded."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

from benchmarks.bench_system import BenchSystem
from benchmarks.latency import Watcher
from watchbill_cli.cluster import Task

SLOTS = 8
CREATORS = 4


def measure_throughput(system: BenchSystem, count: int) -> list[tuple[str, str, str]]:
    """`count` tasks on a pool of 8 slots."""
    system.apply_agent("bench", role="bench", replicas=SLOTS // 2, tasksPerReplica=2)
    watcher = Watcher(system)
    names = [f"many-{number}" for number in range(count)]
    began = time.monotonic()

    def create(share: int) -> None:
        api = system.api
        for name in names[share::CREATORS]:
            body = system.task(name, ["echo", name])
            body["spec"] = {**body["spec"], "agentRef": "bench"}
            del body["spec"]["role"]
            Task(api, body).create()

    with ThreadPoolExecutor(CREATORS) as pool:
        list(pool.map(create, range(CREATORS)))
    created = time.monotonic() - began
    missing = set(names)
    while missing:
        _, obj = watcher.wait_any()
        missing.discard(obj["metadata"]["name"])
    took = time.monotonic() - began
    system.remove_agent("bench")
    return [
        (
            f"{count} tasks on {SLOTS} slots, first create to last Succeeded",
            ">= 100 tasks/s",
            f"{count / took:.0f} tasks/s",
        ),
        (f"of which the {count} creates took", "–", f"{created:.1f} s of {took:.1f} s"),
    ]
