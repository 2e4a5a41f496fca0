"""Events expire an hour after they were last written, on a clock of the test's own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from watchbill_local.server import expiry
from watchbill_local.server.expiry import EVENT_TTL, Expiry
from watchbill_local.server.registry import CONFIG_MAPS, EVENTS
from watchbill_local.server.store import Ident, Store
from watchbill_local.server.values import Obj

START = 1_800_000_000.0  #: 2027-01-15T08:00:00Z


class Clock:
    """Seconds since the epoch, as a test sets them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = START
        monkeypatch.setattr(expiry.time, "time", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock that the module reads."""
    return Clock(monkeypatch)


def write(store: Store, name: str, key: tuple[str, str] = EVENTS, **content: object) -> None:
    """Store an object, or store it again."""
    obj: Obj = {"apiVersion": "v1", "kind": "Event", "metadata": {"name": name, "uid": f"uid-{name}"}, **content}
    store.put(Ident(key, "default", name), obj)


def run(test: Callable[[Store, Expiry], list[str]]) -> list[str]:
    """Run a test in an event loop, with a store whose events expire."""

    async def inside() -> list[str]:
        store = Store()
        return test(store, Expiry(store))

    return asyncio.run(inside())


def names(store: Store, key: tuple[str, str] = EVENTS) -> list[str]:
    """Return the names of the objects of a kind that are there."""
    return [ident.name for ident, _ in store.entries(key)]


def test_an_event_goes_when_its_time_is_over(clock: Clock) -> None:
    """One that was written later stays."""

    def test(store: Store, events: Expiry) -> list[str]:
        events.start()
        write(store, "early")
        clock.now += 1
        write(store, "late")
        clock.now = START + EVENT_TTL
        events.expire()
        return names(store)

    assert run(test) == ["late"]


def test_an_event_that_is_written_again_has_its_time_anew(clock: Clock) -> None:
    """As an event that is counted up."""

    def test(store: Store, events: Expiry) -> list[str]:
        events.start()
        write(store, "one")
        clock.now += 10
        write(store, "one", count=2)
        clock.now = START + EVENT_TTL
        events.expire()
        return names(store)

    assert run(test) == ["one"]


def test_nothing_else_expires(clock: Clock) -> None:
    """However old it is."""

    def test(store: Store, events: Expiry) -> list[str]:
        events.start()
        write(store, "one", CONFIG_MAPS)
        clock.now += 100 * EVENT_TTL
        events.expire()
        return names(store, CONFIG_MAPS)

    assert run(test) == ["one"]


def test_events_of_an_earlier_process_count_from_what_they_say(clock: Clock) -> None:
    """The latest time that one names."""

    def test(store: Store, events: Expiry) -> list[str]:
        write(store, "old", lastTimestamp="2027-01-15T06:59:59Z")
        write(store, "counted", firstTimestamp="2027-01-15T06:00:00Z", lastTimestamp="2027-01-15T07:30:00Z")
        write(store, "new", eventTime="2027-01-15T07:59:59.000000Z")
        events.start()
        events.expire()
        return names(store)

    assert run(test) == ["counted", "new"]


def test_many_go_in_more_than_one_go(clock: Clock) -> None:
    """Requests are served in between; the rest follows by itself."""

    async def inside() -> int:
        store = Store()
        events = Expiry(store)
        events.start()
        for number in range(500):
            write(store, f"event-{number}")
        clock.now += EVENT_TTL
        is_empty = asyncio.Event()
        store.hooks.append(lambda change: None if names(store) else is_empty.set())
        events.expire()
        left = len(names(store))
        await asyncio.wait_for(is_empty.wait(), 5)
        return left

    assert asyncio.run(inside()) == 300


def test_a_full_disk_puts_the_end_off(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """The event is still there, and goes later."""

    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    def test(store: Store, events: Expiry) -> list[str]:
        events.start()
        write(store, "one")
        clock.now += EVENT_TTL
        with monkeypatch.context() as patch:
            patch.setattr(store, "put", fail)
            events.expire()
        assert names(store) == ["one"]
        events.expire()
        return names(store)

    assert run(test) == []
