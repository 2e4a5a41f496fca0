"""`watchbill stop`: stop a local system so that nothing is lost.

Owns the order: first the operator, so that nothing new begins; then, while agents finish what they do, a wait; then the
node with the agents, then the scripted model and the API server. Results of agents that finish while nobody listens
wait in their outboxes for the next start.
"""

from __future__ import annotations

import signal
import time
from argparse import Namespace

from watchbill_cli.home import Home, default_home
from watchbill_cli.processes import Process, forget
from watchbill_cli.system import MODEL, NODE, OPERATOR, SERVER, exclusive, running
from watchbill_cli.tables import Progress
from watchbill_coordination.core.evolve import fold
from watchbill_coordination.core.messages import Finished
from watchbill_coordination.core.specs import ReplicaName, TaskUid
from watchbill_coordination.storage.faults import StorageFault
from watchbill_coordination.storage.layout import Layout
from watchbill_coordination.storage.mailbox import OutboxReader, Received
from watchbill_coordination.storage.reading import read_log

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
        for last in (MODEL, SERVER):
            if last in alive:
                end(home, alive[last])
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
    """Let running attempts end, at most that long: their last word lies in the outbox then."""
    until = time.monotonic() + seconds
    try:
        running = load_attempts(home)
    except (StorageFault, OSError):
        return  # nobody can tell; the next start does
    while (busy := sorted(attempt for attempt in running if not has_ended(home, attempt))) and time.monotonic() < until:
        names = ", ".join(sorted({replica for replica, _, _ in busy}))
        progress.say(f"waiting for {names} (at most {until - time.monotonic():.0f} s)")
        time.sleep(POLL_SECONDS)


def load_attempts(home: Home) -> list[tuple[ReplicaName, TaskUid, int]]:
    """The attempts that the log knows as running: replica, task, attempt. Raises LogCorrupt, OSError."""
    state = fold(read_log(Layout(home.volume)))
    replicas = state.replicas.values()
    return [(r.name, attempt.task, attempt.attempt) for r in replicas for attempt in r.attempts.values()]


def has_ended(home: Home, running: tuple[ReplicaName, TaskUid, int]) -> bool:
    """Whether the agent has said that this attempt ended; nobody has read it yet."""
    replica, task, attempt = running
    messages = [
        message
        for received in OutboxReader(Layout(home.volume), replica).poll()
        if isinstance(received, Received)
        for message in received.messages
    ]
    return any(isinstance(m, Finished) and (m.task, m.attempt) == (task, attempt) for m in messages)
