"""`make kind` and `make kind-down`: a cluster of its own, with the user's own kubeconfig left alone."""

from __future__ import annotations

import os
import re
import secrets
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.kind_cluster import IMAGES, RunCluster
from support.kind_tools import CHECKOUT, run_tool


@dataclass(frozen=True)
class Maker:
    """scripts/kind with a state folder, whose path has a space, and a cluster name of its own."""

    folder: Path
    name: str
    cluster: RunCluster

    @property
    def kubeconfig(self) -> Path:
        """Where the cluster's has to be."""
        return self.folder / "state" / "watchbill" / "kind" / f"{self.name}.kubeconfig"

    def call(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run it to its end."""
        programs = [Path(sys.executable).parent, *(Path(tool).parent for tool in self._tools)]
        environment = {
            **os.environ,
            "HOME": str(self.folder / "home"),
            "KUBECONFIG": str(self.folder / "home" / "config"),
            "PATH": ":".join([*map(str, programs), os.environ["PATH"]]),
            "WATCHBILL_KIND_CLUSTER": self.name,
            "WATCHBILL_KIND_IMAGE": self.cluster.tools.image,
            "XDG_CACHE_HOME": os.environ.get("XDG_CACHE_HOME", str(Path.home() / ".cache")),
            "XDG_STATE_HOME": str(self.folder / "state"),
        }
        return subprocess.run(
            [CHECKOUT / "scripts" / "kind", *words],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )

    @property
    def _tools(self) -> tuple[str, str]:
        return self.cluster.tools.kind, self.cluster.tools.kubectl


@pytest.fixture
def maker(cluster: RunCluster, tmp_path: Path) -> Iterator[Maker]:
    """With a folder to search, and a kubeconfig of the user's that must stay as it is; its cluster is deleted."""
    folder = tmp_path / "with a space"
    (folder / "home").mkdir(parents=True)
    (folder / "home" / "config").write_text("the user's own")
    (folder / "input").mkdir()
    (folder / "input" / "program.py").write_text("def f():\n    return 1\n")
    maker = Maker(folder, f"watchbill-made-{secrets.token_hex(3)}", cluster)
    yield maker
    run_tool(cluster.tools.kind, "delete", "cluster", "--name", maker.name, f"--kubeconfig={maker.kubeconfig}")


def find_ids() -> str:
    """What the three images are: others where somebody changed the checkout meanwhile."""
    return run_tool("docker", "image", "inspect", "--format", "{{.Id}}", *IMAGES)


@pytest.mark.long
def test_a_cluster_is_made_used_again_and_deleted(maker: Maker) -> None:
    """Twice `up` with a table each, the second without another cluster; `down` leaves nothing."""
    first = maker.call("up", "input")
    node = run_tool("docker", "inspect", "--format", "{{.Id}}", f"{maker.name}-control-plane")
    built = find_ids()
    second = maker.call("up", "input")

    for done in (first, second):
        assert done.returncode == 0, done.stderr[-3000:] + done.stdout[-2000:]
        assert re.search(r"^review-\w+ +Succeeded +red-0 ", done.stdout, re.MULTILINE)
        assert f"export KUBECONFIG='{maker.kubeconfig}'" in done.stdout
    assert run_tool("docker", "inspect", "--format", "{{.Id}}", f"{maker.name}-control-plane") == node
    is_loading = "loading the images" in second.stderr
    assert is_loading == (find_ids() != built), "what the node has is not loaded again"
    assert maker.kubeconfig.stat().st_mode & 0o777 == 0o600
    assert maker.call("kubeconfig").stdout.strip() == str(maker.kubeconfig)

    assert maker.call("down").returncode == 0
    assert not maker.kubeconfig.exists()
    assert maker.name not in run_tool(maker.cluster.tools.kind, "get", "clusters").split()
    assert (maker.folder / "home" / "config").read_text() == "the user's own"
