"""The manifests on a real API server: it takes each object as it is, and Pod Security has nothing to say of any."""

from __future__ import annotations

import json
import secrets
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from support.kind_cluster import RunCluster
from support.overlays import AGENTS, CHECKOUT, KUBECTL, MANIFESTS, OVERLAYS, SAMPLES, build_agent_pods, render_overlay
from support.real_control_plane import RealControlPlane
from support.waiting import wait_for

MIGRATION = "failed to migrate kubectl.kubernetes.io/last-applied-configuration"  #: of what was applied by the client
VIOLATION = "would violate PodSecurity"
FOREIGN = {"ScaledObject"}  #: kinds of others, whose definitions are not installed here
ROOT_POD = {"containers": [{"name": "c", "image": "i"}]}


@dataclass(frozen=True)
class Room:
    """A namespace as the overlays make it, on a control plane that knows Agents and Tasks."""

    namespace: str
    kubeconfig: Path

    def kubectl(self, *arguments: str | Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run kubectl there, whatever comes of it."""
        argv = [KUBECTL, f"--kubeconfig={self.kubeconfig}", f"--namespace={self.namespace}", *arguments]
        return subprocess.run(argv, input=stdin, capture_output=True, text=True, check=False, timeout=90)

    def try_on(self, text: str) -> tuple[Sequence[str], str]:
        """Send objects for a server-side dry run; return a line for each that was taken, and what was said besides."""
        done = self.kubectl(
            "apply", "--server-side", "--force-conflicts", "--dry-run=server", "--filename=-", stdin=text
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines(), "\n".join(line for line in done.stderr.splitlines() if MIGRATION not in line)


@pytest.fixture(scope="module")
def room(
    real_control_plane: RealControlPlane | None,
    run_cluster: RunCluster | None,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Room]:
    """Namespace and CRDs for real; everything else is tried on."""
    folder, namespace = tmp_path_factory.mktemp("room"), f"crew-{secrets.token_hex(4)}"
    if real_control_plane is not None:
        kubeconfig = real_control_plane.write_kubeconfig(folder / "kubeconfig", namespace)
    elif run_cluster is not None:
        kubeconfig = run_cluster.kubeconfig
    else:
        pytest.skip("the small API server knows neither Deployments nor policies: --control-plane=real or kind")
    room = Room(namespace, kubeconfig)
    [made] = [item for item in split(render_overlay("kind", namespace, folder)) if "\nkind: Namespace\n" in f"\n{item}"]
    for arguments, text in ((("-f", "-"), made), (("-k", CHECKOUT / "crds"), "")):
        wait_for(lambda a=arguments, t=text: room.kubectl("apply", *a, stdin=t).returncode == 0, f"applied {arguments}")
    wait_for(lambda: room.kubectl("get", "agents,tasks").returncode == 0, "the server knows the kinds")
    account = "serviceaccount/default"  # pods are refused until a controller has made it
    wait_for(lambda: room.kubectl("get", account).returncode == 0, "the namespace has its account")
    yield room
    room.kubectl("delete", "namespace", namespace, "--wait=false")


def split(text: str) -> list[str]:
    """The documents of a YAML text, as they stand."""
    return [item for item in text.split("\n---\n") if item.strip()]


def count(text: str) -> int:
    """How many objects a YAML text has."""
    return sum(1 for item in YAML(typ="safe").load_all(text) if item)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_object_of_an_overlay_is_taken(room: Room, tmp_path: Path, overlay: str) -> None:
    """Without a warning, of Pod Security or anything else."""
    text = render_overlay(overlay, room.namespace, tmp_path)

    taken, said = room.try_on(text)

    assert len(taken) == count(text) > 10
    assert said == ""


@pytest.mark.parametrize("path", sorted(SAMPLES.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_sample_is_taken(room: Room, path: Path) -> None:
    """Jobs and Secrets too."""
    text = path.read_text()

    taken, said = room.try_on(text)

    assert len(taken) == count(text) > 0
    assert said == ""


def test_every_object_of_the_autoscaling_example_is_taken(room: Room) -> None:
    """But for kinds that somebody else defines."""
    built = room.kubectl("kustomize", MANIFESTS / "autoscaling")
    assert built.returncode == 0, built.stderr
    known = [item for item in split(built.stdout) if not any(f"kind: {kind}" in item for kind in FOREIGN)]
    text = "\n---\n".join(known).replace("namespace: watchbill", f"namespace: {room.namespace}")

    taken, said = room.try_on(text)

    assert len(taken) == count(text) > 0
    assert said == ""


@pytest.mark.controllers
@pytest.mark.parametrize("file", AGENTS)
def test_the_pods_that_the_operator_builds_are_let_in(room: Room, file: str) -> None:
    """The server enforces the standard on pods, not only warns."""
    pods = [{**pod, "metadata": {**pod["metadata"], "namespace": room.namespace}} for pod in build_agent_pods(file)]

    taken, said = room.try_on(json.dumps({"apiVersion": "v1", "kind": "List", "items": pods}))

    assert len(taken) == len(pods) == 3
    assert VIOLATION not in said


def test_a_deployment_that_is_not_restricted_is_warned_of(room: Room) -> None:
    """Else silence would mean nothing."""
    labels = {"app": "root"}
    spec = {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": ROOT_POD}}
    body = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "root"}, "spec": spec}

    _, said = room.try_on(json.dumps(body))

    assert VIOLATION in said


@pytest.mark.controllers
def test_a_pod_that_is_not_restricted_is_refused(room: Room) -> None:
    """By the namespace of the overlays."""
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "root"}, "spec": ROOT_POD}

    done = room.kubectl("create", "--filename=-", stdin=json.dumps(body))

    assert done.returncode != 0
    assert "violates PodSecurity" in done.stderr
