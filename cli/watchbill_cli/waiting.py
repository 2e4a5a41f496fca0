"""What `watchbill start` waits for: agents that live, and the Tasks of a quickstart that end.

Owns the questions and the sentences that a user reads meanwhile. Only asks: the work is done by the system.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

from watchbill_cli.cluster import Cluster
from watchbill_cli.home import Home, Refused
from watchbill_cli.processes import last_words
from watchbill_cli.quickstart import Quickstart
from watchbill_cli.runners import Runner, is_current
from watchbill_cli.system import NODE, OPERATOR, running
from watchbill_cli.tables import Progress
from watchbill_coordination.core.specs import ReplicaName
from watchbill_coordination.storage.layout import HEARTBEAT, Layout

READY_SECONDS = 60.0
STALLED_SECONDS = 120.0  #: without a running Task and without a change
POLL_SECONDS = 0.1
AGENT_LABEL = "watchbill.dev/agent"
AGENTS = ("blue", "green", "red")  #: whose runner the choice is about
ENDED = ("Succeeded", "Failed", "Cancelled")


def wait_until_ready(home: Home, cluster: Cluster, progress: Progress, runner: Runner, fresh: float) -> None:
    """Wait until every Agent has the replicas that it wants, each of them lives, and the three run what was chosen.

    A status may still tell of agents of before, so their heartbeats must be newer than `fresh` (seconds since the Unix
    epoch). Raises Refused with the Agents' own words when that takes too long.
    """
    until = time.monotonic() + READY_SECONDS
    while True:
        agents = cluster.agents()
        lacking = [agent for agent in agents if not (is_ready(agent) and is_alive(home, agent, fresh))]
        lacking = lacking or find_outdated(cluster, agents, runner)
        if agents and not lacking:
            return
        for name in {OPERATOR, NODE} - set(running(home)):
            raise Refused(f"the {name} stopped: {last_words(home, name)}")
        if time.monotonic() > until:
            raise Refused("not all agents are ready: " + "; ".join(describe(agent) for agent in lacking))
        progress.say("waiting for agents: " + ", ".join(describe(agent) for agent in agents))
        time.sleep(POLL_SECONDS)


def find_outdated(cluster: Cluster, agents: Sequence[Mapping[str, Any]], runner: Runner) -> list[Mapping[str, Any]]:
    """Those of the three Agents that still have a pod of another choice."""
    pods = [pod for pod in cluster.pods() if not is_current(pod, runner)]
    names = {pod["metadata"].get("labels", {}).get(AGENT_LABEL) for pod in pods} & set(AGENTS)
    return [agent for agent in agents if agent["metadata"]["name"] in names]


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
    if said and status.get("observedGeneration", 0) < agent["metadata"].get("generation", 1):
        said = ["it was changed, and the operator has not looked yet"]  # what the status says is of before
    text = f"{agent['metadata']['name']} {status.get('readyReplicas', 0)}/{agent['spec'].get('replicas', 1)}"
    return f"{text} ({said[0]})" if said and not is_ready(agent) else text


def wait_until_ended(
    cluster: Cluster, progress: Progress, quickstart: Quickstart, *, until: float = math.inf
) -> Sequence[Mapping[str, Any]]:
    """Show the Tasks of this run until all have ended; return them in the diamond's order.

    Raises Refused with the first waiting Task's own words when nothing runs and nothing changes for too long, or when
    the monotonic clock passes `until`.
    """
    stalled, before = time.monotonic(), None
    while True:
        tasks = quickstart.rows(cluster.tasks())
        phases = [phase_of(task) for task in tasks]
        if len(tasks) == len(quickstart.steps) and all(phase in ENDED for phase in phases):
            progress.done()
            return tasks
        if phases != before or "Running" in phases:
            stalled, before = time.monotonic(), phases
        why = first_wait(tasks, len(quickstart.steps))
        if time.monotonic() - stalled > STALLED_SECONDS:
            raise Refused(f"nothing went on for {STALLED_SECONDS:.0f} s: {why}")
        if time.monotonic() > until:
            ended = sum(phase in ENDED for phase in phases)
            raise Refused(f"the time is over, and {ended} of {len(quickstart.steps)} tasks ended; {why}")
        running = [task["metadata"]["name"] for task in tasks if phase_of(task) == "Running"]
        done = sum(phase in ENDED for phase in phases)
        said = f"running: {', '.join(running)}" if running else why
        progress.say(f"{done} of {len(quickstart.steps)} tasks ended; {said}")
        time.sleep(POLL_SECONDS)


def phase_of(task: Mapping[str, Any]) -> str:
    """Its phase; Pending before the operator has seen it."""
    return str((task.get("status") or {}).get("phase", "Pending"))


def first_wait(tasks: Sequence[Mapping[str, Any]], wanted: int) -> str:
    """What the first Task waits for that has not ended."""
    for task in tasks:
        if phase_of(task) not in ENDED:
            return f"{task['metadata']['name']}: {(task.get('status') or {}).get('message', 'it is new')}"
    return f"{wanted - len(tasks)} Tasks of the quickstart were deleted"
