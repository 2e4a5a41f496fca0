"""One server and node in plain processes for the tests of a file, another for each level of isolation."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.node_lab import NodeLab, open_lab


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeLab]:
    """Plain processes, in a path with a space."""
    with open_lab(tmp_path_factory.mktemp("a lab"), "--isolation", "processes") as lab:
        yield lab
