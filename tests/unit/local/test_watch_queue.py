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

        change = Change("ADDED", Ident(CONFIG_MAPS, "default", "a"), Entry({"metadata": {"name": "a"}}, 7), None)
        for _ in range(watch.LONGEST_QUEUE + 2):
            slow.feed(change)
        await slow.run(send)
        return sent

    assert asyncio.run(run()) == []
