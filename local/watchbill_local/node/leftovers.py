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

from watchbill_local.node.processes import COOKIE


def kill_leftovers(cookie: str, *, seconds: float = 10.0) -> int:
    """Kill every process whose mark begins with `cookie` and wait for their end; returns how many there were.

    Raises TimeoutError if one is still there after `seconds`: starting containers would not be safe.
    """
    deadline, killed = time.monotonic() + seconds, 0
    while found := _find(f"{COOKIE}={cookie}".encode()):
        killed += len(found)
        for pidfd in found:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        _await_end(found, deadline)
    return killed


def _find(mark: bytes) -> list[int]:
    """Descriptors of the processes whose environment holds `mark`, this one excepted."""
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            pidfd = os.pidfd_open(int(name))
            if _is_marked(int(name), mark):
                found.append(pidfd)
            else:
                os.close(pidfd)
    return found


def _is_marked(pid: int, mark: bytes) -> bool:
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return any(entry.startswith(mark) for entry in file.read().split(b"\0"))
    except OSError:
        return False


def _await_end(pidfds: list[int], deadline: float) -> None:
    """Wait until each process has ended, and close the descriptors."""
    poll = select.poll()
    for pidfd in pidfds:
        poll.register(pidfd, select.POLLIN)
    waiting = set(pidfds)
    while waiting:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError(f"{len(waiting)} processes of an earlier node do not end after SIGKILL")
        for pidfd, _ in poll.poll(left * 1000):
            poll.unregister(pidfd)
            os.close(pidfd)
            waiting.discard(pidfd)
