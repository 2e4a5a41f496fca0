"""Processes that an earlier node of the same data directory left behind.

Owns the search for them and their end. A left-over is a process whose initial environment carries this data
directory's cookie, or one container's mark, which begins with it. Invariant: when `kill_leftovers` returns, none is
alive, so no container ever runs twice. A process is signalled through a pidfd opened before its environment was read,
so a reused pid is never hit.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from pathlib import Path

from watchbill_local.node.processes import COOKIE


def kill_leftovers(cookie: str, *, seconds: float = 10.0) -> int:
    """Kill every process whose mark begins with `cookie` and wait for their end; returns how many there were.

    Raises TimeoutError if one is still there after `seconds`: starting containers would not be safe.
    """
    mark, deadline, killed = f"{COOKIE}={cookie}".encode(), time.monotonic() + seconds, 0
    while found := [pid for entry in os.listdir("/proc") if entry.isdigit() and _kill(pid := int(entry), mark)]:
        killed += len(found)
        if time.monotonic() > deadline:
            raise TimeoutError(f"processes of an earlier node do not end after SIGKILL: {found}")
    return killed


def _kill(pid: int, mark: bytes) -> bool:
    """Kill a process if its environment holds `mark`, and wait a moment for its end; whether it was one."""
    if pid == os.getpid():
        return False
    with contextlib.suppress(OSError), os.fdopen(os.pidfd_open(pid), "rb") as pidfd:
        if any(entry.startswith(mark) for entry in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")):
            signal.pidfd_send_signal(pidfd.fileno(), signal.SIGKILL)
            select.select([pidfd], [], [], 1.0)
            return True
    return False
