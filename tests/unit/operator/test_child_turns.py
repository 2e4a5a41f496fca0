"""In which order the Tasks that attempts ask for are tried while the API does not take them all."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any

import pytest

from watchbill_coordination.core.commands import Command, SettleChild
from watchbill_coordination.core.requests import ChildOrder
from watchbill_coordination.core.specs import ReplicaName, TaskUid
from watchbill_coordination.core.state import State
from watchbill_operator import outages
from watchbill_operator.api import Api, Request, UnavailableError
from watchbill_operator.children import ChildMaker, ChildWiring

DEADLINE_SECONDS = 30.0


def order(request: int) -> ChildOrder:
    """A wish, each of another request."""
    return ChildOrder(
        parent=TaskUid("uid-1"), parent_name="plan", agent=ReplicaName("blue-0"), attempt=1, request=request, spec={}
    )


def connect() -> Any:
    """There is no server: nothing gets as far as a connection."""
    raise AssertionError("send was to answer")


class PartialApi(Api):
    """An API that always answers 500 about some names, and about all while it is down."""

    def __init__(self, broken: Collection[str], *, down_for: int = 0) -> None:
        super().__init__(connect, "crew")
        self.tried: list[str] = []
        self._broken = broken
        self._down_for = down_for  #: tries

    async def send(self, request: Request, *, attempts: int = 1) -> dict[str, Any]:
        """Take a Task, or fail at once."""
        body: dict[str, Any] = dict(request.body or {})
        name = body["metadata"]["name"]
        self.tried.append(name)
        if name in self._broken or len(self.tried) <= self._down_for:
            raise UnavailableError(500, "etcdserver: request is too large")
        return body | {"metadata": body["metadata"] | {"uid": f"uid-of-{name}", "resourceVersion": "1"}}


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """What lasts seconds lasts milliseconds."""
    monkeypatch.setattr(outages, "FIRST_PAUSE_SECONDS", 0.001)
    monkeypatch.setattr(outages, "MAX_PAUSE_SECONDS", 0.004)


def make(api: PartialApi, wishes: Collection[str], *, count: int) -> list[str]:
    """Run a maker until so many wishes are settled; their names in that order."""

    async def run() -> list[str]:
        state = State(children={name: order(number) for number, name in enumerate(wishes, start=1)})
        settled: list[str] = []
        enough, durable = asyncio.Event(), asyncio.Event()
        durable.set()

        def take(command: Command) -> None:
            assert isinstance(command, SettleChild)
            settled.append(command.name)
            del state.children[command.name]
            if len(settled) == count:
                enough.set()

        wiring = ChildWiring(take, lambda _: None, durable, lambda: False)
        making = asyncio.create_task(ChildMaker(api, state, wiring).run())
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                await enough.wait()
        finally:
            making.cancel()
            await asyncio.wait([making])
        return settled

    return asyncio.run(run())


def test_a_wish_that_always_fails_holds_up_no_other() -> None:
    """Though it is the oldest, and others fail as well at first."""
    api = PartialApi({"bad"}, down_for=6)

    assert sorted(make(api, ["bad", "a", "b", "c", "d", "e"], count=5)) == ["a", "b", "c", "d", "e"]


def test_many_wishes_that_always_fail_hold_up_no_other() -> None:
    """More than are tried at once."""
    bad = [f"bad-{number}" for number in range(9)]

    assert make(PartialApi(bad), [*bad, "good"], count=1) == ["good"]


def test_while_the_api_is_down_each_wish_has_its_turn() -> None:
    """After the four that were under way at its beginning, one at a time, the one that waited longest first."""
    api = PartialApi((), down_for=13)
    make(api, ["a", "b", "c", "d", "e"], count=1)

    assert "".join(api.tried[:13]) == "abcd" + "eabcd" + "eabc"
    assert api.tried[13] == "d"
