"""Every object, every recent change, and who listens.

Owns the resource versions: one counter for all kinds, raised by exactly one with each change. Owns the bounded
history that a watch resumes from, the fan-out of changes to watchers, and the index from owners to dependants.

Invariant: a stored object is never changed in place; a new state is a new object under a new version. So a
reference read from here stays a true snapshot for as long as it is held, and its JSON is made once.
Every change is in the journal before anybody can see it.

Never checks an object, never talks HTTP; it runs in one event loop and takes no lock.
"""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import orjson

from watchbill_local.server.journal import Journal, Record
from watchbill_local.server.values import Obj, copy_value

Key = tuple[str, str]  #: where a kind is stored: group and plural
ChangeType = Literal["ADDED", "MODIFIED", "DELETED"]

#: What a kind's history holds at most: changes, and bytes of JSON.
HISTORY_CHANGES, HISTORY_BYTES = 2000, 32 * 1024 * 1024


class Ident(NamedTuple):
    """Where one object is found; the namespace is empty for cluster-wide kinds."""

    key: Key
    namespace: str
    name: str


class Entry:
    """One state of one object. `raw` is its JSON in the storage version."""

    __slots__ = ("obj", "raw", "version")

    def __init__(self, obj: Obj, version: int, raw: bytes | None = None) -> None:
        self.obj = obj
        self.version = version
        self.raw = orjson.dumps(obj) if raw is None else raw


@dataclass(slots=True)
class Change:
    """One change as watchers see it. Of a deletion `entry` is the last state under the deletion's version."""

    type: ChangeType
    ident: Ident
    entry: Entry
    previous: Entry | None
    lines: dict[tuple[str, str], bytes] = field(default_factory=dict)  #: watch lines made once for all watchers


Listener = Callable[[Change], None]
"""Takes note of a change; must not block and not raise."""


