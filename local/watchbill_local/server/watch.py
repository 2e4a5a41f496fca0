"""Open watches: from a change in the store to a line in an answer.

Owns the queue of each watch, the translation of changes by its selection (an object that enters it is ADDED, one that
leaves it is DELETED), bookmarks, and the end of a watch.

Invariant: a watch sends every selected change after the version it began at, once and in order, or it ends, so that
the client begins anew. It never skips: one that reads too slowly is cut off, one that asks for a forgotten version
gets an ERROR with status 410.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import orjson

from watchbill_local.server.errors import ApiError, gone
from watchbill_local.server.options import check_counts, check_watch, parse_count
from watchbill_local.server.store import Change, ChangeType, Entry, Store
from watchbill_local.server.values import Obj
from watchbill_local.server.views import Selection, View, render_raw, select

#: Changes that one watch may lag behind before it is cut off.
LONGEST_QUEUE = 20_000
#: Seconds between bookmarks of an open watch; upstream sends one about every minute.
BOOKMARK_SECONDS = 55.0
#: Seconds after which a watch without `timeoutSeconds` ends; spread so that clients do not return all at once.
TIMEOUT_SECONDS = (1800.0, 3600.0)

Send = Callable[[bytes], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class WatchOptions:
    """What a query says about a watch."""

    since: int | None  #: send changes after this version; None: first the present state as ADDED events
    ends_initial: bool  #: mark the end of the initial events by an annotated bookmark
    bookmarks: bool
    timeout: float  #: seconds


class Watch:
    """One open watch; the store feeds it, `run` empties it."""

    def __init__(self, store: Store, selection: Selection, view: View, options: WatchOptions) -> None:
        self._store = store
        self.resource = selection.resource
        self._selection = selection
        self._view = view
        self._options = options
        self._is_over = False  #: to end after what is queued
        self._is_cut = False  #: changes were dropped: to end at once, without a bookmark
        self._queue: list[tuple[ChangeType, Entry, dict[tuple[str, str], bytes]]] = []
        self._wake = asyncio.Event()
        self._header = True  #: the first Table of a watch carries the column definitions

    async def run(self, send: Send) -> None:
        """Send the events of the watch until its time is up, it falls behind, or it is ended."""
        refusal = self._begin()
        if refusal is not None:
            await send(_format_line("ERROR", orjson.dumps(refusal.status())))
            return
        key = self._selection.resource.key
        self._store.listeners[key].add(self.feed)
        try:
            if self._options.ends_initial:
                bookmark = self._bookmark({"annotations": {"k8s.io/initial-events-end": "true"}})
                await send(self._take() + bookmark)
            await self._stream(send)
        finally:
            self._store.listeners[key].discard(self.feed)

    def feed(self, change: Change) -> None:
        """Queue a change if it concerns the selection; cut the watch off when its client does not read."""
        is_told = self._is_cut or change.entry.version <= (self._options.since or 0)  # a watch may begin at one to come
        type_ = None if is_told else self._translate(change)
        if type_ is None:
            return
        if type_ == "DELETED" and change.type != "DELETED":
            self._queue.append((type_, _restate(change), {}))
        else:
            self._queue.append((type_, change.entry, change.lines))
        if len(self._queue) > LONGEST_QUEUE:
            self._queue.clear()
            self._is_cut = self._is_over = True
        self._wake.set()

    def end(self) -> None:
        """Let the stream end after what is queued."""
        self._is_over = True
        self._wake.set()

    def _begin(self) -> ApiError | None:
        """Queue what lies between the version asked for and now; return a 410 where that is not known."""
        since, key = self._options.since, self._selection.resource.key
        if since is None:
            self._queue = [("ADDED", entry, {}) for entry in select(self._store, self._selection)]
            return None
        floor = self._store.floor(key)
        if since < floor:
            return gone(f"too old resource version: {since} ({floor})")
        for change in self._store.changes_since(key, since):
            self.feed(change)
        return None

    async def _stream(self, send: Send) -> None:
        end = time.monotonic() + self._options.timeout
        mark = time.monotonic() + BOOKMARK_SECONDS
        while True:
            await self._wait(min(end, mark) - time.monotonic())
            if self._is_cut:
                return
            lines = self._take()
            is_over = self._is_over or time.monotonic() >= end
            if self._options.bookmarks and (is_over or time.monotonic() >= mark):
                mark = time.monotonic() + BOOKMARK_SECONDS
                lines += self._bookmark()
            if lines:
                await send(lines)
            if is_over:
                return

    async def _wait(self, seconds: float) -> None:
        """Return when something is queued, the watch is over, or `seconds` have passed."""
        if self._queue or self._is_over:
            return
        self._wake.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, seconds)):  # wait_for may lose a cancellation that meets a wake-up
                await self._wake.wait()

    def _translate(self, change: Change) -> ChangeType | None:
        """Return how this watch sees a change; None if it does not."""
        selection, previous = self._selection, change.previous
        if not selection.depends_on_content:
            return change.type if selection.is_selected(change.ident, change.entry) else None
        was_in = previous is not None and selection.is_selected(change.ident, previous)
        if change.type != "DELETED" and selection.is_selected(change.ident, change.entry):
            return "MODIFIED" if was_in else "ADDED"
        return "DELETED" if was_in else None

    def _take(self) -> bytes:
        """Return the lines of everything queued, and empty the queue."""
        queue, self._queue = self._queue, []
        return b"".join([self._line(*event) for event in queue])

    def _line(self, type_: ChangeType, entry: Entry, lines: dict[tuple[str, str], bytes]) -> bytes:
        """Return one event; lines of plain objects are made once for all watches."""
        if self._view.form:
            header, self._header = self._header, False
            return _format_line(type_, self._view.render(entry, time.time(), header=header))
        place = (type_, self._view.resource.api_version)
        if place not in lines:
            lines[place] = _format_line(type_, render_raw(self._view.resource, entry))
        return lines[place]

    def _bookmark(self, marks: Obj | None = None) -> bytes:
        """Return the line that says: everything up to now was sent, or is sent before this line."""
        version = max(self._store.version, self._options.since or 0)
        metadata = {"resourceVersion": str(version), **(marks or {})}
        return _format_line("BOOKMARK", orjson.dumps(self._view.build_bookmark(metadata)))


def parse_watch(query: Mapping[str, str], present: int) -> WatchOptions:
    """Return what a query says about a watch; `present` is the store's version. Raises 400, 422 or 500."""
    initial, text = query.get("sendInitialEvents"), query.get("resourceVersion") or ""
    check_watch(query)
    check_counts(query)
    wants_state = is_true(initial) if initial is not None else text in ("", "0")
    since = None if wants_state else int(text or 0) or present
    bookmarks = is_true(query.get("allowWatchBookmarks"))
    timeout = parse_count(query, "timeoutSeconds") or random.uniform(*TIMEOUT_SECONDS)  # noqa: S311 - only spreads load
    return WatchOptions(since, wants_state and initial is not None and bookmarks, bookmarks, timeout)


def is_true(text: str | None) -> bool:
    """Whether a query parameter is set: to anything but false or 0, as upstream has it."""
    return text is not None and text.lower() not in ("false", "0")


def _restate(change: Change) -> Entry:
    """Return the last state that a watch knew of an object which leaves its selection, under the change's version."""
    assert change.previous is not None, "only a known object can leave a selection"
    obj = change.previous.obj
    metadata = {**obj["metadata"], "resourceVersion": str(change.entry.version)}
    return Entry({**obj, "metadata": metadata}, change.entry.version)


def _format_line(type_: str, body: bytes) -> bytes:
    return b'{"type":"%s","object":%s}\n' % (type_.encode(), body)
