"""What one sender does while the API takes nothing from it: few tries, and few words.

Owns the pause between tries and which reason was told already. Invariant: however much waits, the tries in an outage
are one at a time and ever rarer, down to one in `MAX_PAUSE_SECONDS`, and each reason is one line in the log. Takes
`now`; never sends anything.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

from watchbill_operator.api import ATTEMPTS, UnavailableError

logger = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS = 1.0
MAX_PAUSE_SECONDS = 30.0


@dataclass(slots=True)
class Outage:
    """Whether what a sender sends is taken. Times are the caller's, in seconds of any monotonic clock."""

    what: str  #: what is sent, in the plural
    until: float = 0.0  #: nothing is tried before
    _pause: float = 0.0  #: the last one; 0: there is no outage
    _told: set[int] = field(default_factory=set)  #: codes: one for each reason, whatever object it names

    @property
    def lasts(self) -> bool:
        """Whether the last try failed."""
        return self._pause > 0

    @property
    def attempts(self) -> int:
        """Tries of one request: in an outage the pause between requests is long enough."""
        return 1 if self.lasts else ATTEMPTS

    def fail(self, error: UnavailableError, now: float) -> None:
        """A try failed. One that was under way when the pause began makes it no longer."""
        if error.code not in self._told:
            self._told.add(error.code)
            logger.warning("%s wait: %s", self.what, error)
        if now >= self.until:
            self._pause = min(self._pause * 2 or FIRST_PAUSE_SECONDS, MAX_PAUSE_SECONDS)
            self.until = now + self._pause

    def end(self) -> None:
        """The API answered."""
        if self.lasts:
            logger.info("%s wait no longer", self.what)
        self.until = self._pause = 0.0
        self._told.clear()
