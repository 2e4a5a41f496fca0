"""A small API server with both CRDs, and operators on one volume."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.api_server import ApiServer
from support.operator_process import OperatorProcess, install_crds

Start = Callable[..., OperatorProcess]


@pytest.fixture
def bare_server(tmp_path: Path) -> Iterator[ApiServer]:
    """A server that knows neither Agents nor Tasks."""
    home = tmp_path / "api server"
    home.mkdir()
    server = ApiServer(home)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def server(bare_server: ApiServer) -> ApiServer:
    """A server with both CRDs."""
    install_crds(bare_server)
    return bare_server


@pytest.fixture
def operator(bare_server: ApiServer, tmp_path: Path) -> Iterator[Start]:
    """Make operators by name; all are ended with the test."""
    made: list[OperatorProcess] = []

    def make(name: str = "one", root: str = "volume", **settings: str) -> OperatorProcess:
        process = OperatorProcess(bare_server, tmp_path / root, tmp_path / name, settings)
        made.append(process)
        return process

    yield make
    for process in made:
        process.close()
