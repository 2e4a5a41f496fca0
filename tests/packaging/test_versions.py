"""scripts/versions is the one place for versions: what else must name one says the same."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
MODULES = CHECKOUT / "tests" / "control_plane"
#: A name in scripts/versions, the go.mod file below tests/control_plane, and the module that it requires.
REQUIRED = [
    ("KUBERNETES", ".", "k8s.io/kubernetes"),
    ("ETCD", ".", "go.etcd.io/etcd/server/v3"),
    ("CONTAINERD", "containerd", "github.com/containerd/containerd/v2"),
    ("COREDNS", "coredns", "github.com/coredns/coredns"),
    ("CRITOOLS", "crictl", "sigs.k8s.io/cri-tools"),
    ("KIND", "kind", "sigs.k8s.io/kind"),
    ("LOCALPATH", "local-path-provisioner", "github.com/rancher/local-path-provisioner"),
]


@pytest.fixture(scope="module")
def versions() -> dict[str, str]:
    """What sh reads from the version file."""
    names = re.findall(r"^([A-Z_]+)=", (CHECKOUT / "scripts" / "versions").read_text(), re.MULTILINE)
    words = " ".join(f'"${name}"' for name in names)
    script = f'set -eu; . ./versions; printf "%s\\n" {words}'
    done = subprocess.run(["sh", "-c", script], cwd=CHECKOUT / "scripts", capture_output=True, text=True, check=True)
    return dict(zip(names, done.stdout.splitlines(), strict=True))


@pytest.mark.parametrize(("name", "module", "path"), REQUIRED, ids=[name for name, _, _ in REQUIRED])
def test_a_go_module_requires_the_version_of_the_one_file(
    name: str, module: str, path: str, versions: dict[str, str]
) -> None:
    """Another version in go.mod would build something else than the cache's folder says."""
    text = (MODULES / module / "go.mod").read_text()
    assert re.findall(rf"^(?:require )?\t?{re.escape(path)} v(\S+)", text, re.MULTILINE) == [versions[name]]


def test_the_staging_modules_of_kubernetes_are_those_of_its_version(versions: dict[str, str]) -> None:
    """Kubernetes 1.x.y is built with its staging modules 0.x.y, and with no others."""
    text = (MODULES / "go.mod").read_text()
    replaced = set(re.findall(r"^\t(k8s\.io/\S+) => k8s\.io/\S+ v(\S+)$", text, re.MULTILINE))
    assert {version for _, version in replaced} == {f"0.{versions['KUBERNETES'].partition('.')[2]}"}
    assert len(replaced) > 20


def test_go_is_as_new_as_every_module_asks_for(versions: dict[str, str]) -> None:
    """The script refuses an older Go in one sentence, before the compiler does in many."""
    texts = [path.read_text() for path in MODULES.rglob("go.mod")]
    asked = [re.findall(r"^go (\S+)$", text, re.MULTILINE)[0] for text in texts]
    assert max(_parts(each) for each in asked) <= _parts(versions["GO"])


def test_the_programs_of_a_module_are_named_by_its_tools(versions: dict[str, str]) -> None:
    """What scripts/go-programs.sh builds is what `go mod tidy` has seen, so that go.sum is whole."""
    scripts = (CHECKOUT / "scripts" / "kind-node").read_text() + (CHECKOUT / "scripts" / "control-plane").read_text()
    lists = re.findall(r'^(?:cluster|runtime|alone|programs)="([^"]+)"', scripts, re.MULTILINE)
    programs = {program for each in lists for program in each.split()} - {"pause"}
    tools = " ".join(path.read_text() for path in MODULES.rglob("tools.go"))
    script = (
        f"set -eu; checkout=$PWD; . scripts/go-programs.sh; for each in {' '.join(programs)}; do package_of $each; done"
    )
    done = subprocess.run(["sh", "-c", script], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    assert len(lists) == 4
    assert [each for each in done.stdout.split() if f'_ "{each}"\n' not in tools] == []


def test_the_official_node_image_is_named_with_its_digest(versions: dict[str, str]) -> None:
    """A tag can be moved; what kind was tested with is one digest."""
    assert re.fullmatch(r"kindest/node:v[0-9.]+@sha256:[0-9a-f]{64}", versions["KIND_NODE_IMAGE"])


def _parts(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
