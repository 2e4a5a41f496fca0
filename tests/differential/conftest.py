"""The two servers that the same requests are sent to, and the recorded answers of the real one.

Owns what a run compares: by default the small server with the recording; with `--control-plane=real` the real server
with the recording, and the small one with the real one. `--record` writes the recording anew, from the real server
alone.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from support.api_server import ApiServer
from support.differential import Endpoint, Run
from support.differential_requests import Obj
from support.real_control_plane import CHECKOUT, RealControlPlane

HERE = Path(__file__).parent
DEFINITIONS = (HERE / "widgets.yaml", CHECKOUT / "crds" / "agents.yaml", CHECKOUT / "crds" / "tasks.yaml")


def pytest_addoption(parser: pytest.Parser) -> None:
    """The way to write the recording."""
    parser.addoption("--record", action="store_true", help="record the answers of the real control plane anew")


@pytest.fixture(scope="session")
def is_recording(request: pytest.FixtureRequest, real_control_plane: RealControlPlane | None) -> bool:
    """Whether answers are recorded; only those of the real server are."""
    wanted = bool(request.config.getoption("--record", default=False))
    if wanted and real_control_plane is None:
        pytest.exit("--record needs --control-plane=real: only the real server's answers are recorded", returncode=4)
    if wanted and hasattr(request.config, "workerinput"):
        pytest.exit("--record writes files scenario by scenario: without -n", returncode=4)
    return wanted


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """The small server, with the custom kinds."""
    server = ApiServer(tmp_path_factory.mktemp("small server"))
    server.start()
    try:
        run = Run(Endpoint(server.cluster["server"], server.token, server.context))
        _install(run)
        yield run
    finally:
        server.stop()


@pytest.fixture(scope="session")
def real(real_control_plane: RealControlPlane | None) -> Iterator[Run | None]:
    """The real server, with the custom kinds; None where this run does not use it."""
    if real_control_plane is None:
        yield None
        return
    plane = real_control_plane
    if "kube-controller-manager" not in plane.names:
        pytest.skip(f"{plane.programs} has no kube-controller-manager, so nothing is collected: `make control-plane`")
    run = Run(Endpoint(plane.server, plane.token, ssl.create_default_context(cafile=str(plane.authority))))
    definitions = _install(run)
    yield run
    run.remove(definitions[0])  # the others may be in use by other tests of this run


def _install(run: Run) -> list[Obj]:
    definitions: list[Obj] = [yaml.safe_load(path.read_text()) for path in DEFINITIONS]
    for definition in definitions:
        run.install(definition)
    return definitions
