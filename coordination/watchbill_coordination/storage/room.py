"""Whether the volume has room for new work.

Owns the rule: below 4 MiB of free space new work is held, from 8 MiB on it is started again, so that a volume at the
edge does not flap; an append that found no space holds it too, as under a quota that nobody can read. A file system
that tells no sizes is never called full by them. Looks at most once a second. Writes nothing but the log's reserve.
"""

from __future__ import annotations

import logging
import os

from watchbill_coordination.storage.layout import Layout
from watchbill_coordination.storage.reserve import RESERVE, is_full_error, try_reserve

HOLD_BELOW = RESERVE  #: free bytes
RESUME_FROM = 2 * RESERVE  #: free bytes besides the reserve
LOOK_SECONDS = 1.0

_logger = logging.getLogger(__name__)


class Room:
    """The volume's room, as far as new work is concerned."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._looked_at = 0.0
        error = try_reserve(layout)
        self.has_reserve = error is None  #: False: the volume is so full that its last space is in use
        self.is_full = is_full_error(error) or self._is_below(HOLD_BELOW)
        if error is not None:
            _logger.warning("no space is held in reserve for the log: %s", error.strerror)

    @property
    def trouble(self) -> str:
        """The sentence about a full volume; empty: there is room."""
        if not self.is_full:
            return ""
        return (
            f"the volume {self._layout.root} is full: running work goes on, and new work is held until "
            f"{RESUME_FROM >> 20} MiB are free"
        )

    def look(self, now: float) -> bool:
        """Whether new work may be started; `now` in seconds since the Unix epoch."""
        if 0 <= now - self._looked_at < LOOK_SECONDS:
            return not self.is_full
        self._looked_at = now
        if not self.is_full:
            self.is_full = self._is_below(HOLD_BELOW)
        elif not self._is_below(RESUME_FROM if self.has_reserve else RESUME_FROM + RESERVE):
            self.is_full = not self.has_reserve and is_full_error(self.restore())
        return not self.is_full

    def lose_reserve(self) -> None:
        """The log needed the last space."""
        self.has_reserve, self.is_full = False, True

    def restore(self) -> OSError | None:
        """Have the reserve again, if there is space for it; else why not."""
        error = None if self.has_reserve else try_reserve(self._layout)
        self.has_reserve = error is None
        return error

    def _is_below(self, wanted: int) -> bool:
        try:
            stat = os.statvfs(self._layout.root)
        except OSError:
            return False
        return stat.f_blocks > 0 and stat.f_bavail * stat.f_frsize < wanted
