"""Everything that a server holds, put together.

Owns the order in which the parts wake: objects from the journal, then the custom kinds, then the collector, which
takes up what an earlier process left undone. Nothing here talks HTTP, so tests can drive it alone.
"""

from __future__ import annotations

from watchbill_local.server.discovery import Discovery
from watchbill_local.server.garbage import Collector
from watchbill_local.server.journal import Journal
from watchbill_local.server.kinds import build_kinds
from watchbill_local.server.lists import Lists
from watchbill_local.server.objects import Objects
from watchbill_local.server.registry import Definitions, Registry
from watchbill_local.server.store import HISTORY_CHANGES, Store
from watchbill_local.server.watch import Watches


class Cluster:
    """The state of one server. Start it inside a running event loop."""

    def __init__(self, journal_path: str | None, history_changes: int = HISTORY_CHANGES) -> None:
        self.store = Store(Journal(journal_path), history_changes)
        self.registry = Registry(build_kinds())
        self.objects = Objects(self.store, self.registry)
        self.lists = Lists(self.store)
        self.watches = Watches(self.store)
        self.discovery = Discovery(self.registry)
        self._definitions = Definitions(self.store, self.registry)
        self._collector = Collector(self.objects)

    def start(self) -> int:
        """Load everything and begin to follow changes. Return the number of objects loaded. Raises OSError."""
        loaded = self.store.load()
        self._definitions.start()
        self._collector.start()
        return loaded

    def stop(self) -> None:
        """End the watches and close the journal; no write may follow."""
        self.watches.end_all()
        self.store.close()
