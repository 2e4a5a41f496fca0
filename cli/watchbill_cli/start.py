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
from dataclasses import replace
from pathlib import Path

from watchbill_cli.archive import pack
from watchbill_cli.home import Home, Refused, default_home
from watchbill_cli.kubectl import run_kubectl
from watchbill_cli.quickstart import load_quickstart
from watchbill_cli.quickstart_run import all_succeeded, render_tasks, run_quickstart
from watchbill_cli.run_times import load_run_times
from watchbill_cli.runners import SCRIPTED, build_agents, choose_runner, put_secret
from watchbill_cli.system import NODE, exclusive, running, start_model, start_system
from watchbill_cli.tables import Progress
from watchbill_cli.waiting import wait_until_ready

HEARTBEAT_SECONDS = 15.0  #: an agent that lives beats more often


def run_start(arguments: Namespace) -> int:
    """Start, run the quickstart if one is asked for, and print the table. Exit code 1 if one of its Tasks failed."""
    runner = choose_runner(arguments.runner, arguments.model, os.environ)
    home = default_home()
    home.make()
    source = pack(Path(arguments.quickstart)) if arguments.quickstart else None
    quickstart = load_quickstart(source, runner.answers) if source else None
    progress = Progress()
    began = time.monotonic()
    fresh = time.time() if NODE not in running(home) else time.time() - HEARTBEAT_SECONDS
    with exclusive(home):
        cluster = start_system(home, progress, kubeconfig=arguments.kubeconfig, port=arguments.port)
        if runner.kind == SCRIPTED:
            runner = replace(runner, base_url=start_model(home, progress))
        if runner.is_claude:
            put_secret(home.kubeconfig, runner)
        run_kubectl(home.kubeconfig, ["apply", "-f", "-"], stdin=json.dumps(build_agents(runner)))
    wait_until_ready(home, cluster, progress, runner, fresh)
    progress.done(f"Agents ready after {time.monotonic() - began:.1f} s.")
    if quickstart is None:
        print(next_steps(home))
        return 0
    ended = run_quickstart(cluster, progress, quickstart)
    print(f"{quickstart.source.files} files of {Path(arguments.quickstart).resolve()}\n")
    print(render_tasks(ended, load_run_times(home), quickstart.kind))
    print("\n" + next_steps(home, quickstart.find_session(ended)))
    return 0 if all_succeeded(ended) else 1


def run_kubeconfig(arguments: Namespace) -> int:
    """Print the path of the kubeconfig."""
    home = default_home()
    if not home.kubeconfig.exists():
        known = "the system in {} is stopped" if home.run.is_dir() else "no system was started in {}"
        raise Refused(f"{known.format(home.path)}: `make up` starts it")
    print(home.kubeconfig)
    return 0


def next_steps(home: Home, session: str = "") -> str:
    """What to type next: one line to paste, so that the others are short. `session` is a Task with a transcript."""
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
            *([f"watchbill transcript {session}".ljust(36) + " # what its agent did"] if session else []),
            "make down                            # stop; nothing is lost",
        ]
    )
