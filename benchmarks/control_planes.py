"""The control planes that can be measured: the small API server, and the real one where its programs are there."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.cpu import find_descendants, load_parents

#: of processes, as the kernel cuts them to 15 characters, and as they are called in the table
PROGRAMS = {"kube-apiserver": "API server", "etcd": "etcd", "kube-controller": "controller-manager"}


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """One to be measured."""

    name: str
    kubeconfig: Path | None = None  #: None: `watchbill start` starts the small one
    pids: dict[str, int] = field(default_factory=dict)  #: of its processes, where it runs already


@contextmanager
def real_control_plane(folder: Path) -> Iterator[ControlPlane]:
    """Start kube-apiserver, etcd and kube-controller-manager; they end with the block."""
    sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))  # the tests start it the same way
    from support.real_control_plane import RealControlPlane

    started = RealControlPlane.start(folder)
    try:
        yield ControlPlane("real", started.kubeconfig, find_programs())
    finally:
        started.stop()


def find_programs() -> dict[str, int]:
    """Pids of the programs of a real control plane among the processes that this one started."""
    found = {}
    for pid in find_descendants(os.getpid(), load_parents()):
        try:
            name = Path(f"/proc/{pid}/comm").read_text().strip()
        except OSError:
            continue
        if name in PROGRAMS:
            found[PROGRAMS[name]] = pid
    return found
