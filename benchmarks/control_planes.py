"""The control planes that can be measured: the small API server, and the real one where its programs are there.

The real one is started as the tests start it, without an audit log.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.cpu import find_descendants, load_parents
from support.real_control_plane import RealControlPlane, find_programs

PLANES = ("small", "real")
#: of processes, as the kernel cuts them to 15 characters, and as they are called in the table
PROGRAMS = {"kube-apiserver": "API server", "etcd": "etcd", "kube-controller": "controller-manager"}


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """One to be measured."""

    name: str
    kubeconfig: Path | None = None  #: None: `watchbill start` starts the small one
    pids: dict[str, int] = field(default_factory=dict)  #: of its processes, where it runs already


def why_no_real_one() -> str:
    """The sentence that says what is missing for the real one; empty where nothing is."""
    return find_programs()[1]


@contextmanager
def open_control_plane(name: str, folder: str) -> Iterator[ControlPlane]:
    """Start the one of that name; what was started ends with the block."""
    if name == "small":
        yield ControlPlane(name)
        return
    started = RealControlPlane.start(Path(folder) / "control-plane", audit=False)
    try:
        yield ControlPlane(name, started.kubeconfig, find_pids())
    finally:
        started.stop()


def find_pids() -> dict[str, int]:
    """The programs of a real control plane among the processes that this one started, as the table calls them."""
    found = {}
    for pid in find_descendants(os.getpid(), load_parents()):
        try:
            name = Path(f"/proc/{pid}/comm").read_text().strip()
        except OSError:
            continue
        if name in PROGRAMS:
            found[PROGRAMS[name]] = pid
    return found
