"""How long the Tasks of a quickstart ran: from the log, wherever it lies, for a status has whole seconds only.

Owns the way to the log: on this machine its files, on a cluster `watchbill events` in the operator's pod. Where that
pod cannot be asked, the statuses have to do.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from watchbill_cli.cluster import Cluster
from watchbill_cli.home import Home, Refused
from watchbill_cli.kubectl import run_kubectl
from watchbill_coordination.core.evolve import fold
from watchbill_coordination.storage.layout import Layout
from watchbill_coordination.storage.reading import read_log

OPERATOR = "deploy/watchbill-operator"
BEGINS = ("TaskDispatched", "TaskStarted")
ENDS = ("TaskSucceeded", "TaskFailed", "TaskCancelled")
MICROSECONDS = 1_000_000
EXEC_SECONDS = 30.0  #: reading a log of a million records takes a part of it


def load_run_times(home: Home) -> Mapping[str, float]:
    """Seconds that each ended task's last attempt took, by uid, from the log of the local system."""
    state = fold(read_log(Layout(home.volume)))
    return {
        uid: task.finished_at - task.started_at
        for uid, task in state.tasks.items()
        if task.started_at is not None and task.finished_at is not None
    }


def ask_run_times(cluster: Cluster, tasks: Sequence[Mapping[str, Any]]) -> Mapping[str, float]:
    """The same of these Tasks on a cluster; in whole seconds where the operator's pod does not answer."""
    names = [task["metadata"]["name"] for task in tasks]
    command = ["exec", OPERATOR, "--namespace", cluster.namespace, "--", "watchbill", "events", *names, "-o", "json"]
    try:
        return parse_run_times(run_kubectl(cluster.kubeconfig, command, timeout=EXEC_SECONDS).splitlines())
    except Refused:
        return {task["metadata"]["uid"]: took for task in tasks if (took := read_status_time(task)) is not None}


def parse_run_times(lines: Iterable[str]) -> Mapping[str, float]:
    """Seconds by uid, from lines of `watchbill events -o json`."""
    begun: dict[str, int] = {}
    took: dict[str, float] = {}
    for line in lines:
        event = json.loads(line)
        task = event.get("task", "")
        if event["type"] in BEGINS:
            begun[task] = event["ts"]
        elif event["type"] in ENDS and task in begun:
            took[task] = (event["ts"] - begun[task]) / MICROSECONDS
    return took


def read_status_time(task: Mapping[str, Any]) -> float | None:
    """Whole seconds from the status; None where it has not both ends."""
    status = task.get("status") or {}
    begun, ended = status.get("startTime"), status.get("completionTime")
    if not begun or not ended:
        return None
    return (datetime.fromisoformat(ended) - datetime.fromisoformat(begun)).total_seconds()
