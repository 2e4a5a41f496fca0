"""How often everything is compared, when nothing happens and when watches begin again and again."""

from __future__ import annotations

import asyncio
import time

import pytest

from support.skipped_time import SkippedTime, let_pass
from watchbill_operator.reconcile import RECONCILE_SHARE, SECOND_LISTING_SECONDS, Listing, Pace

SECONDS = 60.0
LIST_SECONDS = 2.0
AN_HOUR = 3600.0


async def compare(pace: Pace, times: list[float]) -> None:
    """Compare for ever, each time with a LIST that takes its time; note when one begins."""
    while True:
        await pace.wait()
        times.append(time.monotonic())
        await let_pass(LIST_SECONDS)
        pace.note(Listing(seconds=LIST_SECONDS))


async def doubt(pace: Pace, every: float) -> None:
    """Let watches begin for ever."""
    while True:
        pace.doubt()
        await let_pass(every)


async def comparisons(*, doubt_every: float, seconds: float) -> list[float]:
    """When comparisons began, in seconds after the start."""
    started = time.monotonic()
    pace, times = Pace(SECONDS), list[float]()
    running = [asyncio.create_task(compare(pace, times)), asyncio.create_task(doubt(pace, doubt_every))]
    await let_pass(seconds)
    for each in running:
        each.cancel()
    return [moment - started for moment in times]


def test_comparing_keeps_to_its_share_though_watches_begin_all_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that ends every watch at once does not keep the operator busy with comparing."""
    times = SkippedTime(monkeypatch).run(comparisons(doubt_every=1.0, seconds=AN_HOUR), seconds=2 * AN_HOUR)

    assert (len(times) - 1) * LIST_SECONDS <= AN_HOUR / RECONCILE_SHARE


def test_the_first_comparison_comes_soon_after_the_first_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing was compared before, so there is nothing to rest from."""
    times = SkippedTime(monkeypatch).run(comparisons(doubt_every=AN_HOUR, seconds=SECONDS))

    assert times == [pytest.approx(SECOND_LISTING_SECONDS)]


def test_a_watch_that_begins_after_the_rest_is_followed_by_a_comparison_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pause between comparisons is not waited for."""

    async def run() -> float:
        pace = Pace(AN_HOUR)
        pace.note(Listing(seconds=LIST_SECONDS))
        await let_pass(LIST_SECONDS * RECONCILE_SHARE)
        pace.doubt()
        doubted = time.monotonic()
        await pace.wait()
        return time.monotonic() - doubted

    assert SkippedTime(monkeypatch).run(run()) == pytest.approx(SECOND_LISTING_SECONDS)
