"""A watch that begins is a reason for doubt: what vanished before is told by nobody."""

from __future__ import annotations

import asyncio
import getpass
from itertools import islice
from typing import NoReturn

import pytest

from watchbill_operator.handlers import EndlessBackoffs
from watchbill_operator.watching import HeardBackoffs, Watching, WatchWiring


def test_a_request_is_heard_when_it_begins_and_with_each_failure() -> None:
    """kopf takes one pause before it sends anything, and one for each try that failed."""
    told: list[int] = []
    pauses = HeardBackoffs(EndlessBackoffs(), lambda: told.append(len(told)))

    tries = iter(pauses)
    first = next(tries)
    assert (first, told) == (0.1, [0])
    next(tries)
    assert told == [0, 1]


def test_each_request_has_all_pauses_anew() -> None:
    """One object serves all requests of all kinds."""
    pauses = HeardBackoffs(EndlessBackoffs(), lambda: None)

    assert list(islice(pauses, 3)) == list(islice(pauses, 3)) == [0.1, 0.2, 0.5]


def test_a_user_without_a_name_is_no_hindrance(monkeypatch: pytest.MonkeyPatch) -> None:
    """A container's uid often has none, and kopf would ask for it."""

    def fail() -> NoReturn:
        raise KeyError("getpwuid(): uid not found: 1234")

    async def spawn() -> bool:
        spawned, never = asyncio.Event(), asyncio.Event()

        async def wait() -> None:
            await never.wait()

        wiring = WatchWiring(lambda _: None, lambda: None, spawned.set, wait)
        watching, heard = (
            asyncio.create_task(Watching("default", None, wiring).run()),
            asyncio.create_task(spawned.wait()),
        )
        await asyncio.wait([watching, heard], return_when=asyncio.FIRST_COMPLETED, timeout=20)
        heard.cancel()
        watching.cancel()
        await asyncio.wait([watching])
        return spawned.is_set()

    monkeypatch.setattr(getpass, "getuser", fail)
    monkeypatch.delenv("POD_ID", raising=False)

    assert asyncio.run(spawn())
