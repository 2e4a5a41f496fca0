"""Which control plane a home keeps to: the small API server, or one namespace of another server.

Owns `run/control-plane`, which remembers the choice. Invariant: one volume is never led from two namespaces, whatever
became of the kubeconfig's text, its context or its server: in the second one all Tasks of the first would be missing,
and the log would call them deleted. Nothing is remembered of a control plane that did not answer.
"""

from __future__ import annotations

import json
from pathlib import Path

from watchbill_cli.cluster import Cluster
from watchbill_cli.home import Home, Refused
from watchbill_cli.kubectl import run_kubectl
from watchbill_local.certificate import write_private

SMALL = "small"


def choose_kubeconfig(home: Home, given: Path | None) -> Path | None:
    """The kubeconfig to use: the one given, else that of the start before; None: the small API server.

    Raises Refused where the home began with the small server and now another one is named.
    """
    before = _load(home)
    if given is None:
        path = before.get("kubeconfig", "")
        return Path(path) if path else None
    if before.get("namespace") == SMALL:
        raise Refused(
            f"{home.path} was started with the small API server: go on without --kubeconfig, "
            "or set WATCHBILL_HOME to another folder"
        )
    return given.absolute()


def adopt_kubeconfig(home: Home, kubeconfig: Path) -> Cluster:
    """Take what its current context needs into the home, with all files that it names; returns the connection.

    Raises Refused where the file is not usable, the server does not answer, or the namespace is not that of before.
    """
    try:
        kubeconfig.read_bytes()
    except OSError as error:
        raise Refused(f"cannot read the kubeconfig {kubeconfig}: {error.strerror}") from error
    text = run_kubectl(kubeconfig, ["config", "view", "--raw", "--flatten", "--minify", "-o", "json"])
    taken = home.run / "kubeconfig.taken"
    write_private(str(taken), text)
    cluster = Cluster(taken)
    uid = cluster.namespace_uid()
    before = _load(home).get("namespace", uid)
    if before != uid:
        raise Refused(
            f"{home.path} was started in another namespace than {cluster.namespace}, which {kubeconfig} names now: "
            "all of its Tasks would be missing there; name the former one, or set WATCHBILL_HOME to another folder"
        )
    taken.replace(home.kubeconfig)
    _save(home, kubeconfig=str(kubeconfig), namespace=uid)
    return Cluster(home.kubeconfig)


def keep_small(home: Home) -> None:
    """Remember that this home began with the small API server."""
    _save(home, namespace=SMALL)


def _load(home: Home) -> dict[str, str]:
    path = home.run / "control-plane"
    try:
        text = path.read_text()
        kept: dict[str, str] = {"namespace": SMALL} if text == SMALL else json.loads(text)  # the word alone: as of old
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise Refused(f"{path} cannot be read: remove it, if this home uses the small API server") from error
    return kept


def _save(home: Home, **kept: str) -> None:
    write_private(str(home.run / "control-plane"), json.dumps(kept))
