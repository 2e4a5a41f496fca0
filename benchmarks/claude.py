"""What an agent costs that runs Claude Code: time until a session's program is started, and memory.

Measured on a real agent process with the real Claude Code, which talks to the scripted model; the measurement plays the
operator. Needs the extra `claude`.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.idle import resident
from benchmarks.percentiles import percentile
from benchmarks.table import Figures
from support.agent_process import AgentProcess
from support.waiting import wait_for
from watchbill_agent import process_group
from watchbill_coordination.core.messages import Finished

LOOK_SECONDS = 0.0005
QUIET_SECONDS = 3.0  #: after a session: what it used is given back by then
SESSIONS = 15


def measure_claude(folder: Path) -> Figures:
    """Run sessions one after the other; `folder` is empty."""
    with running_model(folder / "model") as address, AgentProcess(folder / "volume", _build(address)) as agent:
        before = _resident(agent)
        first = time_start(agent)
        later = [time_start(agent) for _ in range(SESSIONS)]
        time.sleep(QUIET_SECONDS)  # the measurement is of an idle agent
        return {
            "Claude agent before its first session, resident": before,
            "Claude agent idle after sessions, resident": _resident(agent),
            "assignment → Claude Code started, first session": f"{first:.2f} s",
            "assignment → Claude Code started, later sessions": (
                f"p50 {percentile(later, 0.5) * 1e3:.1f} ms, p90 {percentile(later, 0.9) * 1e3:.1f} ms"
            ),
        }


def time_start(agent: AgentProcess) -> float:
    """Run one task to its end; return the seconds from its assignment until Claude Code runs."""
    task, pid = str(uuid.uuid4()), agent.agent_pid
    began = time.monotonic()
    agent.assign(task, prompt="Hello.")
    wait_for(lambda: process_group.list_children(pid), "a start of Claude Code", every=LOOK_SECONDS)
    started = time.monotonic() - began
    agent.expect(Finished, lambda message: message.task == task)
    return started


@contextmanager
def running_model(data: Path) -> Iterator[str]:
    """Start the scripted model; yields its base URL."""
    process = subprocess.Popen(
        [sys.executable, "-m", "watchbill_local.model", "--data", str(data)], stderr=subprocess.DEVNULL
    )
    try:
        yield wait_for(lambda: _read(data / "address"), "the model")
    finally:
        process.terminate()
        process.wait(15)


def _read(path: Path) -> str:
    return path.read_text().strip() if path.exists() else ""


def _build(model: str) -> dict[str, str]:
    settings = {"model": "claude-sonnet-5-5", "broker": False, "baseURL": model}
    return {
        "ANTHROPIC_API_KEY": "of-no-use-here",
        "WATCHBILL_ROLE": "green",
        "WATCHBILL_RUNNER": "claude",
        "WATCHBILL_CLAUDE": json.dumps(settings),
        "WATCHBILL_LOG_LEVEL": "WARNING",
    }


def _resident(agent: AgentProcess) -> str:
    assert agent.process is not None
    guard, process = resident(agent.process.pid), resident(agent.agent_pid)
    return f"{guard + process:.0f} MB (the guard's {guard:.0f} among them)"
