"""Events go an hour after they were last written, as with kube-apiserver's `--event-ttl`.

Owns the queue of what will expire, in the order of writing, which is the order of expiring, and one timer for its
head. An event that was written again waits in the queue once more; its earlier place means nothing then. Events of an
earlier process count from the times that they name.

Invariant: an event is never deleted before its time, and is gone soon after it. Watchers see it go like any other
object. Only events expire.
"""

from __future__ import annotations

import asyncio
import collections
import logging
import time

from watchbill_local.server.registry import EVENTS
from watchbill_local.server.store import Change, Entry, Ident, Store
from watchbill_local.server.times import parse_time
from watchbill_local.server.values import copy_value

log = logging.getLogger(__name__)

#: Seconds that an event is kept; upstream's default.
EVENT_TTL = 3600.0
#: Events that are taken away before requests are looked at again, and seconds until the next try when the disk is full.
_AT_ONCE, _RETRY_SECONDS = 200, 60.0


class Expiry:
    """Takes away the events of a store when their time is over. Start it inside a running event loop."""

    def __init__(self, store: Store, ttl: float = EVENT_TTL) -> None:
        self._store = store
        self._ttl = ttl  #: seconds
        self._queue: collections.deque[tuple[float, Ident, int]] = collections.deque()  #: end, event, version
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Queue the events that are there already, and follow those that come."""
        for ident, entry in sorted(self._store.entries(EVENTS), key=lambda item: _last_seen(item[1])):
            self._queue.append((_last_seen(entry) + self._ttl, ident, entry.version))
        self._store.hooks.append(self.note)
        self._set_timer(0.0)

    def note(self, change: Change) -> None:
        """Queue an event that was written."""
        if change.ident.key == EVENTS and change.type != "DELETED":
            self._queue.append((time.time() + self._ttl, change.ident, change.entry.version))
            self._set_timer(self._ttl)

    def expire(self) -> None:
        """Take away some of what is over, and come back for the rest."""
        self._timer, wait = None, 0.0
        for _ in range(_AT_ONCE):
            if not self._queue or self._queue[0][0] > time.time():
                break
            try:
                self._drop(*self._queue[0][1:])
            except OSError:
                log.exception("events are kept longer than they should be")
                wait = _RETRY_SECONDS
                break
            self._queue.popleft()
        if self._queue:
            self._set_timer(max(wait, self._queue[0][0] - time.time()))

    def _drop(self, ident: Ident, version: int) -> None:
        entry = self._store.get(ident)
        if entry is not None and entry.version == version:
            self._store.put(ident, copy_value(entry.obj), is_deleted=True)

    def _set_timer(self, seconds: float) -> None:
        if self._timer is None and self._queue:
            self._timer = asyncio.get_running_loop().call_later(seconds, self.expire)


def _last_seen(entry: Entry) -> float:
    """Return when an event of an earlier process was last written, as far as it says so; seconds since the epoch."""
    obj = entry.obj
    texts = (obj.get("lastTimestamp"), obj.get("eventTime"), obj["metadata"].get("creationTimestamp"))
    return max((parse_time(text) or 0.0 for text in texts if text), default=0.0)
