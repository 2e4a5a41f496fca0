"""Memory limits by control groups, where the node may make them.

Owns one group for each container with `resources.limits.memory`. Invariant: a limit is either enforced by the kernel
or not promised: `make_group` answers None where neither the first nor the second version of control groups is
writable, and the node says so in its status. Processes join the group themselves, before they become the program.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

CGROUP_ROOT = Path("/sys/fs/cgroup")


def is_enforceable() -> bool:
    """Whether this node can limit memory at all."""
    return _base() is not None


def make_group(name: str, limit: int) -> Path | None:
    """A group that holds at most `limit` bytes, or None if the machine does not let us make one."""
    base = _base()
    if base is None:
        return None
    group = base / f"watchbill-{name}"
    first = (base / "memory.limit_in_bytes").exists()
    try:
        group.mkdir(exist_ok=True)
        (group / ("memory.limit_in_bytes" if first else "memory.max")).write_text(str(limit), encoding="ascii")
        if not first:
            (group / "memory.swap.max").write_text("0", encoding="ascii")
    except OSError:
        remove_group(group)
        return None
    return group


def was_exhausted(group: Path) -> bool:
    """Whether the kernel killed a process of the group because its memory was used up."""
    for name in ("memory.oom_control", "memory.events"):
        with contextlib.suppress(OSError):
            lines = (group / name).read_text(encoding="ascii").splitlines()
            if any(line.startswith("oom_kill ") and not line.endswith(" 0") for line in lines):
                return True
    return False


def remove_group(group: Path) -> None:
    """Remove an empty group; one that is not empty or gone is left as it is."""
    with contextlib.suppress(OSError):
        group.rmdir()


def _base() -> Path | None:
    """The directory to make groups in: the memory controller's, or the unified tree with memory handed down."""
    first = CGROUP_ROOT / "memory"
    if (first / "memory.limit_in_bytes").exists():
        return first if os.access(first, os.W_OK) else None
    with contextlib.suppress(OSError):
        control = CGROUP_ROOT / "cgroup.subtree_control"
        if "memory" in control.read_text(encoding="ascii").split() and os.access(CGROUP_ROOT, os.W_OK):
            return CGROUP_ROOT
    return None
