"""A watch whose client does not read: it is cut off, and never lies about what it skipped."""

from __future__ import annotations

import asyncio

from watchbill_local.server import watch
from watchbill_local.server.cluster import Cluster
from watchbill_local.server.registry import CONFIG_MAPS
from watchbill_local.server.store import Change, Entry, Ident
from watchbill_local.server.views import Selection, View


def test_a_watch_that_lags_too_far_ends_without_a_bookmark() -> None:
    """A bookmark would say that everything was sent; without one the client resumes where it was."""

    async def run() -> list[bytes]:
        cluster = Cluster(None)
        cluster.start()
        resource = cluster.registry.builtin(CONFIG_MAPS)
        options = watch.WatchOptions(cluster.store.version, False, True, 60.0)
        slow = watch.Watch(cluster.store, Selection(resource), View(resource), options)
        sent: list[bytes] = []

        async def send(lines: bytes) -> None:
            sent.append(lines)

        change = Change("ADDED", Ident(CONFIG_MAPS, "default", "a"), Entry({"metadata": {"name": "a"}}, 70), None)
        for _ in range(watch.LONGEST_QUEUE + 2):
            slow.feed(change)
        await slow.run(send)
        return sent

    assert asyncio.run(run()) == []


def test_a_cancellation_that_meets_a_change_is_not_lost() -> None:
    """The client has gone in the moment in which something was to be sent; nobody would end the watch later."""

    async def run() -> bool:
        cluster = Cluster(None)
        cluster.start()
        resource = cluster.registry.builtin(CONFIG_MAPS)
        options = watch.WatchOptions(cluster.store.version, False, True, 60.0)
        open_watch = watch.Watch(cluster.store, Selection(resource), View(resource), options)

        async def send(lines: bytes) -> None:
            """Take everything."""

        task = asyncio.create_task(open_watch.run(send))
        for _ in range(5):  # until it waits
            await asyncio.sleep(0)
        assert cluster.store.listeners[CONFIG_MAPS]
        open_watch.feed(
            Change(
                "ADDED",
                Ident(CONFIG_MAPS, "default", "a"),
                Entry({"apiVersion": "v1", "metadata": {"name": "a"}}, 7),
                None,
            )
        )
        task.cancel()
        done, _ = await asyncio.wait({task}, timeout=5)
        return bool(done) and task.cancelled()

    assert asyncio.run(run())
