"""One running system for the whole folder; tests that kill or stop parts of it take one of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.local_system import LocalSystem


@pytest.fixture(scope="session")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalSystem]:
    """A started system with the three Agents, shared; its path holds a space."""
    shared = LocalSystem(tmp_path_factory.mktemp("shared") / "a home")
    yield from _started(shared)


@pytest.fixture
def own_system(tmp_path: Path) -> Iterator[LocalSystem]:
    """A started system that this test may break."""
    yield from _started(LocalSystem(tmp_path / "own home"))


@pytest.fixture
def name(request: pytest.FixtureRequest) -> Callable[[str], str]:
    """Names of objects that no other test of the shared system uses."""
    test = request.node.name.removeprefix("test_").replace("_", "-")[:24].strip("-[]").lower()
    return lambda word: f"{word}-{''.join(c if c.isalnum() else '-' for c in test)}".strip("-")


def _started(system: LocalSystem) -> Iterator[LocalSystem]:
    done = system.watchbill("start")
    try:
        assert done.code == 0, done.err + done.out
        yield system
    finally:
        system.watchbill("stop", "--drain", "0")
