"""A local system as a whole: its three processes, in the order in which they need each other.

Owns how API server, process node and operator are started and with what environment. Each start is a no-op for what
already runs, so it may be repeated at any time, also after a `kill -9` of everything. Decides nothing about Tasks.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from watchbill_cli.cluster import Cluster
from watchbill_cli.home import CLAIM, NAMESPACE, Home, Refused, data_file
from watchbill_cli.kubectl import run_kubectl
from watchbill_cli.processes import Process, find, last_words, start
from watchbill_cli.tables import Progress

SERVER, NODE, OPERATOR = "api-server", "node", "operator"
START_SECONDS = 60.0  #: a process that is not ready by then is given up
IMAGE = "watchbill/agent:local"
POLL_SECONDS = 0.03


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

    `kubeconfig` names a control plane that is there already; without one the small API server is started.
    Raises Refused with the last words of a process that did not come up.
    """
    _keep_control_plane(home, kubeconfig)
    if kubeconfig is None:
        cluster = _start_server(home, progress, port)
    else:
        _adopt_kubeconfig(home, kubeconfig)
        cluster = Cluster(home.kubeconfig)
    node = find(home, NODE) or start(home, NODE, _node_command(home), {})
    operator = find(home, OPERATOR)
    if operator is None:
        home.operator_status.unlink(missing_ok=True)  # of a former life
    apply_crds(home, cluster)
    operator = operator or start(home, OPERATOR, _module("watchbill_operator"), operator_environment(home))
    progress.say("starting operator and node")
    _wait_for(home, operator, lambda: load_operator_phase(home) == "leading")
    if not node.is_alive():
        raise Refused(f"the process node stopped at once: {last_words(home, NODE)}")
    return cluster


def operator_environment(home: Home) -> dict[str, str]:
    """What the operator is told."""
    return {
        "KUBECONFIG": str(home.kubeconfig),
        "WATCHBILL_ROOT": str(home.volume),
        "WATCHBILL_NAMESPACE": NAMESPACE,
        "WATCHBILL_HTTP": os.environ.get("WATCHBILL_HTTP", "127.0.0.1:0"),
        "WATCHBILL_STATUS_FILE": str(home.operator_status),
        "WATCHBILL_AGENT_IMAGE": IMAGE,
    }


def apply_crds(home: Home, cluster: Cluster) -> None:
    """Apply both CRDs with kubectl, unless these very ones are served already."""
    crds = data_file("crds")
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(crds.glob("*.yaml")))).hexdigest()
    mark = home.run / "crds.sha256"
    if mark.exists() and mark.read_text() == digest and cluster.has_crds():
        return
    run_kubectl(home.kubeconfig, ["apply", "-f", str(crds)])
    names = [f"crd/{name}.watchbill.dev" for name in ("agents", "tasks")]
    run_kubectl(home.kubeconfig, ["wait", "--for=condition=Established", "--timeout=30s", *names])
    mark.write_text(digest)


def load_operator_phase(home: Home) -> str:
    """What the operator says that it does: empty before it says anything, then `waiting` and `leading`."""
    try:
        return str(json.loads(home.operator_status.read_text())["phase"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def running(home: Home) -> Mapping[str, Process]:
    """The processes that are alive, by name."""
    found = ((name, find(home, name)) for name in (SERVER, NODE, OPERATOR))
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


def _keep_control_plane(home: Home, kubeconfig: Path | None) -> None:
    """Refuse to lead one volume from two control planes: in the second one all Tasks of the first would be missing.

    Raises Refused.
    """
    mark = home.run / "control-plane"
    now = str(kubeconfig.resolve()) if kubeconfig else "small"
    before = mark.read_text() if mark.exists() else now
    if before != now:
        again = f"`--kubeconfig {before}`" if before != "small" else "no --kubeconfig"
        raise Refused(f"{home.path} was started with {again}: do so again, or set WATCHBILL_HOME to another folder")
    mark.write_text(now)


def _adopt_kubeconfig(home: Home, kubeconfig: Path) -> None:
    try:
        text = kubeconfig.read_text()
    except OSError as error:
        raise Refused(f"cannot read the kubeconfig {kubeconfig}: {error.strerror}") from error
    temporary = home.run / ".kubeconfig"
    temporary.touch(mode=0o600)
    temporary.write_text(text)
    temporary.replace(home.kubeconfig)


def _node_command(home: Home) -> list[str]:
    command = [
        *_module("watchbill_local.node"),
        "--kubeconfig",
        str(home.kubeconfig),
        "--data",
        str(home.path / "node"),
    ]
    command += ["--volume", f"{CLAIM}={home.volume}"]
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