class Store:
    """Objects by kind and name, with their history."""

    def __init__(self, journal: Journal | None = None) -> None:
        self.version = 1
        self.hooks: list[Listener] = []  #: of all kinds
        self.uids: dict[str, Ident] = {}
        self._journal = journal or Journal(None)
        self._objects: dict[Key, dict[tuple[str, str], Entry]] = collections.defaultdict(dict)
        self._history: dict[Key, collections.deque[Change]] = collections.defaultdict(collections.deque)
        self._history_bytes: collections.Counter[Key] = collections.Counter()
        self._floor: collections.Counter[Key] = collections.Counter()
        self._base = 0  #: versions up to here are known only as a snapshot
        self.listeners: dict[Key, set[Listener]] = collections.defaultdict(set)  #: of one kind each
        self._dependants: dict[str, set[Ident]] = collections.defaultdict(set)

    def get(self, ident: Ident) -> Entry | None:
        """Return the present state of an object."""
        return self._objects[ident.key].get((ident.namespace, ident.name))

    def entries(self, key: Key, namespace: str | None = None, version: int | None = None) -> list[tuple[Ident, Entry]]:
        """Return the objects of a kind (of one namespace) sorted by namespace and name.

        With a `version`, which is not below the floor, they are returned as they were then.
        """
        objects = self._objects[key] if version in (None, self.version) else self._rewind(key, version or 0)
        found = [item for item in objects.items() if namespace is None or item[0][0] == namespace]
        found.sort(key=lambda item: item[0])
        return [(Ident(key, *place), entry) for place, entry in found]

    def contents(self, namespace: str) -> list[Ident]:
        """Return all objects of a namespace, kind by kind."""
        return [
            Ident(key, *place) for key, objects in self._objects.items() for place in objects if place[0] == namespace
        ]

    def dependants(self, uid: str) -> list[Ident]:
        """Return the objects that name `uid` as an owner, sorted."""
        return sorted(self._dependants.get(uid, ()))

    def put(self, ident: Ident, obj: Obj, *, is_deleted: bool = False) -> Entry:
        """Make `obj` the present state (or the last one) under the next version, and tell all listeners.

        The store owns `obj` from here on. Raises OSError when the journal does not take the change; nothing has
        happened then.
        """
        obj["metadata"]["resourceVersion"] = str(self.version + 1)
        entry = Entry(obj, self.version + 1)
        self._journal.append(_record(ident, entry, is_deleted=is_deleted), entry.raw)
        change = self._apply(ident, entry, is_deleted=is_deleted)
        for listener in (*self.listeners[ident.key], *self.hooks):
            listener(change)
        if self._journal.is_mostly_garbage(len(self.uids)):
            self._journal.compact(self.version, self._snapshot())
        return entry

    def reform(self, key: Key, change: Callable[[Obj], None]) -> None:
        """Apply `change` to a copy of each object of a kind, under its old version: what a new default does.

        Nobody is told, as upstream fills in defaults whenever it reads an object.
        """
        for place, entry in self._objects[key].items():
            obj = copy_value(entry.obj)
            change(obj)
            if obj != entry.obj:
                self._objects[key][place] = Entry(obj, entry.version)

    def floor(self, key: Key) -> int:
        """Return the oldest version from which a watch of this kind can still be resumed."""
        return max(self._base, self._floor[key])

    def changes_since(self, key: Key, version: int) -> Iterator[Change]:
        """Yield the changes of a kind after `version`, which is not below the floor."""
        return (change for change in self._history[key] if change.entry.version > version)

    def load(self) -> int:
        """Read the journal back, history included, without telling anybody. Return the number of objects."""
        for record, raw, obj in self._journal.load():
            if record.kind == "version":
                self.version = self._base = record.version
            else:
                ident = Ident((record.group, record.plural), record.namespace, record.name)
                self._apply(ident, Entry(obj, record.version, raw), is_deleted=record.kind == "deleted")
        return len(self.uids)

    def close(self) -> None:
        """Close the journal."""
        self._journal.close()

    def _rewind(self, key: Key, version: int) -> dict[tuple[str, str], Entry]:
        """Return the objects of a kind at an earlier version: those of now, with all later changes undone."""
        objects = dict(self._objects[key])
        for change in reversed(list(self.changes_since(key, version))):
            place = (change.ident.namespace, change.ident.name)
            objects.pop(place, None)
            if change.previous is not None:
                objects[place] = change.previous
        return objects

    def _apply(self, ident: Ident, entry: Entry, *, is_deleted: bool) -> Change:
        """Bring objects, index and history up to `entry`."""
        self.version = max(self.version, entry.version)
        objects, place = self._objects[ident.key], (ident.namespace, ident.name)
        previous = objects.pop(place, None) if is_deleted else objects.get(place)
        if not is_deleted:
            objects[place] = entry
        self._index(ident, previous, None if is_deleted else entry)
        change = Change("DELETED" if is_deleted else "MODIFIED" if previous else "ADDED", ident, entry, previous)
        self._remember(ident.key, change)
        return change

    def _remember(self, key: Key, change: Change) -> None:
        """Append to the history and drop what passes its bounds."""
        history = self._history[key]
        history.append(change)
        self._history_bytes[key] += len(change.entry.raw)
        while len(history) > HISTORY_CHANGES or (self._history_bytes[key] > HISTORY_BYTES and len(history) > 1):
            dropped = history.popleft().entry
            self._history_bytes[key] -= len(dropped.raw)
            self._floor[key] = dropped.version

    def _index(self, ident: Ident, old: Entry | None, new: Entry | None) -> None:
        """Keep uids and owners in step with one change of state."""
        before, after = _owners_of(old), _owners_of(new)
        for owner in before - after:
            self._dependants[owner].discard(ident)
            if not self._dependants[owner]:
                del self._dependants[owner]
        for owner in after - before:
            self._dependants[owner].add(ident)
        if new is not None:
            self.uids[new.obj["metadata"]["uid"]] = ident
        elif old is not None:
            self.uids.pop(old.obj["metadata"]["uid"], None)

    def _snapshot(self) -> Iterator[tuple[Record, bytes]]:
        """Yield one record for each present object."""
        for ident in self.uids.values():
            entry = self.get(ident)
            if entry is not None:
                yield _record(ident, entry), entry.raw


def _record(ident: Ident, entry: Entry, *, is_deleted: bool = False) -> Record:
    return Record("deleted" if is_deleted else "stored", *ident.key, ident.namespace, ident.name, entry.version)


def _owners_of(entry: Entry | None) -> set[str]:
    """Return the uids of an object's owners."""
    if entry is None:
        return set()
    return {owner.get("uid", "") for owner in entry.obj["metadata"].get("ownerReferences") or ()}
