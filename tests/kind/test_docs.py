"""The commands that the documentation has for a cluster work as typed, in their order, where the images are."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.kind_cluster import RunCluster
from support.kind_tools import CHECKOUT
from support.waiting import wait_for

TYPED = re.compile(r"<!-- typed by tests/kind/test_docs\.py -->\n```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NAMESPACE = "watchbill"  #: as the documents have it; the other tests have namespaces with other names


@pytest.fixture
def kubeconfig(cluster: RunCluster, tmp_path: Path) -> Iterator[Path]:
    """An administrator's, in another namespace than the documents' at first; what they install is taken away."""
    yield cluster.write_kubeconfig(tmp_path / "kubeconfig", "default")
    cluster.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait=false")
    wait_for(lambda: not cluster.kubectl("get", "namespace", NAMESPACE, "--ignore-not-found"), "it is gone")


def test_the_commands_of_the_readme_install_and_show_a_system(cluster: RunCluster, kubeconfig: Path) -> None:
    """One shell types them all and stops at the first that fails."""
    blocks = TYPED.findall((CHECKOUT / "README.md").read_text())
    path = f"{Path(sys.executable).parent}:{Path(cluster.tools.kubectl).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["sh"],
        input="set -eux\n" + "\n".join(blocks),
        cwd=CHECKOUT,
        env={**os.environ, "KUBECONFIG": str(kubeconfig), "PATH": path},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )

    assert len(blocks) == 2
    assert done.returncode == 0, f"{done.stderr[-3000:]}\n{done.stdout[-3000:]}"
    assert done.stdout.count("Succeeded  red-0") == 1, "the quickstart's table has a review"
    assert done.stdout.rstrip().endswith(": whole"), "the log is whole"
