"""Which control plane the tests run on: `pytest --control-plane=small|real|kind`.

The real one, or the kind cluster, is started once a run, by the process that controls the workers; each system under
test has a namespace of its own on it. With kind only the tests of whole systems are collected, unless others are named.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from pytest_kind import KindCluster

from support.kind_cluster import RunCluster
from support.kind_tools import find_tools
from support.real_control_plane import RealControlPlane, find_programs

settings.register_profile("any machine", deadline=None)  # no law depends on how fast it is checked
settings.load_profile("any machine")

TESTS = Path(__file__).parent
PLANE = pytest.StashKey[RealControlPlane]()
CLUSTER = pytest.StashKey[RunCluster]()
MISSING = pytest.StashKey[str]()
CLUSTER_NAME = "pytest-kind"  #: pytest-kind's default: nobody chose one
KIND_TIMEOUT = 300  #: seconds that a test with real pods may take, where it does not say itself


def pytest_addoption(parser: pytest.Parser) -> None:
    """The choice of the control plane."""
    parser.addoption(
        "--control-plane",
        choices=["small", "real", "kind"],
        default="small",
        help="what the systems under test run on: the small API server, kube-apiserver with etcd and controllers, or a"
        " kind cluster with real pods (see --kind-bin, --kind-kubectl-bin, --kind-image, --keep-cluster)",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Start the real control plane, or the cluster, where it is wanted and what it needs is there."""
    config.addinivalue_line("markers", "local(what): the local system alone has what the test is about")
    config.addinivalue_line("markers", "agents(name=replicas): the Agents that a system of the test's own has on kind")
    wanted = config.getoption("--control-plane")
    if wanted == "kind" and config.args_source == pytest.Config.ArgsSource.TESTPATHS:
        config.args = [str(TESTS / name) for name in ("e2e", "kind")]
    if hasattr(config, "workerinput"):
        return
    if wanted == "real" and find_programs()[0]:
        config.stash[PLANE] = RealControlPlane.start(Path(tempfile.mkdtemp(prefix="control-plane-")))
    if wanted == "kind" and not config.option.collectonly:
        _start_cluster(config)


def _start_cluster(config: pytest.Config) -> None:
    tools, config.stash[MISSING] = find_tools(config)
    if tools is None:
        return
    chosen = config.getoption("cluster_name")
    _say(config, "kind: making a cluster and loading the images into it, which takes a minute")
    config.stash[CLUSTER] = RunCluster.start(
        Path(tempfile.mkdtemp(prefix="kind-")),
        tools,
        name="" if chosen == CLUSTER_NAME else chosen,
        keep=config.getoption("keep_cluster"),
    )
    _say(config, f"kind: {config.stash[CLUSTER].name}, KUBECONFIG={config.stash[CLUSTER].kubeconfig}")


def _say(config: pytest.Config, line: str) -> None:
    """Tell whoever waits, past pytest's capturing."""
    capture = config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        sys.stderr.write(f"{line}\n")


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell each worker of pytest-xdist where it is."""
    plane, cluster = node.config.stash.get(PLANE, None), node.config.stash.get(CLUSTER, None)
    node.workerinput["control_plane"] = str(plane.folder) if plane else ""
    node.workerinput["kind_cluster"] = str(cluster.folder) if cluster else ""
    node.workerinput["kind_missing"] = node.config.stash.get(MISSING, "")


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop what was started."""
    if plane := config.stash.get(PLANE, None):
        plane.stop()
        shutil.rmtree(plane.folder, ignore_errors=True)
    if cluster := config.stash.get(CLUSTER, None):
        cluster.stop()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """On kind, skip what the local system alone has, and give the others time; mark what is for kind alone."""
    if config.getoption("--control-plane") != "kind":
        return
    for item in items:
        if item.path.is_relative_to(TESTS / "kind"):
            item.add_marker(pytest.mark.kind)
        if local := item.get_closest_marker("local"):
            item.add_marker(pytest.mark.skip(reason=f"the local system alone has this: {local.args[0]}"))
        if not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(KIND_TIMEOUT))


@pytest.fixture(autouse=True)
def _controllers(request: pytest.FixtureRequest) -> None:
    """Skip what is marked `controllers` on a real control plane that has none."""
    if request.node.get_closest_marker("controllers"):
        plane: RealControlPlane | None = request.getfixturevalue("real_control_plane")
        if plane and "kube-controller-manager" not in plane.names:
            pytest.skip(f"{plane.programs} has no kube-controller-manager: `make control-plane` builds one")


@pytest.fixture(scope="session")
def real_control_plane(request: pytest.FixtureRequest) -> RealControlPlane | None:
    """The run's real control plane; None: the tests run on the small one. Skips where its programs are not there."""
    config = request.config
    if config.getoption("--control-plane") != "real":
        return None
    folder = getattr(config, "workerinput", {}).get("control_plane")
    plane = RealControlPlane.at(Path(folder)) if folder else config.stash.get(PLANE, None)
    if plane is None:
        pytest.skip(find_programs()[1])
    return plane


@pytest.fixture(scope="session")
def run_cluster(request: pytest.FixtureRequest) -> RunCluster | None:
    """The run's kind cluster; None: the tests run on something else. Skips where something for it is missing."""
    config = request.config
    if config.getoption("--control-plane") != "kind":
        return None
    told = getattr(config, "workerinput", {})
    folder = told.get("kind_cluster")
    cluster = RunCluster.at(Path(folder)) if folder else config.stash.get(CLUSTER, None)
    if cluster is None:
        pytest.skip(told.get("kind_missing") or config.stash.get(MISSING, ""))
    return cluster


@pytest.fixture(scope="session")
def kind_cluster(run_cluster: RunCluster | None) -> KindCluster:
    """The same as pytest-kind's fixture, in whose place it stands: nobody makes a second cluster."""
    if run_cluster is None:
        pytest.skip("there is a kind cluster with --control-plane=kind")
    return run_cluster.pytest_kind
