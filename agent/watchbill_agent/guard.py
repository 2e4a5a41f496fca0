"""The process above the agent: it sees to it that nothing outlives the agent.

Owns the split into two processes. The upper one, the guard, does nothing but wait; when the agent ends, however that
comes about, what it leaves behind becomes the guard's and is killed before the guard exits with the agent's exit code.
When the guard itself is killed, the kernel tells the agent (SIGHUP), which then ends all that it runs. In a pod
the guard is process 1 and reaps orphans as an init would. Runs before threads and event loops exist, since it forks.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from types import FrameType

from watchbill_agent import process_group

PARENT_GONE = signal.SIGHUP
FORWARDED = (signal.SIGTERM, signal.SIGINT)


def run_guarded(agent: Callable[[], int]) -> int:
    """Run `agent` in a child process and return its exit code (128 + signal if one ended it), nothing left behind."""
    guard = os.getpid()
    process_group.become_subreaper()
    child = os.fork()
    if child == 0:
        process_group.become_subreaper()
        process_group.die_with_parent(PARENT_GONE)
        return agent() if os.getppid() == guard else 128 + PARENT_GONE

    def forward(number: int, _: FrameType | None) -> None:
        with suppress(ProcessLookupError):
            os.kill(child, number)

    for number in FORWARDED:
        signal.signal(number, forward)
    code = _wait_for(child)
    process_group.end_all_below()
    return code


def _wait_for(child: int) -> int:
    """Reap whatever ends until the agent does; return its exit code."""
    while True:
        pid, status = os.waitpid(-1, 0)
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code
