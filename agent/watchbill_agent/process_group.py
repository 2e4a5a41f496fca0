"""Processes below this one: finding them, ending them, and not outliving one's own parent.

Owns every use of prctl, process groups and /proc. Invariant: once this process is a subreaper, whatever its commands
fork, however often and into whichever session, stays below it and is found by `list_descendants`. A command's group is
signalled only while its leader is not reaped, so that a recycled number is not hit. Linux only. Does not log: the
guard imports it, and stays small.
"""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections.abc import Callable, Collection
from contextlib import suppress

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
END_SECONDS = 5.0  #: how long killed processes may take to vanish before they are given up
HAS_CHILDREN_FILES = os.path.exists("/proc/thread-self/children")
LOOK_SECONDS = 0.002  #: between two looks whether they have


def become_subreaper() -> None:
    """Let orphans below this process become its children instead of those of init. Raises OSError."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent(number: signal.Signals) -> None:
    """Ask the kernel for this signal when the parent of this process ends. Raises OSError."""
    _prctl(PR_SET_PDEATHSIG, number)


def list_children(pid: int) -> set[int]:
    """Return the direct children of a process, zombies included; none when it is gone."""
    if not HAS_CHILDREN_FILES:
        return scan_children(pid)
    children: set[int] = set()
    with suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with suppress(OSError):
                children |= _read_children(pid, int(thread))
    return children


def scan_children(pid: int) -> set[int]:
    """Return the same by looking at every process: for kernels and sandboxes without `children` files."""
    children: set[int] = set()
    for name in os.listdir("/proc"):
        if name.isdigit():
            with suppress(OSError), open(f"/proc/{name}/stat", "rb") as file:
                fields = file.read().rpartition(b")")[2].split()
                children |= {int(name)} if int(fields[1]) == pid else set()
    return children


def list_descendants(pid: int) -> set[int]:
    """Return all processes below one, without itself."""
    found: set[int] = set()
    open_ends = [pid]
    while open_ends:
        fresh = list_children(open_ends.pop()) - found
        found |= fresh
        open_ends.extend(fresh)
    return found


def kill(pids: Collection[int], number: signal.Signals) -> None:
    """Send a signal to each; those that are gone are left out."""
    for pid in pids:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def kill_group(leader: int, number: signal.Signals) -> None:
    """Send a signal to a process group whose leader was not reaped yet."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, number)


def carries(pid: int, *marks: bytes) -> bool:
    """Whether a process was started with variables in its environment that begin with each of these."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            environment = file.read().split(b"\0")
    except OSError:
        return False
    return all(any(entry.startswith(mark) for entry in environment) for mark in marks)


def find_marked(*marks: bytes) -> set[int]:
    """Return all processes of this machine (or pod) that carry these marks and that we may look into."""
    return {int(name) for name in os.listdir("/proc") if name.isdigit() and carries(int(name), *marks)}


def reap(pids: Collection[int]) -> None:
    """Collect those of our children that have ended."""
    for pid in pids:
        with suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)


def find_orphans(leaders: Collection[int]) -> set[int]:
    """Return the live children of this process that it did not start itself: those but the `leaders`."""
    orphans = _list_own_children() - set(leaders)
    if not orphans:
        return set()
    reap(orphans)
    return _list_own_children() - set(leaders)  # one that forked and ended meanwhile has left another one


def with_descendants(pids: Collection[int]) -> set[int]:
    """Return these processes and all below them."""
    return set(pids).union(*map(list_descendants, pids))


def end_all(find: Callable[[], Collection[int]]) -> Collection[int]:
    """Kill what `find` returns until it returns nothing; return what is left after END_SECONDS."""
    deadline = time.monotonic() + END_SECONDS
    while (found := find()) and time.monotonic() < deadline:
        kill(found, signal.SIGKILL)
        time.sleep(LOOK_SECONDS)
    return found


def end_all_below() -> Collection[int]:
    """Kill everything below this process; return what does not end."""
    return end_all(lambda: with_descendants(find_orphans(())))


def _list_own_children() -> set[int]:
    """Return the children of this process: its main thread starts them all, and is given the orphans."""
    me = os.getpid()
    return _read_children(me, me) if HAS_CHILDREN_FILES else scan_children(me)


def _read_children(pid: int, thread: int) -> set[int]:
    with open(f"/proc/{pid}/task/{thread}/children", "rb") as file:
        return set(map(int, file.read().split()))


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
