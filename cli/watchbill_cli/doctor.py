"""`watchbill doctor`: what is wrong with an installation, one sentence each, with what mends it.

Owns the order "read, check, print" and the exit code: 0 all is well, 1 something is not, 2 nobody could be asked. Only
reads; a look costs about two dozen requests.
"""

from __future__ import annotations

import json
import time
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import asdict

from watchbill_cli.doctor_checks import OK, PROBLEM, Line, check_all
from watchbill_cli.doctor_look import Asker, load_sight
from watchbill_cli.home import default_home, kubeconfig_path

WIDTH = max(len(state) for state in (OK, PROBLEM, "not checked"))


def run_doctor(arguments: Namespace) -> int:
    """Look, print every line, and say whether all is well."""
    asker = Asker(kubeconfig_path(default_home()), arguments.namespace)
    lines = check_all(load_sight(asker, time.time()))
    print(json.dumps([asdict(line) for line in lines], indent=1) if arguments.output == "json" else render(lines))
    return int(any(line.state == PROBLEM for line in lines))


def render(lines: Sequence[Line]) -> str:
    """A line for each."""
    return "\n".join(f"{line.state.ljust(WIDTH)}  {line.check}: {' '.join(line.message.split())}" for line in lines)
