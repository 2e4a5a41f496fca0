"""The background processes of a local system: started apart from the terminal, known again, stopped.

Owns the identity of a process: pid and start time (a pid alone is used again by others), kept in `run/<name>.json`.
Never signals a process whose start time differs from the one recorded, and hands no credential on.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from watchbill_cli.home import Home
from watchbill_cli.inheritance import load_environment

POLL_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Process:
    """One background process. `started` is its start time in clock ticks since boot, as the kernel tells it."""

    name: str
    pid: int
    started: int

    def is_alive(self) -> bool:
        """Whether this very process still runs."""
        return start_time(self.pid) == self.started

    def send(self, number: signal.Signals) -> None:
        """Signal it, if it is still this one."""
        if self.is_alive():
            try:
                os.kill(self.pid, number)
            except ProcessLookupError:
                return

    def wait(self, seconds: float) -> bool:
        """Wait until it is gone; False when the time is over first."""
        until = time.monotonic() + seconds
        while self.is_alive():
            if time.monotonic() > until:
                return False
            _reap(self.pid)
            time.sleep(POLL_SECONDS)
        return True


def start_time(pid: int) -> int | None:
    """Start time of a live process in clock ticks since boot; None where there is none (a zombie is none)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in ("Z", "X") else int(fields[19])


def start(home: Home, name: str, argv: Sequence[str], environment: Mapping[str, str]) -> Process:
    """Start a process of its own session; what it says goes to `logs/<name>.log` (the former one is kept as .1)."""
    log = home.logs / f"{name}.log"
    if log.exists():
        log.replace(log.with_suffix(".log.1"))
    with log.open("ab") as stream:
        child = subprocess.Popen(
            argv,
            env={**load_environment(home.kubeconfig), **environment},
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            cwd=home.path,
            start_new_session=True,
        )
    process = Process(name, child.pid, start_time(child.pid) or 0)
    temporary = home.run / f".{name}.json"
    temporary.write_text(json.dumps({"pid": process.pid, "started": process.started}))
    temporary.replace(home.run / f"{name}.json")
    child.returncode = 0  # it outlives this program: no warning when the object goes
    return process


def find(home: Home, name: str) -> Process | None:
    """The recorded process, if it still runs."""
    try:
        identity = json.loads((home.run / f"{name}.json").read_text())
        process = Process(name, int(identity["pid"]), int(identity["started"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return process if process.is_alive() else None


def forget(home: Home, name: str) -> None:
    """Remove the record of a process that is gone."""
    (home.run / f"{name}.json").unlink(missing_ok=True)


def last_words(home: Home, name: str) -> str:
    """The last line of what a process said, which tells why it ended, and where the rest is."""
    path = home.logs / f"{name}.log"
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    said = lines[-1].removeprefix(f"watchbill-{name}: ") if lines else "it said nothing"
    return f"{said} (more in {path})"


def _reap(pid: int) -> None:
    """Take the exit status of a child of ours, so that it does not stay a zombie."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return
