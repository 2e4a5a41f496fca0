"""`watchbill adopt`: go on with the log that lies on the volume, though the namespace was led from another one.

Owns the question and the answer. A new or restored volume is no accident that a program may decide about: without
`--yes` this only says what would follow.
"""

from __future__ import annotations

import os
from argparse import Namespace
from pathlib import Path

from watchbill_cli.cluster import Cluster
from watchbill_cli.home import default_home, kubeconfig_path
from watchbill_coordination.core.events import LogOpened
from watchbill_coordination.core.evolve import fold
from watchbill_coordination.storage.layout import Layout
from watchbill_coordination.storage.reading import read_log


def run_adopt(arguments: Namespace) -> int:
    """Say what would follow, or let the Lease forget the other log."""
    home = default_home()
    cluster = Cluster(kubeconfig_path(home))
    layout = Layout(Path(os.environ.get("WATCHBILL_ROOT") or home.volume))
    known = cluster.led_from()
    found = next((r.event.log_id for r in read_log(layout) if isinstance(r.event, LogOpened)), "")
    if not known or known == found:
        print("nothing to adopt: the namespace is led from the log on this volume, or was never led")
        return 0
    tasks = fold(read_log(layout)).tasks
    strange = [task for task in cluster.tasks() if task["metadata"]["uid"] not in tasks]
    print(f"led from the log {known}; on the volume: {found or 'no log'}")
    print(
        f"{len(strange)} Tasks are not in that log; the operator takes them as new and runs them, also those that ended"
    )
    if not arguments.yes:
        print("nothing was changed; `watchbill adopt --yes` goes on with the log on the volume")
        return 1
    cluster.forget_lease()
    print("adopted; start the operator again: `make up`")
    print("agents that go on meanwhile are strangers to this log; have their pods made anew:")
    print("kubectl delete pods -l app.kubernetes.io/name=watchbill-agent")
    return 0
