"""`watchbill quickstart`: the quickstart on a cluster where Watchbill is installed, with real pods.

Owns what a user sees of it: the waits, the table, and what to type next. It installs nothing and changes no Agent.
"""

from __future__ import annotations

import shlex
import sys
import time
from argparse import Namespace
from pathlib import Path

from watchbill_cli.archive import pack
from watchbill_cli.cluster import Cluster
from watchbill_cli.installed import (
    OPERATOR,
    check_installed,
    find_kubeconfig,
    wait_until_operator_ready,
    wait_until_staffed,
)
from watchbill_cli.quickstart import load_quickstart
from watchbill_cli.quickstart_run import all_succeeded, render_tasks, run_quickstart
from watchbill_cli.run_times import ask_run_times
from watchbill_cli.tables import Progress

COMMENT_COLUMN = 59


def run_on_cluster(arguments: Namespace) -> int:
    """Wait for operator and agents, run the quickstart, and print its table. Exit code 1 if one of its Tasks failed."""
    source = pack(arguments.folder)
    cluster = Cluster(
        find_kubeconfig(), namespace=arguments.namespace, mend="is the cluster of $KUBECONFIG up and can be reached?"
    )
    began = time.monotonic()
    until = began + arguments.timeout
    progress = Progress()
    check_installed(cluster)
    wait_until_operator_ready(cluster, progress, until)
    kind = wait_until_staffed(cluster, progress, until)
    progress.done(f"Operator and agents ready after {time.monotonic() - began:.1f} s.")
    quickstart = load_quickstart(source, kind)
    ended = run_quickstart(cluster, progress, quickstart, until=until)
    print(f"{source.files} files of {arguments.folder.resolve()}\n")
    print(render_tasks(ended, ask_run_times(cluster, ended), kind))
    print("\n" + next_steps(cluster, quickstart.find_session(ended)))
    return 0 if all_succeeded(ended) else 1


def next_steps(cluster: Cluster, session: str = "") -> str:
    """What to type next: lines to paste, so that the others are short. `session` is a Task with a transcript."""
    programs = shlex.quote(str(Path(sys.executable).parent))
    paste = [f'export KUBECONFIG={shlex.quote(str(cluster.kubeconfig.absolute()))} PATH={programs}:"$PATH"']
    if cluster.namespace != cluster.context_namespace:
        paste.append(f"kubectl config set-context --current --namespace={cluster.namespace}")
    inside = f"kubectl exec deploy/{OPERATOR} -- watchbill"
    steps = [
        ("kubectl get agents,tasks", "what there is"),
        ("kubectl scale ag/blue --replicas=5", "more agents"),
        ("kubectl describe wt", "conditions and events"),
        ("kubectl logs blue-0", "what an agent says"),
        ("watchbill doctor", "is all well?"),
        (f"{inside} events", "the event log"),
        (f"{inside} verify", "is it whole?"),
        *([(f"{inside} transcript {session}", "what its agent did")] if session else []),
    ]
    lines = [f"{command.ljust(COMMENT_COLUMN)} # {comment}" for command, comment in steps]
    return "\n".join(["Paste this, then try the lines below:", "", *paste, "", *lines])
