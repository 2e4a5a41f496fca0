"""What the system costs while nothing happens: processor time, API writes, memory."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from pathlib import Path

from benchmarks.api_counts import parse_operator_writes
from benchmarks.bench_system import BenchSystem
from benchmarks.cpu import cpu_seconds
from benchmarks.table import Figures

SETTLE_SECONDS = 5.0  #: for what the measurement before this one still causes: an Agent's last status, projections


def measure_idle(system: BenchSystem, seconds: float) -> Figures:
    """Processor time and writes over `seconds`, memory at their end; operator and the agents of the samples."""
    time.sleep(SETTLE_SECONDS)
    agents = system.agent_processes()
    pids = [system.pid("operator"), *(pid for processes in agents for pid in processes)]
    before, writes = cpu_seconds(pids), parse_operator_writes(system.metrics())
    time.sleep(seconds)  # the measurement itself
    share = (cpu_seconds(pids) - before) / seconds
    changed = parse_operator_writes(system.metrics()) - writes
    told = ", ".join(f"{number} {kind}" for kind, number in changed.items()) or "none"
    return {
        "idle: operator and agents, share of one core": f"{share * 100:.2f} % with {len(agents)} agents",
        f"idle: writes of the operator in {seconds:.0f} s": told,
        "operator, resident": f"{resident(system.pid('operator')):.0f} MB",
        "agent and its guard, resident (largest)": f"{max(map(resident_sum, agents)):.0f} MB",
    }


def resident_sum(pids: Iterable[int]) -> float:
    """Resident memory of several processes in MB; what they share is counted for each."""
    return sum(resident(pid) for pid in pids)


def resident(pid: int) -> float:
    """Resident memory in MB."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) / 1000 if found else 0.0
