"""What a server refuses only for now, while it starts or its store is away, is asked again."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from watchbill_local.node.api import ApiError
from watchbill_local.node.pods import PodWorker

POD: dict[str, Any] = {"metadata": {"namespace": "default", "name": "p", "uid": "u"}, "spec": {}}


class Server:
    """An API that refuses the first request."""

    def __init__(self, code: int) -> None:
        self.code = code
        self.asked: list[str] = []

    async def call(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        """Refuse, then answer."""
        self.asked.append(method)
        if len(self.asked) == 1:
            raise ApiError(self.code, "not now")
        return {}


def make_worker(server: Server, folder: Path) -> PodWorker:
    """A pod of no containers."""
    settings = SimpleNamespace(data=folder, address="127.0.0.1")
    return PodWorker(POD, cast("Any", SimpleNamespace(settings=settings, api=server)), "127.0.0.2")


@pytest.mark.parametrize(("code", "times"), [(401, 2), (403, 2), (429, 2), (500, 2), (503, 2), (404, 1), (409, 1)])
def test_a_pod_is_removed_by_and_by(tmp_path: Path, code: int, times: int) -> None:
    """Or it would stay Terminating for ever. One that is gone, or another's by now, is not asked for again."""
    server = Server(code)
    asyncio.run(make_worker(server, tmp_path).remove())

    assert server.asked == ["DELETE"] * times


@pytest.mark.parametrize(("code", "times"), [(403, 2), (429, 2), (503, 2), (404, 1), (422, 1)])
def test_the_last_status_of_a_pod_gets_there(tmp_path: Path, code: int, times: int) -> None:
    """What does not fit, or has no object any more, is let go of."""
    server = Server(code)
    worker = make_worker(server, tmp_path)
    worker._closing = True
    worker.changed.set()
    asyncio.run(worker._report())

    assert server.asked == ["PATCH"] * times
