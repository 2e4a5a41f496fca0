"""Open watches: from a change in the store to a line in an answer.

Owns the queue of each watch, the translation of changes by its selection (an object that enters it is ADDED, one that
leaves it is DELETED), bookmarks, and the end of a watch.

Invariant: a watch sends every selected change after the version it began at, once and in order, or it ends, so that
the client begins anew. It never skips: one that reads too slowly is cut off, one that asks for a forgotten version
gets an ERROR with status 410.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import orjson

from watchbill_local.server.errors import ApiError, Cause, Named, gone, invalid
from watchbill_local.server.lists import Selection, parse_count, parse_version, select
from watchbill_local.server.shapes import View, build_bookmark, render_entry, render_raw
from watchbill_local.server.store import Change, ChangeType, Entry, Store

#: Changes that one watch may lag behind before it is cut off.
LONGEST_QUEUE = 20_000
#: Seconds between bookmarks of an open watch; upstream sends one about every minute.
BOOKMARK_SECONDS = 55.0
#: Seconds after which a watch without `timeoutSeconds` ends; spread so that clients do not return all at once.
TIMEOUT_SECONDS = (1800.0, 3600.0)

_LIST_OPTIONS = Named(group="meta.k8s.io", version="v1", plural="listoptions", kind="ListOptions")


@dataclass(frozen=True, slots=True)
class WatchOptions:
    """What a query says about a watch."""

    since: int | None  #: send changes after this version; None: first the present state as ADDED events
    ends_initial: bool  #: mark the end of the initial events by an annotated bookmark
    bookmarks: bool
    timeout: float  #: seconds


class Watch:
    """One open watch; the store feeds it, `stream` empties it."""

    def __init__(self, selection: Selection, view: View) -> None:
        self.selection = selection
        self.view = view
        self.is_over = False  #: to end after what is queued
        self.is_cut = False  #: changes were dropped: to end at once, without a bookmark
        self._queue: list[tuple[ChangeType, Entry, Change | None]] = []
        self._wake = asyncio.Event()
        self._header = True  #: the first Table of a watch carries the column definitions

    def feed(self, change: Change) -> None:
        """Queue a change if it concerns the selection; cut the watch off when its client does not read."""
        type_ = None if self.is_cut else self._translate(change)
        if type_ is None:
            return
        if type_ == "DELETED" and change.type != "DELETED":
            self._queue.append((type_, _restate(change), None))
        else:
            self._queue.append((type_, change.entry, change))
        if len(self._queue) > LONGEST_QUEUE:
            self._queue.clear()
            self.is_cut = self.is_over = True
        self._wake.set()

    def feed_initial(self, entries: list[Entry]) -> None:
        """Queue the present state."""
        self._queue.extend(("ADDED", entry, None) for entry in entries)

    def end(self) -> None:
        """Let the stream end after what is queued."""
        self.is_over = True
        self._wake.set()

    async def wait(self, seconds: float) -> None:
        """Return when something is queued, the watch is over, or `seconds` have passed."""
        if self._queue or self.is_over:
            return
        self._wake.clear()
        try:
            await asyncio.wait_for(self._wake.wait(), max(0.0, seconds))
        except TimeoutError:
            return

    def take(self, now: float) -> bytes:
        """Return the lines of everything queued, and empty the queue."""
        queue, self._queue = self._queue, []
        return b"".join([self._line(type_, entry, change, now) for type_, entry, change in queue])

    def bookmark(self, version: int, *, ends_initial: bool = False) -> bytes:
        """Return the line that says: everything up to `version` was sent."""
        obj = build_bookmark(self.view, version, ends_initial=ends_initial, header=self._header)
        self._header = False
        return orjson.dumps({"type": "BOOKMARK", "object": obj}) + b"\n"

    def _translate(self, change: Change) -> ChangeType | None:
        """Return how this watch sees a change; None if it does not."""
        selection = self.selection
        if not selection.depends_on_content:
            return change.type if selection.is_selected(change.ident, change.entry) else None
        previous = change.previous
        is_in = change.type != "DELETED" and selection.is_selected(change.ident, change.entry)
        was_in = previous is not None and selection.is_selected(change.ident, previous)
        if is_in:
            return "MODIFIED" if was_in else "ADDED"
        return "DELETED" if was_in else None

    def _line(self, type_: ChangeType, entry: Entry, change: Change | None, now: float) -> bytes:
        """Return one event; lines of plain objects are made once for all watches."""
        resource = self.view.resource
        if self.view.form.shape != "object":
            body = render_entry(self.view, entry, now, header=self._header)
            self._header = False
            return b'{"type":"%s","object":%s}\n' % (type_.encode(), body)
        place = (type_, resource.api_version)
        line = change.lines.get(place) if change else None
        if line is None:
            line = b'{"type":"%s","object":%s}\n' % (type_.encode(), render_raw(resource, entry))
            if change:
                change.lines[place] = line
        return line


class Watches:
    """All open watches of a server."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._open: set[Watch] = set()

    async def run(self, watch: Watch, options: WatchOptions, send: Callable[[bytes], Awaitable[None]]) -> None:
        """Send the events of a watch until its time is up, it falls behind, or the server stops."""
        key = watch.selection.resource.key
        refusal = self._begin(watch, options)
        if refusal is not None:
            await send(orjson.dumps({"type": "ERROR", "object": refusal.status()}) + b"\n")
            return
        self._open.add(watch)
        self._store.listen(key, watch)
        try:
            if options.ends_initial:
                version = self._store.version
                await send(watch.take(time.time()) + watch.bookmark(version, ends_initial=True))
            await self._stream(watch, options, send)
        finally:
            self._store.unlisten(key, watch)
            self._open.discard(watch)

    def end_all(self) -> None:
        """Let every open watch end."""
        for watch in self._open:
            watch.end()

    def _begin(self, watch: Watch, options: WatchOptions) -> ApiError | None:
        """Queue what lies between the version asked for and now; return a 410 where that is not known."""
        key = watch.selection.resource.key
        if options.since is None:
            watch.feed_initial(select(self._store, watch.selection))
            return None
        floor = self._store.floor(key)
        if options.since < floor or options.since > self._store.version:
            return gone(f"too old resource version: {options.since} ({floor})")
        for change in self._store.changes_since(key, options.since):
            watch.feed(change)
        return None

    async def _stream(self, watch: Watch, options: WatchOptions, send: Callable[[bytes], Awaitable[None]]) -> None:
        end = time.monotonic() + options.timeout
        mark = time.monotonic() + BOOKMARK_SECONDS
        while True:
            await watch.wait(min(end, mark) - time.monotonic())
            if watch.is_cut:
                return
            version = self._store.version
            lines = watch.take(time.time())
            is_over = watch.is_over or time.monotonic() >= end
            if options.bookmarks and (is_over or time.monotonic() >= mark):
                mark = time.monotonic() + BOOKMARK_SECONDS
                lines += watch.bookmark(version)
            if lines:
                await send(lines)
            if is_over:
                return


