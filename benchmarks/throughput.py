"""How many one-line tasks a second the whole system does, from the first create to the last Succeeded, at what cost.

Processor time and API writes are counted until `SETTLE_SECONDS` after the last Succeeded, so that what is put off
(acknowledgements, projections, the Agent's status) is counted too.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from benchmarks.api_counts import describe_writes, load_server_writes, parse_operator_writes
from benchmarks.bench_system import BenchSystem
from benchmarks.latency import Watcher
from watchbill_cli.cluster import Task

SLOTS = 8
CREATORS = 4
SETTLE_SECONDS = 2.0
SERVERS = ("API server", "etcd")

Row = tuple[str, str, str]


def measure_throughput(system: BenchSystem, count: int) -> list[Row]:
    """`count` tasks on a pool of 8 slots."""
    system.apply_agent("bench", role="bench", replicas=SLOTS // 2, tasksPerReplica=2)
    time.sleep(SETTLE_SECONDS)
    watcher = Watcher(system)
    names = [f"many-{number}" for number in range(count)]
    served, sent = load_server_writes(system.api), parse_operator_writes(system.metrics())
    cpu = system.cpu()
    began = time.monotonic()
    create_tasks(system, names)
    created = time.monotonic() - began
    missing = set(names)
    while missing:
        _, obj = watcher.wait_any()
        missing.discard(obj["metadata"]["name"])
    took = time.monotonic() - began
    time.sleep(SETTLE_SECONDS)
    spent = {name: seconds - cpu[name] for name, seconds in system.cpu().items()}
    sent = parse_operator_writes(system.metrics()) - sent
    rows = [
        (f"{count} tasks on {SLOTS} slots, first create to last Succeeded", ">= 80/s", f"{count / took:.0f} tasks/s"),
        (f"of which the {count} creates took", "–", f"{created:.1f} s of {took:.1f} s"),
        ("API writes of the operator a task", "–", describe_writes(sent, count)),
    ]
    if served is not None and (now := load_server_writes(system.api)) is not None:
        total = now - served
        told = f"{total.total() / count:.2f}: {describe_writes(total, count)}"
        rows.append(("API writes a task, all clients, as the server counts them", "<= 3", told))
    system.remove_agent("bench")
    return rows + describe_cpu(spent, count)


def create_tasks(system: BenchSystem, names: list[str]) -> None:
    """Create them from `CREATORS` threads."""

    def create(share: int) -> None:
        api = system.api
        for name in names[share::CREATORS]:
            body = system.task(name, ["echo", name])
            body["spec"] = {**body["spec"], "agentRef": "bench"}
            del body["spec"]["role"]
            Task(api, body).create()

    with ThreadPoolExecutor(CREATORS) as pool:
        list(pool.map(create, range(CREATORS)))


def describe_cpu(spent: Mapping[str, float], count: int) -> list[Row]:
    """Processor time a task, by process."""
    cost = {name: seconds * 1000 / count for name, seconds in spent.items()}
    servers = sum(cost.get(name, 0.0) for name in SERVERS)
    goals = {"operator": "<= 6 ms"}
    rows = [(f"processor time a task: {name}", goals.get(name, "–"), f"{ms:.1f} ms") for name, ms in cost.items()]
    rows.append(("processor time a task: API server and etcd", "<= 12 ms", f"{servers:.1f} ms"))
    rows.append(("processor time a task: all processes", "<= 25 ms", f"{sum(cost.values()):.1f} ms"))
    return rows
