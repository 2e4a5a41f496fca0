"""One running system for the whole folder; tests that kill or stop parts of it take one of their own."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from support.kind_cluster import RunCluster
from support.kind_system import CREW, KindSystem
from support.local_system import LocalSystem
from support.model_stub import ModelStub
from support.real_control_plane import RealControlPlane
from support.system import System

MakeSystem = Callable[..., System]
OWN: Mapping[str, int] = {"blue": 2}  #: a system with fewer pods starts sooner


@pytest.fixture(scope="session")
def make_system(real_control_plane: RealControlPlane | None, run_cluster: RunCluster | None) -> MakeSystem:
    """Makes a system in that folder that was not started yet, on the control plane of this run."""

    def make(folder: Path, agents: Mapping[str, int] = CREW) -> System:
        if run_cluster is not None:
            return KindSystem(run_cluster, folder, _namespace(), agents)
        return LocalSystem(folder, real_control_plane, _namespace() if real_control_plane else "default")

    return make


@pytest.fixture(scope="session")
def system(make_system: MakeSystem, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A started system with the three Agents, shared; its path holds a space."""
    yield from _started(make_system(tmp_path_factory.mktemp("shared") / "a home"))


@pytest.fixture
def own_system(make_system: MakeSystem, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[System]:
    """A started system that this test may break, but for a control plane that others share."""
    wanted = request.node.get_closest_marker("agents")
    yield from _started(make_system(tmp_path / "own home", wanted.kwargs if wanted else OWN))


@pytest.fixture(scope="session")
def breakable_plane(
    real_control_plane: RealControlPlane | None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RealControlPlane | None]:
    """A real control plane that no other worker uses, so that its programs may be killed; None on the small one."""
    if real_control_plane is None:
        yield None
        return
    plane = RealControlPlane.start(tmp_path_factory.mktemp("breakable"))
    try:
        yield plane
    finally:
        plane.stop()


@pytest.fixture
def breakable_system(breakable_plane: RealControlPlane | None, tmp_path: Path) -> Iterator[LocalSystem]:
    """A started system whose control plane this test may break, as long as it runs again at the end."""
    system = LocalSystem(tmp_path / "own home", breakable_plane, _namespace() if breakable_plane else "default")
    yield from _started(system, check_rights=False)  # an API server that has just started forbids everything


@pytest.fixture(scope="session")
def stub(run_cluster: RunCluster | None) -> Iterator[ModelStub]:
    """One stub of the model's API for the worker, where agents reach it; each pool has a run of its own."""
    with ModelStub(host=run_cluster.gateway if run_cluster else "127.0.0.1") as model:
        yield model


@pytest.fixture
def name(request: pytest.FixtureRequest) -> Callable[[str], str]:
    """Names of objects that no other test of the shared system uses."""
    test = request.node.name.removeprefix("test_").replace("_", "-")[:24].strip("-[]").lower()
    return lambda word: f"{word}-{''.join(c if c.isalnum() else '-' for c in test)}".strip("-")


def _namespace() -> str:
    return f"crew-{secrets.token_hex(4)}"


def _started(system: System, *, check_rights: bool = True) -> Iterator[System]:
    done = system.start()
    try:
        assert done.code == 0, done.err + done.out
        yield system
    finally:
        system.stop(check_rights=check_rights)
