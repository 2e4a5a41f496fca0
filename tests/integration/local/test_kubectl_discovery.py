"""What kubectl tells of the server itself, and that the manifests of this repository go in."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.api_server import ApiServer

BASE = Path(__file__).resolve().parents[3] / "manifests" / "base"


def ask(server: ApiServer, *arguments: str) -> list[list[str]]:
    """Run kubectl, which must succeed; return the words of each line."""
    done = server.kubectl(*arguments)
    assert done.returncode == 0, done.stderr
    return [line.split() for line in done.stdout.splitlines()]


def test_api_resources_names_every_kind(server: ApiServer) -> None:
    """Name, short names, version, scope and kind, of a built-in and of a custom one."""
    lines = ask(server, "api-resources", "--no-headers")

    assert ["configmaps", "cm", "v1", "true", "ConfigMap"] in lines
    assert ["namespaces", "ns", "v1", "false", "Namespace"] in lines
    assert ["widgets", "wi", "example.com/v1", "true", "Widget"] in lines
    assert ["selfsubjectreviews", "authentication.k8s.io/v1", "false", "SelfSubjectReview"] in lines


@pytest.mark.parametrize(
    ("arguments", "there", "absent"),
    [
        (["--verbs=list,watch"], "pods", "selfsubjectreviews.authentication.k8s.io"),
        (["--verbs=deletecollection"], "pods", "namespaces"),
        (["--namespaced=false"], "nodes", "pods"),
        (["--api-group=example.com"], "widgets.example.com", "pods"),
        (["--categories=all"], "widgets.example.com", "configmaps"),
    ],
)
def test_api_resources_can_be_narrowed(server: ApiServer, arguments: list[str], there: str, absent: str) -> None:
    """By verb, scope, group and category."""
    names = {line[0] for line in ask(server, "api-resources", "-o", "name", *arguments)}

    assert there in names
    assert absent not in names


def test_api_resources_shows_verbs_and_categories(server: ApiServer) -> None:
    """With -o wide."""
    [widgets] = ask(server, "api-resources", "--api-group=example.com", "-o", "wide", "--no-headers")

    assert widgets[-2:] == ["create,delete,deletecollection,get,list,patch,update,watch", "all"]


def test_api_versions_names_every_group(server: ApiServer) -> None:
    """The core group is `v1`."""
    versions = [line[0] for line in ask(server, "api-versions")]

    assert {"v1", "example.com/v1", "rbac.authorization.k8s.io/v1", "apiextensions.k8s.io/v1"} <= set(versions)


def test_cluster_info_names_the_server(server: ApiServer) -> None:
    """And no service beside it."""
    said = server.kubectl("cluster-info").stdout

    assert f"is running at {server.cluster['server']}" in said.replace("\x1b[0;33m", "").replace("\x1b[0m", "")


def test_the_root_lists_the_paths_below(server: ApiServer) -> None:
    """As `kubectl get --raw /` shows them."""
    assert {"/api/v1", "/apis/example.com/v1", "/version"} <= set(server.get("/")["paths"])


def test_the_base_manifests_are_taken_twice(server: ApiServer, namespace: str) -> None:
    """Account, role, binding and claim; the second time nothing changes."""
    files = [f"--filename={BASE / name}" for name in ("rbac.yaml", "volume-claim.yaml")]
    ask(server, "-n", namespace, "apply", *files)

    assert {line[-1] for line in ask(server, "-n", namespace, "apply", *files)} == {"unchanged"}