def parse_watch(query: Mapping[str, str], present: int) -> WatchOptions:
    """Return what a query says about a watch; `present` is the store's version. Raises 400 or 422."""
    initial, text = query.get("sendInitialEvents"), query.get("resourceVersion") or ""
    if initial is not None and query.get("resourceVersionMatch") != "NotOlderThan":
        text = "Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
        raise invalid(_LIST_OPTIONS, "", [Cause("FieldValueForbidden", "resourceVersionMatch", text)])
    bookmarks = is_true(query.get("allowWatchBookmarks"))
    version = parse_version(query)
    wants_state = is_true(initial) if initial is not None else text in ("", "0")
    since = None if wants_state else version or present
    timeout = parse_count(query, "timeoutSeconds") or random.uniform(*TIMEOUT_SECONDS)  # noqa: S311 - only spreads load
    return WatchOptions(since, wants_state and initial is not None and bookmarks, bookmarks, timeout)


def _restate(change: Change) -> Entry:
    """Return the last state that a watch knew of an object which leaves its selection, under the change's version."""
    assert change.previous is not None, "only a known object can leave a selection"
    obj = change.previous.obj
    metadata = {**obj["metadata"], "resourceVersion": str(change.entry.version)}
    return Entry({**obj, "metadata": metadata}, change.entry.version)


def is_true(text: str | None) -> bool:
    """Whether a query parameter is set, in the two spellings that clients use."""
    return text in ("true", "1", "True")
