"""`watchbill stop`: stop a local system so that nothing is lost.

Owns the order: first the operator, so that nothing new begins; then, while agents finish what they do, a wait; then the
node with the agents, then the API server. Results of agents that finish while nobody listens wait in their outboxes
for the next start.
"""

from __future__ import annotations

import json
import signal
import time
from argparse import Namespace
from collections.abc import Iterator

from watchbill_cli.home import Home, default_home
from watchbill_cli.processes import Process, forget
from watchbill_cli.system import NODE, OPERATOR, SERVER, exclusive, running
from watchbill_cli.tables import Progress

STOP_SECONDS = 15.0  #: SIGTERM, then this long, then SIGKILL
POLL_SECONDS = 0.1


def run_stop(arguments: Namespace) -> int:
    """Stop everything; a second call finds nothing to do and is no error."""
    home = default_home()
    if not home.run.is_dir():
        print(f"nothing runs below {home.path}")
        return 0
    progress = Progress()
    with exclusive(home):
        alive = running(home)
        if not alive:
            print(f"nothing runs below {home.path}")
            return 0
        if OPERATOR in alive:
            progress.say("stopping the operator: nothing new begins")
            end(home, alive[OPERATOR])
        if NODE in alive:
            wait_for_agents(home, progress, arguments.drain)
            progress.say("stopping the agents")
            end(home, alive[NODE])
        if SERVER in alive:
            end(home, alive[SERVER])
        home.operator_status.unlink(missing_ok=True)
    progress.done("Stopped. The log and all results are kept; `make up` goes on from there.")
    return 0


def end(home: Home, process: Process) -> None:
    """SIGTERM, patience, SIGKILL."""
    process.send(signal.SIGTERM)
    if not process.wait(STOP_SECONDS):
        process.send(signal.SIGKILL)
        process.wait(STOP_SECONDS)
    forget(home, process.name)


def wait_for_agents(home: Home, progress: Progress, seconds: float) -> None:
    """Let running attempts end, at most that long."""
    until = time.monotonic() + seconds
    while (busy := sorted(busy_replicas(home))) and time.monotonic() < until:
        progress.say(f"waiting for {', '.join(busy)} (at most {until - time.monotonic():.0f} s)")
        time.sleep(POLL_SECONDS)


def busy_replicas(home: Home) -> Iterator[str]:
    """Replicas whose heartbeat says that something runs."""
    for path in (home.volume / "agent-workspaces").glob("*/state/heartbeat.json"):
        try:
            beat = json.loads(path.read_text())
        except (OSError, ValueError):
            continue
        if isinstance(beat, dict) and beat.get("running"):
            yield path.parts[-3]
