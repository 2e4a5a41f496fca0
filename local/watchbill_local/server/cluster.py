"""Everything that a server holds, put together.

Owns the order in which the parts wake: objects from the journal, then the custom kinds, then the collector, which
takes up what an earlier process left undone. Keeps the served resources in step with the stored definitions, within
the change that stores one, so a client that has seen a definition can use its kind.

Nothing here talks HTTP, so tests can drive it alone.
"""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import logging
import weakref

from watchbill_local.server.crds import build_resources, fill_crd, is_established, list_names
from watchbill_local.server.expiry import EVENT_TTL, Expiry
from watchbill_local.server.garbage import Collector
from watchbill_local.server.journal import Journal
from watchbill_local.server.kinds import build_kinds
from watchbill_local.server.objects import Objects
from watchbill_local.server.registry import DEFINITIONS, Registry
from watchbill_local.server.resource import Resource
from watchbill_local.server.store import Change, Store
from watchbill_local.server.times import now_iso
from watchbill_local.server.values import Obj, copy_value, dig
from watchbill_local.server.views import Lists
from watchbill_local.server.watch import Watch

log = logging.getLogger(__name__)


class Cluster:
    """The state of one server. Start it inside a running event loop."""

    def __init__(self, journal_path: str | None, event_ttl: float = EVENT_TTL) -> None:
        self.store = Store(Journal(journal_path))
        kinds = build_kinds()
        definitions = next(each for each in kinds if each.key == DEFINITIONS)
        kinds.remove(definitions)
        self.registry = Registry([*kinds, dataclasses.replace(definitions, fill=self._fill_definition)])
        self.objects = Objects(self.store, self.registry)
        self.lists = Lists(self.store)
        self.watches: weakref.WeakSet[Watch] = weakref.WeakSet()  #: all that are open
        self._collector = Collector(self.objects)
        self._expiry = Expiry(self.store, event_ttl)

    def start(self) -> int:
        """Load everything and begin to follow changes. Return the number of objects loaded. Raises OSError."""
        loaded = self.store.load()
        for _, entry in self.store.entries(DEFINITIONS):
            self._install(entry.obj)
        self.store.hooks.append(self._note_definition)
        self._collector.start()
        self._expiry.start()
        return loaded

    def end_watches(self) -> None:
        """Let every open watch end."""
        for watch in self.watches:
            watch.end()

    def _note_definition(self, change: Change) -> None:
        """Take a new, changed or deleted definition into effect."""
        if change.ident.key != DEFINITIONS:
            return
        if change.type == "DELETED":
            self.registry.install(change.ident.name, ())
            for watch in self.watches:
                if watch.resource.crd == change.ident.name:
                    watch.end()
            asyncio.get_running_loop().call_soon(self._name_again)
        elif change.previous is None or _serves_otherwise(change.previous.obj, change.entry.obj):
            self._install(change.entry.obj)

    def _fill_definition(self, value: Obj, old: Obj | None, now: str) -> None:
        """Fill in a definition, beside the names that others of its group have."""
        name, group = value["metadata"].get("name"), dig(value, "spec", "group")
        others = [entry.obj for _, entry in self.store.entries(DEFINITIONS) if entry.obj["metadata"]["name"] != name]
        names = [dig(each, "status", "acceptedNames") or {} for each in others if each["spec"]["group"] == group]
        fill_crd(value, old, now, set().union(*(list_names(each) for each in names)))

    def _name_again(self) -> None:
        """Serve the kinds that waited for names which have become free."""
        for ident, entry in list(self.store.entries(DEFINITIONS)):
            if not is_established(entry.obj):
                obj = copy_value(entry.obj)
                self._fill_definition(obj, entry.obj, now_iso())
                if obj != entry.obj:
                    self.store.put(ident, obj)

    def _install(self, definition: Obj) -> None:
        name = definition["metadata"]["name"]
        try:
            resources = build_resources(definition)
        except (KeyError, TypeError, ValueError):
            log.exception("the definition %s cannot be served; its kind stays as it was", name)
            return
        self.registry.install(name, resources)
        for key in {resource.key for resource in resources}:
            self.store.reform(key, functools.partial(_fill_defaults, resources))


def _serves_otherwise(old: Obj, new: Obj) -> bool:
    """Whether a definition says another thing of its kind than before, or has begun to go."""
    is_going = [bool(each["metadata"].get("deletionTimestamp")) for each in (old, new)]
    is_other = old["spec"] != new["spec"] or is_established(old) != is_established(new)
    return bool(is_other) or is_going[0] != is_going[1]


def _fill_defaults(resources: list[Resource], obj: Obj) -> None:
    """Give an object that was stored earlier the defaults that its kind has now."""
    for resource in resources:
        if resource.schema is not None and resource.api_version == obj["apiVersion"]:
            resource.schema.fill_defaults(obj)
