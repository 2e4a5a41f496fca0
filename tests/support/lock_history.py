"""Who held which lock when, told from the log alone.

Owns the obviously right twin of the fold's bookkeeping of locks: it reads events in order, knows no index, and fails at
the first grant that two holders contradict.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from support.deciding import Ledger
from watchbill_coordination.core.events import (
    AttemptAbandoned,
    AttemptFailed,
    AttemptLost,
    Event,
    TaskCancelled,
    TaskDispatched,
    TaskSubmitted,
    TaskSucceeded,
)
from watchbill_coordination.core.working_events import AttemptGivenBack, LockGranted, LockReturned

ENDS = (AttemptAbandoned, AttemptFailed, AttemptGivenBack, AttemptLost, TaskCancelled, TaskSucceeded)


@dataclass(frozen=True)
class Hold:
    """One holder's part of a lock."""

    shared: bool
    token: int


@dataclass
class LockHistory:
    """What is held after the events so far: name → uid → part."""

    held: dict[str, dict[str, Hold]] = field(default_factory=dict)
    modes: dict[str, dict[str, bool]] = field(default_factory=dict)  #: uid → lock of its spec → shared
    newest: int = 0  #: token

    def read(self, event: Event) -> None:
        """Take one event."""
        if isinstance(event, TaskSubmitted):
            self.modes[event.task] = {}
            for lock in event.spec.get("locks") or ():
                before = self.modes[event.task].get(lock["name"], True)
                self.modes[event.task][lock["name"]] = before and lock.get("mode") == "Shared"
        elif isinstance(event, TaskDispatched):
            for name, token in event.locks.items():
                self.grant(name, event.task, Hold(self.modes[event.task][name], token))
        elif isinstance(event, LockGranted):
            self.grant(event.name, event.task, Hold(event.shared, event.token))
        elif isinstance(event, LockReturned):
            del self.held[event.name][event.task]
        elif isinstance(event, ENDS):
            for holders in self.held.values():
                holders.pop(event.task, None)

    def grant(self, name: str, uid: str, hold: Hold) -> None:
        """A grant contradicts no other holder, and its token is the newest or the one that this holder has."""
        holders = self.held.setdefault(name, {})
        known = holders.pop(uid, None)
        others = list(holders.values())
        assert not others or (hold.shared and all(other.shared for other in others)), (name, uid, holders)
        assert hold.token > self.newest or (known is not None and known.token == hold.token), (name, uid, hold)
        self.newest = max(self.newest, hold.token)
        holders[uid] = hold

    def tokens(self) -> dict[str, dict[str, int]]:
        """Name → uid → token of what is held."""
        return {
            name: {uid: hold.token for uid, hold in holders.items()} for name, holders in self.held.items() if holders
        }


def check_lock_history(ledger: Ledger) -> None:
    """No two events of the log contradict each other, and the state says what they say."""
    history = LockHistory()
    for recorded in ledger.records:
        history.read(recorded.event)
    assert history.tokens() == {name: dict(lock.holders) for name, lock in ledger.state.locks.items()}
    shared = {name: all(hold.shared for hold in holders.values()) for name, holders in history.held.items() if holders}
    assert shared == {name: lock.shared for name, lock in ledger.state.locks.items()}
    assert history.newest == ledger.state.tokens
