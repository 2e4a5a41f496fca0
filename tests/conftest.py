"""Which control plane the tests run on: `pytest --control-plane=small|real`.

The real one is started once a run, by the process that controls the workers; each system under test has a namespace of
its own on it.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from support.real_control_plane import RealControlPlane, find_programs

settings.register_profile("any machine", deadline=None)  # no law depends on how fast it is checked
settings.load_profile("any machine")

PLANE = pytest.StashKey[RealControlPlane]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """The choice of the control plane."""
    parser.addoption(
        "--control-plane",
        choices=["small", "real"],
        default="small",
        help="what the systems under test run on: the small API server, or kube-apiserver with etcd and controllers",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Start the real control plane where it is wanted and its programs are there."""
    is_worker = hasattr(config, "workerinput")
    if config.getoption("--control-plane") == "real" and not is_worker and find_programs()[0]:
        config.stash[PLANE] = RealControlPlane.start(Path(tempfile.mkdtemp(prefix="control-plane-")))


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell each worker of pytest-xdist where it is."""
    plane = node.config.stash.get(PLANE, None)
    node.workerinput["control_plane"] = str(plane.folder) if plane else ""


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop what was started."""
    if plane := config.stash.get(PLANE, None):
        plane.stop()
        shutil.rmtree(plane.folder, ignore_errors=True)


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
    if config.getoption("--control-plane") == "small":
        return None
    folder = getattr(config, "workerinput", {}).get("control_plane")
    plane = RealControlPlane.at(Path(folder)) if folder else config.stash.get(PLANE, None)
    if plane is None:
        pytest.skip(find_programs()[1])
    return plane
