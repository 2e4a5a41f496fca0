"""A local system as a whole: its three processes, in the order in which they need each other.

Owns how API server, process node and operator are started and with what environment. Each start is a no-op for what
already runs, so it may be repeated at any time, also after a `kill -9` of everything. Decides nothing about Tasks.
"""

from __future__ import annotations

import fcntl
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from watchbill_cli.cluster import Cluster
from watchbill_cli.control_plane import adopt_kubeconfig, choose_kubeconfig, keep_small
from watchbill_cli.home import CLAIM, Home, Refused
from watchbill_cli.install import apply_base, write_operator_kubeconfig
from watchbill_cli.processes import Process, find, last_words, start
from watchbill_cli.tables import Progress

SERVER, NODE, OPERATOR, MODEL = "api-server", "node", "operator", "model"
START_SECONDS = 60.0  #: a process that is not ready by then is given up
IMAGE = "watchbill/agent:local"
POLL_SECONDS = 0.03
MAX_NAME = 63  #: of a node: it is a label's value too


@contextmanager
def exclusive(home: Home) -> Iterator[None]:
    """Hold the home for one start or stop at a time.

    Raises Refused where another one is under way.
    """
    with (home.run / "lock").open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Refused(f"another start or stop of {home.path} is under way: wait for it") from error
        yield


def start_system(home: Home, progress: Progress, *, kubeconfig: Path | None = None, port: int | None = None) -> Cluster:
    """Start what does not run yet and return the connection; the operator may still be getting ready.

    `kubeconfig` names a control plane that is there already, without nodes of its own; its context, the namespace.
    Without one the control plane of the former start is used, or the small API server is started.
    Raises Refused with the last words of a process that did not come up.
    """
    kubeconfig = choose_kubeconfig(home, kubeconfig)
    is_small = kubeconfig is None
    if kubeconfig is None:
        keep_small(home)
        cluster = _start_server(home, progress, port)
    else:
        cluster = adopt_kubeconfig(home, kubeconfig)
    node = find(home, NODE) or (start(home, NODE, _node_command(home, ""), {}) if is_small else None)
    operator = find(home, OPERATOR)
    apply_base(home, cluster)
    if not is_small:
        write_operator_kubeconfig(home)  # also for one that runs: it reads the file again when its token is refused
    if operator is None:
        home.operator_status.unlink(missing_ok=True)  # of a former life
        environment = operator_environment(
            home, cluster.namespace, home.kubeconfig if is_small else home.operator_kubeconfig
        )
        operator = start(home, OPERATOR, _module("watchbill_operator"), environment)
    progress.say("starting operator and node")
    _wait_for(home, operator, lambda: load_operator_phase(home) == "leading")
    # On a server that others use, only whoever leads the namespace runs its pods.
    node = node or start(home, NODE, _node_command(home, cluster.namespace), {})
    if not node.is_alive():
        raise Refused(f"the process node stopped at once: {last_words(home, NODE)}")
    return cluster


def start_model(home: Home, progress: Progress) -> str:
    """Start the scripted model if it does not run yet; return its base URL.

    Raises Refused with its last words where it did not come up.
    """
    address = home.model / "address"
    model = find(home, MODEL)
    if model is None:
        progress.say("starting the scripted model")
        address.unlink(missing_ok=True)  # of a former life
        model = start(home, MODEL, [*_module("watchbill_local.model"), "--data", str(home.model)], {})
    _wait_for(home, model, address.exists)
    return address.read_text().strip()


def operator_environment(home: Home, namespace: str, kubeconfig: Path) -> dict[str, str]:
    """What the operator is told."""
    return {
        "KUBECONFIG": str(kubeconfig),
        "WATCHBILL_ROOT": str(home.volume),
        "WATCHBILL_NAMESPACE": namespace,
        "WATCHBILL_HTTP": os.environ.get("WATCHBILL_HTTP", "127.0.0.1:0"),
        "WATCHBILL_STATUS_FILE": str(home.operator_status),
        "WATCHBILL_AGENT_IMAGE": IMAGE,
    }


def load_operator_phase(home: Home) -> str:
    """What the operator says that it does: empty before it says anything, then `waiting` and `leading`."""
    try:
        return str(json.loads(home.operator_status.read_text())["phase"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def running(home: Home) -> Mapping[str, Process]:
    """The processes that are alive, by name."""
    found = ((name, find(home, name)) for name in (SERVER, NODE, OPERATOR, MODEL))
    return {name: process for name, process in found if process is not None}


def _start_server(home: Home, progress: Progress, port: int | None) -> Cluster:
    server = find(home, SERVER)
    if server is None:
        progress.say("starting the API server")
        home.kubeconfig.unlink(missing_ok=True)
        command = [*_module("watchbill_local.server"), "--data", str(home.path / "api-server")]
        command += ["--kubeconfig", str(home.kubeconfig)]
        command += ["--port", str(port)] if port else []
        server = start(home, SERVER, command, {})
    _wait_for(home, server, home.kubeconfig.exists)
    cluster = Cluster(home.kubeconfig)
    _wait_for(home, server, cluster.is_ready)
    return cluster


def _node_command(home: Home, namespace: str) -> list[str]:
    """The process node's words. A namespace: the server is shared with other systems, each with a node of its own."""
    command = [
        *_module("watchbill_local.node"),
        "--kubeconfig",
        str(home.kubeconfig),
        "--data",
        str(home.path / "node"),
    ]
    command += ["--volume", f"{CLAIM}={home.volume}"]
    if namespace:
        command += ["--namespace", namespace, "--name", f"watchbill-{namespace}"[:MAX_NAME]]
    for image in filter(None, os.environ.get("WATCHBILL_IMAGES", "").split(",")):
        command += ["--image", image]
    isolation = os.environ.get("WATCHBILL_ISOLATION")
    return [*command, "--isolation", isolation] if isolation else command


def _module(name: str) -> list[str]:
    return [sys.executable, "-m", name]


def _wait_for(home: Home, process: Process, is_ready: Callable[[], bool]) -> None:
    until = time.monotonic() + START_SECONDS
    while not is_ready():
        if not process.is_alive():
            raise Refused(f"the {process.name} stopped at once: {last_words(home, process.name)}")
        if time.monotonic() > until:
            raise Refused(
                f"the {process.name} is not ready after {START_SECONDS:.0f} s: see {home.logs}/{process.name}.log"
            )
        time.sleep(POLL_SECONDS)
