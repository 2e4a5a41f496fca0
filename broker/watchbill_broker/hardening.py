"""What the broker does to itself before it reads a credential.

Owns core dumps, ptrace and the umask. Invariant: after `apply_hardening` the kernel writes no core of this process,
and no other process of the same user, root's capabilities aside, can read its memory, environment or open files by
/proc or attach to it. Never opens a file.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_NO_NEW_PRIVS = 38


def apply_hardening() -> None:
    """Forbid cores, ptrace and new privileges, set the umask, end with the parent. Raises OSError."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _prctl(PR_SET_DUMPABLE, 0)
    _prctl(PR_SET_NO_NEW_PRIVS, 1)
    _prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    os.umask(0o022)  # the operator, another user, reads the ledger


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl({option}): {os.strerror(number)}")
