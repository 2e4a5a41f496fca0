"""The model's stub for all tests of a worker, and agents for the tests of a file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from support.claude_lab import ClaudeLab
from support.model_stub import ModelStub

MakeLab = Callable[..., ClaudeLab]


@pytest.fixture(scope="session")
def stub() -> Iterator[ModelStub]:
    with ModelStub() as model:
        yield model


@pytest.fixture(scope="module")
def green(stub: ModelStub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClaudeLab]:
    """A green agent that several tests use one after the other: its SDK is loaded once."""
    with ClaudeLab(tmp_path_factory.mktemp("green lab"), stub, claude={"maxTurns": 6}) as lab:
        yield lab


@pytest.fixture(scope="module")
def blue(stub: ModelStub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClaudeLab]:
    """A blue agent that several tests use."""
    with ClaudeLab(tmp_path_factory.mktemp("blue lab"), stub, role="blue") as lab:
        yield lab


@pytest.fixture(scope="module")
def patient(stub: ModelStub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClaudeLab]:
    """A green agent whose Claude Code tries again as it usually does; its model has a fallback."""
    settings = {"model": "claude-opus-5-5", "fallbackModel": "claude-sonnet-5-5"}
    environment = {"CLAUDE_CODE_MAX_RETRIES": "2"}
    with ClaudeLab(tmp_path_factory.mktemp("lab"), stub, claude=settings, environment=environment) as lab:
        yield lab


@pytest.fixture
def make_lab(stub: ModelStub, tmp_path: Path) -> Iterator[MakeLab]:
    """Agents of a test's own."""
    with ExitStack() as labs:
        made: list[ClaudeLab] = []

        def make(**arguments: Any) -> ClaudeLab:
            lab = ClaudeLab(tmp_path / f"lab {len(made)}", stub, **arguments)
            made.append(lab)
            return labs.enter_context(lab)

        yield make
