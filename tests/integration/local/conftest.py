"""A real server process for each module of tests, and a namespace of its own for each test."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from support.api_server import ApiServer, widget_definition

_NUMBERS = itertools.count(1)
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """A running server that knows Widgets; tests of one module share it."""
    running = ApiServer(tmp_path_factory.mktemp("api server"))
    running.start()
    running.create(DEFINITIONS, widget_definition())
    yield running
    if running.process is not None:
        running.stop()


@pytest.fixture
def own_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """A running server for one test, which may stop and kill it."""
    running = ApiServer(tmp_path_factory.mktemp("own api server"))
    running.start()
    yield running
    if running.process is not None:
        running.stop()


@pytest.fixture
def namespace(server: ApiServer) -> str:
    """A namespace that no other test uses."""
    name = f"test-{next(_NUMBERS)}"
    server.create("/api/v1/namespaces", {"metadata": {"name": name}})
    return name


@pytest.fixture
def widgets(namespace: str) -> str:
    """The path of the Widgets of a namespace of its own."""
    return f"/apis/example.com/v1/namespaces/{namespace}/widgets"
