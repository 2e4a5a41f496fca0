"""What tests on real pods share: one system a worker, and systems of their own for those that break one."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.kind_system import KindSystem

MakeSystem = Callable[[Path], KindSystem]


@pytest.fixture(scope="session")
def make_system() -> MakeSystem:
    return lambda home: KindSystem(home, None, f"crew-{secrets.token_hex(4)}")


@pytest.fixture(scope="session")
def system(make_system: MakeSystem, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KindSystem]:
    """A started system, shared by the tests of this worker: each uses Agents of its own."""
    yield from _started(make_system(tmp_path_factory.mktemp("shared") / "home"))


@pytest.fixture
def own_system(make_system: MakeSystem, tmp_path: Path) -> Iterator[KindSystem]:
    """A started system that this test may break."""
    yield from _started(make_system(tmp_path / "home"))


def _started(system: KindSystem) -> Iterator[KindSystem]:
    done = system.start()
    try:
        assert done.code == 0, done.err + done.out
        yield system
    finally:
        system.stop()
