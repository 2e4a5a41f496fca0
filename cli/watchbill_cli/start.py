"""`watchbill start`: bring a local system up, run the quickstart on real input, say what to type next.

Owns what a user sees while that happens. The work is done by the system that it starts; this only asks and shows.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
import time
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from watchbill_cli import quickstart
from watchbill_cli.archive import pack
from watchbill_cli.cluster import Cluster
from watchbill_cli.context import put_archive
from watchbill_cli.home import Home, Refused, data_file, default_home
from watchbill_cli.kubectl import run_kubectl
from watchbill_cli.processes import last_words
from watchbill_cli.system import NODE, OPERATOR, exclusive, running, start_system
from watchbill_cli.tables import Progress, render_table, task_row
from watchbill_coordination.core.evolve import fold
from watchbill_coordination.core.specs import ReplicaName
from watchbill_coordination.storage.layout import HEARTBEAT, Layout
from watchbill_coordination.storage.reading import read_log

READY_SECONDS = 60.0
STALLED_SECONDS = 120.0  #: without a running Task and without a change
POLL_SECONDS = 0.1
HEARTBEAT_SECONDS = 15.0  #: an agent that lives beats more often
ENDED = ("Succeeded", "Failed", "Cancelled")


def run_start(arguments: Namespace) -> int:
    """Start, run the quickstart if one is asked for, and print the table. Exit code 1 if one of its Tasks failed."""
    home = default_home()
    home.make()
    source = pack(Path(arguments.quickstart)) if arguments.quickstart else None
    progress = Progress()
    began = time.monotonic()
    fresh = time.time() if NODE not in running(home) else time.time() - HEARTBEAT_SECONDS
    with exclusive(home):
        cluster = start_system(home, progress, kubeconfig=arguments.kubeconfig, port=arguments.port)
        run_kubectl(home.kubeconfig, ["apply", "-f", str(data_file("samples/agents.yaml"))])
    wait_until_ready(home, cluster, progress, fresh)
    progress.done(f"Agents ready after {time.monotonic() - began:.1f} s.")
    if source is None:
        print(next_steps(home))
        return 0
    programs = pack(data_file("samples/quickstart"))
    put_archive(cluster, programs)
    put_archive(cluster, source)
    tasks = quickstart.build_tasks(source, programs)
    body = {"apiVersion": "v1", "kind": "List", "items": tasks}
    run_kubectl(home.kubeconfig, ["apply", "-f", "-"], stdin=json.dumps(body))
    ended = wait_until_ended(cluster, progress, quickstart.suffix(source, programs))
    print(f"{source.files} files of {Path(arguments.quickstart).resolve()}\n")
    seconds = run_times(home)
    print(render_table(("TASK", "PHASE", "AGENT", "SECONDS", "RESULT"), [task_row(task, seconds) for task in ended]))
    print("\n" + next_steps(home))
    return 0 if all(task["status"]["phase"] == "Succeeded" for task in ended) else 1


def run_kubeconfig(arguments: Namespace) -> int:
    """Print the path of the kubeconfig."""
    home = default_home()
    if not home.kubeconfig.exists():
        known = "the system in {} is stopped" if home.run.is_dir() else "no system was started in {}"
        raise Refused(f"{known.format(home.path)}: `make up` starts it")
    print(home.kubeconfig)
    return 0


def wait_until_ready(home: Home, cluster: Cluster, progress: Progress, fresh: float) -> None:
    """Wait until every Agent has the replicas that it wants, and each of them lives.

    A status may still tell of agents of before, so their heartbeats must be newer than `fresh` (seconds since the Unix
    epoch). Raises Refused with the Agents' own words when that takes too long.
    """
    until = time.monotonic() + READY_SECONDS
    while True:
        agents = cluster.agents()
        lacking = [agent for agent in agents if not (is_ready(agent) and is_alive(home, agent, fresh))]
        if agents and not lacking:
            return
        for name in {OPERATOR, NODE} - set(running(home)):
            raise Refused(f"the {name} stopped: {last_words(home, name)}")
        if time.monotonic() > until:
            raise Refused("not all agents are ready: " + "; ".join(describe(agent) for agent in lacking))
        progress.say("waiting for agents: " + ", ".join(describe(agent) for agent in agents))
        time.sleep(POLL_SECONDS)


def is_alive(home: Home, agent: Mapping[str, Any], fresh: float) -> bool:
    """Whether all ready replicas wrote a heartbeat since then. What is in it does not matter here."""
    layout = Layout(home.volume)
    name = agent["metadata"]["name"]
    ready = int((agent.get("status") or {}).get("readyReplicas", 0))
    beats = (layout.workspace(ReplicaName(f"{name}-{n}")) / "state" / HEARTBEAT for n in range(ready))
    return all(os.path.lexists(beat) and beat.lstat().st_mtime >= fresh for beat in beats)  # a link is not followed


def is_ready(agent: Mapping[str, Any]) -> bool:
    """Whether the status speaks of this spec and all replicas that it wants take tasks."""
    status = agent.get("status") or {}
    current = status.get("observedGeneration", 0) >= agent["metadata"].get("generation", 1)
    conditions = {item["type"]: item["status"] for item in status.get("conditions") or ()}
    return current and conditions.get("Ready") == "True"


def describe(agent: Mapping[str, Any]) -> str:
    """`blue 1/2 (reason)`."""
    status = agent.get("status") or {}
    said = [item["message"] for item in status.get("conditions") or () if item["type"] == "Ready"]
    text = f"{agent['metadata']['name']} {status.get('readyReplicas', 0)}/{agent['spec'].get('replicas', 1)}"
    return f"{text} ({said[0]})" if said and not is_ready(agent) else text


def wait_until_ended(cluster: Cluster, progress: Progress, end: str) -> Sequence[Mapping[str, Any]]:
    """Show the Tasks of this run until all have ended; return them in the diamond's order.

    Raises Refused with the first waiting Task's own words when nothing runs and nothing changes for too long.
    """
    stalled, before = time.monotonic(), None
    while True:
        tasks = quickstart.rows(cluster.tasks(), end)
        phases = [phase_of(task) for task in tasks]
        if len(tasks) == len(quickstart.STEPS) and all(phase in ENDED for phase in phases):
            progress.done()
            return tasks
        if phases != before or "Running" in phases:
            stalled, before = time.monotonic(), phases
        why = first_wait(tasks)
        if time.monotonic() - stalled > STALLED_SECONDS:
            raise Refused(f"nothing went on for {STALLED_SECONDS:.0f} s: {why}")
        running = [task["metadata"]["name"] for task in tasks if phase_of(task) == "Running"]
        done = sum(phase in ENDED for phase in phases)
        said = f"running: {', '.join(running)}" if running else why
        progress.say(f"{done} of {len(quickstart.STEPS)} tasks ended; {said}")
        time.sleep(POLL_SECONDS)


def phase_of(task: Mapping[str, Any]) -> str:
    """Its phase; Pending before the operator has seen it."""
    return str((task.get("status") or {}).get("phase", "Pending"))


def first_wait(tasks: Sequence[Mapping[str, Any]]) -> str:
    """What the first Task waits for that has not ended."""
    for task in tasks:
        if phase_of(task) not in ENDED:
            return f"{task['metadata']['name']}: {(task.get('status') or {}).get('message', 'it is new')}"
    return f"{len(quickstart.STEPS) - len(tasks)} Tasks of the quickstart were deleted"


def run_times(home: Home) -> Mapping[str, float]:
    """Seconds that each ended task's last attempt took, by uid, from the log: a status has whole seconds only."""
    state = fold(read_log(Layout(home.volume)))
    return {
        uid: task.finished_at - task.started_at
        for uid, task in state.tasks.items()
        if task.started_at is not None and task.finished_at is not None
    }


def next_steps(home: Home) -> str:
    """What to type next: one line to paste, so that the others are short."""
    programs = shlex.quote(str(Path(sys.executable).parent))
    return "\n".join(
        [
            "Paste this line, then try the ones below:",
            "",
            f'export KUBECONFIG={shlex.quote(str(home.kubeconfig))} PATH={programs}:"$PATH"',
            "",
            "kubectl get agents,tasks             # what there is",
            "kubectl scale ag/blue --replicas=5   # more agents",
            "kubectl describe wt                  # conditions and events",
            "kubectl logs blue-0                  # what an agent says",
            "watchbill monitor                    # live table",
            "watchbill events                     # the event log",
            "make down                            # stop; nothing is lost",
        ]
    )
