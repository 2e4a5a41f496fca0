"""What tests on real pods share: one system a worker, and systems of their own for those that break one."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.kind_cluster import RunCluster
from support.kind_system import KindSystem, started

MakeSystem = Callable[..., KindSystem]
FOLDER = Path(__file__).parent


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Without a kind cluster there are no real pods: then these tests are collected only where they are named."""
    named = any(FOLDER in (path := Path(word.split("::")[0]).resolve(), *path.parents) for word in config.args)
    return None if named or config.getoption("--control-plane") == "kind" else True


@pytest.fixture(scope="session")
def cluster(run_cluster: RunCluster | None) -> RunCluster:
    """The run's cluster."""
    if run_cluster is None:
        pytest.skip("real pods are there with --control-plane=kind")
    return run_cluster


@pytest.fixture(scope="session")
def make_system(cluster: RunCluster) -> MakeSystem:
    """Makes a system that was not started yet, in a namespace of its own; without Agents unless some are named."""

    def make(folder: Path, agents: dict[str, int] | None = None, **more: object) -> KindSystem:
        return KindSystem(cluster, folder, f"crew-{secrets.token_hex(4)}", agents=agents or {}, **more)

    return make


@pytest.fixture(scope="session")
def system(make_system: MakeSystem, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KindSystem]:
    """A started system, shared by the tests of this worker: each uses Agents of its own."""
    with started(make_system(tmp_path_factory.mktemp("shared") / "home")) as system:
        yield system


@pytest.fixture
def own_system(make_system: MakeSystem, tmp_path: Path) -> Iterator[KindSystem]:
    """A started system with two agents that this test may break."""
    with started(make_system(tmp_path / "home", {"blue": 2})) as system:
        yield system
