"""Looking at objects that tests look at again and again, without starting a program each time.

Owns which kinds those are. Invariant: what it finds is what kubectl would find; all else is asked with kubectl itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pykube
import requests

SECONDS = 10.0
OURS, CORE = "watchbill.dev/v1alpha1", "v1"
#: Names that kubectl knows a kind by: version and name in the API's paths.
POLLED: Mapping[str, tuple[str, str]] = {
    **dict.fromkeys(("task", "tasks"), (OURS, "tasks")),
    **dict.fromkeys(("agent", "agents"), (OURS, "agents")),
    **dict.fromkeys(("pod", "pods"), (CORE, "pods")),
}


def look(kubeconfig: Path, namespace: str, kind: str, name: str) -> dict[str, Any] | None:
    """One object; None: there is none."""
    return _ask(kubeconfig, namespace, kind, f"/{name}")


def look_all(kubeconfig: Path, namespace: str, kind: str, selector: str = "") -> list[dict[str, Any]]:
    """All objects of a kind, or those with these labels."""
    found = _ask(kubeconfig, namespace, kind, f"?labelSelector={quote(selector)}" if selector else "")
    assert found is not None, f"the API server does not know {kind}"
    items: list[dict[str, Any]] = found["items"]
    return items


def _ask(kubeconfig: Path, namespace: str, kind: str, rest: str) -> dict[str, Any] | None:
    version, plural = POLLED[kind]
    client = _connect(kubeconfig, kubeconfig.stat().st_mtime_ns)
    try:
        answer = client.get(version=version, namespace=namespace, url=f"{plural}{rest}")
    except requests.RequestException as error:
        raise AssertionError(f"GET {plural}{rest}: {error}") from error
    if answer.status_code == 404:
        return None
    assert answer.ok, answer.text
    found: dict[str, Any] = answer.json()
    return found


@lru_cache(maxsize=64)
def _connect(kubeconfig: Path, _state: int) -> pykube.HTTPClient:
    """A connection for each state of a kubeconfig: another start of a server may change it."""
    client = pykube.HTTPClient(pykube.KubeConfig.from_file(str(kubeconfig)), timeout=SECONDS)
    client.session.trust_env = False  # no proxy stands between a test and its system
    return client
