"""A quickstart under way: its Tasks are sent, awaited and shown as a table; the same on every control plane.

Owns what `watchbill start` and `watchbill quickstart` have in common. The work is done by the system that is there;
this only asks and shows.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from watchbill_cli.cluster import Cluster
from watchbill_cli.context import put_archive
from watchbill_cli.kubectl import run_kubectl
from watchbill_cli.quickstart import COMMAND, Quickstart
from watchbill_cli.tables import Progress, render_table, task_row
from watchbill_cli.waiting import wait_until_ended


def run_quickstart(
    cluster: Cluster, progress: Progress, quickstart: Quickstart, *, until: float = math.inf
) -> Sequence[Mapping[str, Any]]:
    """Send what the Tasks read, apply them, and wait until they ended; returns them in the diamond's order.

    What succeeded before has its result; what did not is done again, as the reason may be gone: a key, a gateway.
    `until` is of the monotonic clock.
    """
    for archive in quickstart.archives:
        put_archive(cluster, archive)
    here = ["--namespace", cluster.namespace]
    again = quickstart.find_failed(cluster.tasks())
    if again:
        run_kubectl(cluster.kubeconfig, ["delete", "tasks", *again, "--ignore-not-found", *here])
    body = {"apiVersion": "v1", "kind": "List", "items": quickstart.build_tasks()}
    run_kubectl(cluster.kubeconfig, ["apply", "-f", "-", *here], stdin=json.dumps(body))
    return wait_until_ended(cluster, progress, quickstart, until=until)


def all_succeeded(tasks: Sequence[Mapping[str, Any]]) -> bool:
    """Whether there is nothing to be sorry about."""
    return all(task["status"]["phase"] == "Succeeded" for task in tasks)


def render_tasks(tasks: Sequence[Mapping[str, Any]], seconds: Mapping[str, float], kind: str) -> str:
    """The table of a run; where a model worked, with what it cost."""
    header, rows = ["TASK", "PHASE", "AGENT", "SECONDS", "RESULT"], [task_row(task, seconds) for task in tasks]
    if kind != COMMAND:
        header.insert(-1, "COST")
        for row, task in zip(rows, tasks, strict=True):
            row.insert(-1, describe_cost(task))
    return render_table(header, rows)


def describe_cost(task: Mapping[str, Any]) -> str:
    """`$0.0123`, or a dash where nothing is known."""
    cost = ((task.get("status") or {}).get("usage") or {}).get("costUSD")
    return "-" if cost is None else f"${cost:.4f}"
