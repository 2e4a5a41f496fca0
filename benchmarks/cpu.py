"""Processor time by process, from /proc.

Owns the sorting of all processes of a system into named groups. A group's time is that of its living processes and of
the children that they have reaped, so what a short program cost is counted with the process that waited for it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
PID, PARENT = 0, 1  #: places in what `load_parents` is made from


def load_parents() -> dict[int, int]:
    """The parent of every process."""
    found = {}
    for path in Path("/proc").glob("[0-9]*"):
        if fields := load_stat(int(path.name)):
            found[int(path.name)] = int(fields[PARENT])
    return found


def load_stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the third on (state, parent, …); empty for a process that is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def find_descendants(root: int, parents: Mapping[int, int]) -> set[int]:
    """All processes below one."""
    found: set[int] = set()
    fresh = {root}
    while fresh:
        fresh = {pid for pid, parent in parents.items() if parent in fresh} - found
        found |= fresh
    return found


def cpu_seconds(pids: Iterable[int]) -> float:
    """User and system time so far of these processes and of the children that they have reaped."""
    total = 0
    for pid in pids:
        if fields := load_stat(pid):
            total += sum(map(int, fields[11:15]))
    return total / TICKS


def busy_seconds() -> float:
    """Processor time of the whole machine so far, the kernel's own included."""
    fields = Path("/proc/stat").read_text().partition("\n")[0].split()[1:]
    user, nice, system, _, _, irq, softirq, steal = map(int, fields[:8])
    return (user + nice + system + irq + softirq + steal) / TICKS


def is_agent(pid: int) -> bool:
    """Whether it is an agent or the guard above one."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return b"watchbill_agent" in words and b"python" in words[0].rpartition(b"/")[2]


def cpu_by_group(roots: Mapping[str, int]) -> dict[str, float]:
    """Seconds of each named process and of this one, the client; the agents apart from the node that they run below."""
    parents = load_parents()
    below = find_descendants(roots["node"], parents)
    agents = {pid for pid in below if is_agent(pid)}
    inside = agents.union(*(find_descendants(pid, parents) for pid in agents))
    seconds = {name: cpu_seconds([pid]) for name, pid in roots.items() if name != "node"}
    seconds["node"] = cpu_seconds([roots["node"], *(below - inside)])
    seconds["agents and guards"] = cpu_seconds(inside)
    own = os.times()  # what the client started (the system itself) is none of its work
    seconds["client"] = own.user + own.system
    return seconds
