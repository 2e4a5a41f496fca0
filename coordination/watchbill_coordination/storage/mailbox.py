"""The operator's ends of the mailboxes: writing inboxes, reading outboxes.

Owns which files lie in an inbox, and what of an outbox was read. Invariant: an inbox never holds two files for one key,
and its numbers grow over restarts of the operator; an outbox yields each file once, in the order of its numbers, and a
bad file never stops the ones behind it. Delivery is at least once: a key may be delivered again after it was forgotten.
Nothing here is synced: an inbox is derived from the log and written again after a crash. Never decides what a message
means, never deletes a message that was not read, and never follows or waits for what an agent left in its outbox.
"""

from __future__ import annotations

import logging
import os
import time
from contextlib import suppress
from dataclasses import dataclass

from watchbill_coordination.codec.messages import (
    MAX_OUTBOX_BYTES,
    Header,
    MalformedError,
    MessageFile,
    decode_file,
    encode_file,
    parse_number,
)
from watchbill_coordination.core.messages import Message
from watchbill_coordination.core.specs import ReplicaName
from watchbill_coordination.storage import hostile
from watchbill_coordination.storage.atomic import TEMPORARY, write_atomic
from watchbill_coordination.storage.layout import Layout

NUMBERS_PER_SEQ = 1024  #: inbox files between two records; so numbers grow even when the last one is not known any more
MAX_FILES_PER_POLL = 256  #: read from one outbox before others get their turn
MAX_LISTED = 4096  #: names looked at in one poll; more is a flood, and waits
MAX_REPORTED_PER_MINUTE = 10  #: bad files of one agent that are told and kept; the rest is removed untold
MAX_QUARANTINED = 100  #: bad files of one agent that are kept
QUARANTINE_BYTES = 64 * 1024  #: of each

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Malformed:
    """A file in an outbox that is no message. Put it away with `OutboxReader.quarantine(name)`."""

    name: str  #: printable; the file's own name may not be
    reason: str  #: one sentence


Received = MessageFile


class InboxWriter:
    """Writes one replica's inbox. Call `reset` once before the first delivery."""

    def __init__(self, layout: Layout, replica: ReplicaName) -> None:
        self._inbox = layout.workspace(replica) / "inbox"
        self._replica = replica
        self._files: dict[str, str] = {}  # key → name of its file
        self._last = 0

    def reset(self) -> None:
        """Empty the inbox: what is pending is delivered again from state. Raises OSError when there is no inbox."""
        self._files.clear()
        for name in os.listdir(self._inbox):
            self._last = max(self._last, parse_number(name) or 0)
            with suppress(FileNotFoundError):
                os.unlink(self._inbox / name)

    def deliver(self, key: str, message: Message, ep: int, seq: int) -> bool:
        """Write a message, unless a file for that key lies there. Whether it was written. Raises OSError.

        `ep` is the writer's epoch; `seq` is the last committed one and must cover what caused the message.
        """
        if key in self._files:
            return False
        number = max(self._last + 1, seq * NUMBERS_PER_SEQ)
        name, data = encode_file(Header(number=number, agent=self._replica, epoch=ep), (message,))
        write_atomic(self._inbox / name, data, sync=False)
        self._last = number
        self._files[key] = name
        return True

    def forget(self, read: int) -> None:
        """Remove the files up to the number that the agent has handled; their keys may be delivered again."""
        done = [key for key, name in self._files.items() if (parse_number(name) or 0) <= read]
        for key in done:
            with suppress(FileNotFoundError):
                os.unlink(self._inbox / self._files.pop(key))


class OutboxReader:
    """Reads one replica's outbox, which that replica can write to as it likes."""

    def __init__(self, layout: Layout, replica: ReplicaName) -> None:
        self._outbox = layout.workspace(replica) / "outbox"
        self._quarantine = layout.quarantine
        self._replica = replica
        self._seen: set[str] = set()  # offered, and still in the folder
        self._bad: dict[str, str] = {}  # printable name → name, of what was reported
        self._reported_at: list[float] = []  # seconds, monotonic, of the last reports

    def poll(self) -> list[Received | Malformed]:
        """Return what is new, at most 256 files. Never raises for what an agent did, never blocks."""
        found: list[Received | Malformed] = []
        try:
            with hostile.open_directory(self._outbox) as outbox:
                names = hostile.list_names(outbox, MAX_LISTED)
                self._seen.intersection_update(names)
                fresh = sorted(n for n in names if n not in self._seen and not n.startswith(TEMPORARY))
                for name in fresh[:MAX_FILES_PER_POLL]:
                    self._seen.add(name)
                    found.extend(self._take(outbox, name))
        except (hostile.HostileFileError, OSError) as error:
            logger.warning("outbox of %s: %s", self._replica, error)
        return found

    def offer_again(self, name: str) -> None:
        """Let the next poll yield this file once more: it could not be dealt with."""
        self._seen.discard(name)

    def quarantine(self, name: str) -> None:
        """Copy the start of a reported file to quarantine/, where there is room, and remove it. Raises OSError."""
        original = self._bad.pop(name, name)
        with suppress(hostile.HostileFileError), hostile.open_directory(self._outbox) as outbox:
            with suppress(hostile.HostileFileError):
                self._keep(name, hostile.read_start(outbox, original, QUARANTINE_BYTES))
            hostile.remove_file(outbox, original)

    def _take(self, outbox: int, name: str) -> list[Received | Malformed]:
        """Read one file; a bad one is reported while the quota lasts, else removed."""
        try:
            if parse_number(name) is None:
                raise MalformedError("its name is not that of a mailbox file")
            data = hostile.read_regular(outbox, name, MAX_OUTBOX_BYTES)
            return [decode_file(name, data, from_operator=False)]
        except hostile.GoneError:
            return []
        except (hostile.HostileFileError, MalformedError) as error:
            reason = str(error)
        now = time.monotonic()
        self._reported_at = [at for at in self._reported_at if now - at < 60.0]
        if len(self._reported_at) >= MAX_REPORTED_PER_MINUTE:
            hostile.remove_file(outbox, name)
            return []
        self._reported_at.append(now)
        label = printable(name)
        self._bad[label] = name
        return [Malformed(label, reason)]

    def _keep(self, label: str, data: bytes) -> None:
        """Write a copy to quarantine/, unless that replica has filled its share."""
        self._quarantine.mkdir(parents=True, exist_ok=True)
        prefix = f"{self._replica}."
        kept = sum(name.startswith(prefix) for name in os.listdir(self._quarantine))
        if kept < MAX_QUARANTINED:
            safe = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "_" for c in label)
            write_atomic(self._quarantine / f"{prefix}{time.time_ns()}.{safe[:100]}", data, sync=False)


def printable(name: str) -> str:
    """Return a file's name as text that every reader of the log can show: no control characters, valid Unicode."""
    text = name.encode("utf-8", "backslashreplace").decode()
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)[:255]
