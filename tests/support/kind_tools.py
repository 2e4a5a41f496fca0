"""What a kind cluster is made with: an engine, the programs kind and kubectl, a node image. Found, never fetched.

pytest-kind's options name them; without those, what `scripts/kind-node` has built. What is missing is told in one
sentence, which tests are skipped with.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
SCRIPTS = CHECKOUT / "scripts"
ABSENT = 3  #: exit code of scripts: what is needed is not on this machine. Others are failures, and never skipped
FIND_ENGINE = 'lines=$("$0" env); eval "$lines"; echo "$DOCKER_HOST"; echo "$PATH"'


@dataclass(frozen=True)
class KindTools:
    """All that is needed, and where it is."""

    kind: str
    kubectl: str
    image: str
    docker_host: str
    path: str  #: with a docker client

    def use(self) -> None:
        """Have this process and those that it starts find the engine."""
        os.environ |= {"DOCKER_HOST": self.docker_host, "PATH": self.path}


def find_tools(config: pytest.Config) -> tuple[KindTools | None, str]:
    """What the options say or the machine has; where something is missing, the sentence about it."""
    engine = _run("sh", "-ec", FIND_ENGINE, str(SCRIPTS / "docker-engine"))
    if engine.returncode:
        _check_absent(engine)
        return None, engine.stderr.strip()
    host, path = engine.stdout.splitlines()
    os.environ |= {"DOCKER_HOST": host, "PATH": path}  # kind and pytest-kind take it from there
    kind, kubectl, image = (config.getoption(name) for name in ("kind_bin", "kind_kubectl_bin", "kind_image"))
    if not (kind and kubectl and image):
        built = _run(str(SCRIPTS / "kind-node"), "where")
        if built.returncode:
            _check_absent(built)
            return None, built.stderr.strip()
        programs = Path(built.stdout.strip()) / "bin"
        kind, kubectl = kind or str(programs / "kind"), kubectl or str(programs / "kubectl")
    if not image:
        loaded = _run(str(SCRIPTS / "kind-node"), "load")
        if loaded.returncode:
            _check_absent(loaded)
            return None, loaded.stderr.strip()
        image = loaded.stdout.strip()
    missing = [name for name in (kind, kubectl) if not os.access(name, os.X_OK)]
    if missing:
        return None, f"{missing[0]} is no program: name another, or `make kind-node` builds it"
    if os.geteuid() != 0:
        return None, "the tests look into a node's volume, which root alone may: run them as root"
    return KindTools(os.path.abspath(kind), os.path.abspath(kubectl), image, host, path), ""


def run_tool(*argv: str) -> str:
    """Run a program that must succeed; return what it printed."""
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(argv)}: {done.stderr[-3000:]}{done.stdout[-1000:]}"
    return done.stdout


def _check_absent(done: subprocess.CompletedProcess[str]) -> None:
    """A script that went wrong must not end in tests that are skipped."""
    if done.returncode != ABSENT:
        raise pytest.UsageError(f"{done.args[0]} ended with {done.returncode}: {done.stderr[-3000:]}")


def _run(*argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, capture_output=True, text=True, check=False)
