"""While the API takes nothing, the operator tries seldom and says why once."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, cast

import pytest

from support.skipped_time import SkippedTime, let_pass
from watchbill_operator.actions import WAITING_EVENTS, Announcer
from watchbill_operator.api import TASKS, Api, NotAllowedError, Request, UnavailableError
from watchbill_operator.outages import FIRST_PAUSE_SECONDS, MAX_PAUSE_SECONDS, Outage
from watchbill_operator.patching import PARALLEL, Patcher, Rank, Target

OBJECTS = 300
MINUTES_TEN = 600.0


class NoRights:
    """An API that forbids everything until it is told otherwise."""

    def __init__(self) -> None:
        self.calls = 0
        self.tries = 0
        self.granted = False
        self.taken = set[str]()
        self.under_way = 0
        self.most_under_way = 0

    async def send(self, request: Request, *, attempts: int = 5) -> dict[str, Any]:
        """Answer after a moment."""
        self.calls += 1
        self.tries += attempts
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        await asyncio.sleep(0.01)
        self.under_way -= 1
        if not self.granted:
            raise NotAllowedError(403, f'forbidden: User "x" cannot {request.verb} {request.path}')
        self.taken.add(request.path)
        return {}

    def forget(self) -> None:
        """Count from here."""
        self.calls = self.tries = self.most_under_way = 0


def crowd(api: NoRights) -> Patcher:
    """A patcher for which many tasks wait that have ended."""
    settled = asyncio.Event()
    settled.set()
    patcher = Patcher(cast("Api", api), lambda _: {}, settled, epoch=1, on_fence=lambda said: None)
    for number in range(OBJECTS):
        patcher.offer(Target(TASKS, f"t{number}", f"uid-{number}"), Rank.ENDED)
    return patcher


def announcer(api: NoRights) -> Announcer:
    """An announcer for which as many Events wait as can."""
    made = Announcer(cast("Api", api))
    made.post({"metadata": {"name": f"e{number}"}} for number in range(WAITING_EVENTS))
    return made


async def run_for(sender: Patcher | Announcer, seconds: float) -> asyncio.Task[None]:
    """Let it send for so long."""
    running = asyncio.create_task(sender.run())
    await let_pass(seconds)
    return running


def test_pauses_grow_up_to_their_limit() -> None:
    """An API that is away for long is asked seldom."""
    outage, now, pauses = Outage("things"), 0.0, []
    for _ in range(8):
        outage.fail(UnavailableError(0, "refused"), now)
        pauses.append(outage.until - now)
        now = outage.until

    assert pauses == [FIRST_PAUSE_SECONDS * 2**n for n in range(5)] + [MAX_PAUSE_SECONDS] * 3


def test_what_was_under_way_makes_no_pause_longer() -> None:
    """Twelve patches that fail at once are one failure."""
    outage = Outage("things")
    for _ in range(PARALLEL):
        outage.fail(UnavailableError(0, "refused"), 10.0)

    assert outage.until == 10.0 + FIRST_PAUSE_SECONDS


def test_an_answer_ends_the_outage() -> None:
    """The next one begins anew."""
    outage = Outage("things")
    outage.fail(UnavailableError(0, "refused"), 10.0)
    outage.end()

    assert not outage.lasts
    assert outage.until <= 10.0


@pytest.mark.parametrize("make", [crowd, announcer])
def test_without_rights_requests_become_rare(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """However much waits to be sent."""
    api = NoRights()

    async def run() -> None:
        running = await run_for(make(api), MINUTES_TEN)
        api.forget()
        await let_pass(MINUTES_TEN)
        running.cancel()

    SkippedTime(monkeypatch).run(run())
    assert 1 <= api.tries <= MINUTES_TEN / MAX_PAUSE_SECONDS + 1
    assert api.most_under_way == 1


@pytest.mark.parametrize("make", [crowd, announcer])
def test_a_missing_right_is_told_once(
    make: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """And not once for each object."""
    api = NoRights()

    async def run() -> None:
        (await run_for(make(api), MINUTES_TEN)).cancel()

    with caplog.at_level(logging.WARNING):
        SkippedTime(monkeypatch).run(run())
    assert len(caplog.messages) == 1


def test_all_statuses_are_sent_once_the_right_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the latest after the longest pause, and many at once again."""
    api = NoRights()

    async def run() -> None:
        running = await run_for(crowd(api), MINUTES_TEN)
        api.forget()
        api.granted = True
        await let_pass(MAX_PAUSE_SECONDS + 5)
        running.cancel()

    SkippedTime(monkeypatch).run(run())
    assert len(api.taken) == OBJECTS
    assert api.most_under_way == PARALLEL
