"""Every shell example of the README runs as it stands there, in its order."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from support.local_system import LocalSystem

pytestmark = pytest.mark.local("the README's first steps, on this machine")

CHECKOUT = Path(__file__).resolve().parents[2]
EXAMPLE = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_the_readmes_examples_work_as_typed(tmp_path: Path) -> None:
    """One shell runs them all and stops at the first that fails."""
    examples = EXAMPLE.findall((CHECKOUT / "README.md").read_text())
    system = LocalSystem(tmp_path / "home")
    environment = {**system.environment, "WATCHBILL_VENV": sys.prefix}
    del environment["KUBECONFIG"]
    script = "set -eux\n" + "\n".join(examples).replace(".venv/bin", f"{sys.prefix}/bin")
    try:
        done = subprocess.run(
            ["sh"],
            input=script,
            cwd=CHECKOUT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=110,
            check=False,
        )
    finally:
        system.watchbill("stop", "--drain", "0")

    assert done.returncode == 0, f"{done.stderr[-3000:]}\n{done.stdout[-2000:]}"
    assert len(examples) >= 10
    assert "hello from blue-" in done.stdout
