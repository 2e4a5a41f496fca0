"""What the system costs while nothing happens: processor time, API writes, memory."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable
from pathlib import Path

from benchmarks.bench_system import BenchSystem

SETTLE_SECONDS = 5.0  #: for what the measurement before this one still causes: an Agent's last status, projections
TICKS = os.sysconf("SC_CLK_TCK")
READING = re.compile(r"verb=\"(get|list|watch)\"", re.IGNORECASE)
WRITE = re.compile(r"^watchbill_api_calls_total\{(.*)\} ([0-9.e+]+)$", re.MULTILINE)


def measure_idle(system: BenchSystem, seconds: float) -> list[tuple[str, str, str]]:
    """Processor time and writes over `seconds`, memory at their end; operator and the agents of the samples."""
    time.sleep(SETTLE_SECONDS)
    agents = system.agent_processes()
    pids = [system.pid("operator"), *(pid for processes in agents for pid in processes)]
    before, writes = cpu_seconds(pids), api_writes(system)
    time.sleep(seconds)  # the measurement itself
    share = (cpu_seconds(pids) - before) / seconds
    after = api_writes(system)
    changed = {key: after[key] - writes.get(key, 0) for key in after if after[key] != writes.get(key, 0)}
    return [
        (f"idle: operator and {len(agents)} agents, share of one core", "<= 1 %", f"{share * 100:.2f} %"),
        (f"idle: API writes in {seconds:.0f} s", "the lease alone", describe(changed)),
        ("operator, resident", "<= 100 MB", f"{resident(system.pid('operator')):.0f} MB"),
        ("agent and its guard, resident (largest)", "<= 35 MB", f"{max(map(resident_sum, agents)):.0f} MB"),
    ]


def cpu_seconds(pids: Iterable[int]) -> float:
    """User and system time of these processes so far."""
    total = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


def resident_sum(pids: Iterable[int]) -> float:
    """Resident memory of several processes in MB; what they share is counted for each."""
    return sum(resident(pid) for pid in pids)


def resident(pid: int) -> float:
    """Resident memory in MB."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) / 1000 if found else 0.0


def api_writes(system: BenchSystem) -> dict[str, float]:
    """Writes of the operator so far, by the labels of its metric."""
    found = {labels: float(value) for labels, value in WRITE.findall(system.metrics())}
    return {labels: value for labels, value in found.items() if not READING.search(labels)}


def describe(changed: dict[str, float]) -> str:
    """The writes as text."""
    return "; ".join(f"{count:.0f} × {labels}" for labels, count in sorted(changed.items())) or "none"
