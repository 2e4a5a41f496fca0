"""How often the kernel ended a process of this container because its memory limit was reached.

Owns the reading of that counter, which the two versions of control groups keep in different places. Where the kernel
ends the whole container instead, nobody is left to read it: then the pod's status tells. Never raises.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

PLACES = (Path("/sys/fs/cgroup/memory.events"), Path("/sys/fs/cgroup/memory/memory.oom_control"))
COUNTER = "oom_kill"


def load_memory_kills(places: Iterable[Path] = PLACES) -> int:
    """The counter; 0 where there is none."""
    for place in places:
        with suppress(OSError, ValueError):
            counters = dict(line.split() for line in place.read_text().splitlines())
            return int(counters.get(COUNTER, 0))
    return 0
