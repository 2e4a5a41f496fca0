"""How many one-line tasks a second the whole system does, from the first create to the last Succeeded, at what cost.

Processor time and API writes are counted until `SETTLE_SECONDS` after the last Succeeded, so that what is put off
(acknowledgements, projections, the Agent's status) is counted too. The client is a cheap one, since its cost is not
the system's: it sends prepared bodies over kept connections, and waits with one watch.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping

from benchmarks.api_counts import describe_writes, load_server_writes, parse_operator_writes
from benchmarks.bench_system import BenchSystem
from benchmarks.cpu import busy_seconds
from benchmarks.latency import Watcher
from benchmarks.sender import Sender, encode
from benchmarks.table import Figures

AGENT = "bench"
SLOTS = 8
CREATORS = 8
SETTLE_SECONDS = 2.0
SERVERS = ("API server", "etcd")


def measure_throughput(system: BenchSystem, count: int) -> Figures:
    """`count` tasks on a pool of 8 slots."""
    system.apply_agent(AGENT, role=AGENT, replicas=SLOTS // 2, tasksPerReplica=2)
    time.sleep(SETTLE_SECONDS)
    names = [f"many-{number}" for number in range(count)]
    served, sent = load_server_writes(system.api), parse_operator_writes(system.metrics())
    with Watcher(system) as watcher:
        cpu, busy = system.cpu(), busy_seconds()
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
        others = (busy_seconds() - busy - sum(spent.values())) / (time.monotonic() - began)
    sent = parse_operator_writes(system.metrics()) - sent
    figures = {
        f"tasks on {SLOTS} slots, first create to last Succeeded": f"{count / took:.0f}/s",
        "of which the creates took": f"{created:.1f} s of {took:.1f} s for {count}",
        "cores that others on this machine used meanwhile": f"{max(others, 0.0):.1f} of {os.cpu_count()}",
        "API writes of the operator a task": describe_writes(sent, count),
    }
    if served is not None and (now := load_server_writes(system.api)) is not None:
        total = now - served
        told = f"{total.total() / count:.2f}: {describe_writes(total, count)}"
        figures["API writes a task, all clients, as the server counts them"] = told
    system.remove_agent(AGENT)
    return figures | describe_cpu(spent, count)


def create_tasks(system: BenchSystem, names: list[str]) -> None:
    """Create them over `CREATORS` connections."""
    calls = []
    for name in names:
        body = system.task(name, ["echo", name])
        body["spec"] = {**body["spec"], "agentRef": AGENT}
        del body["spec"]["role"]
        calls.append(("POST", system.tasks_path, encode(body)))
    Sender(system.config).rate(calls, CREATORS)


def describe_cpu(spent: Mapping[str, float], count: int) -> Figures:
    """Processor time a task, by process."""
    cost = {name: seconds * 1000 / count for name, seconds in spent.items()}
    cost["API server and etcd"] = sum(cost.get(name, 0.0) for name in SERVERS)
    cost["all processes"] = sum(cost[name] for name in spent)
    return {f"processor time a task: {name}": f"{ms:.1f} ms" for name, ms in cost.items()}
