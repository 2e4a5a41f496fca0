"""The agent's ends of its mailboxes: reading the inbox, writing the outbox.

Owns what of the inbox was handled, and the numbers of outbox files. Invariant: a message of a lower epoch than one seen
before is dropped, so a deposed operator that still writes is harmless; outbox numbers grow over restarts, since they
begin with the time of the start. A file in the outbox stays until the operator acknowledges it. Never removes anything
from the inbox (the agent's mount of it is read-only), and syncs only what cannot be produced again.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path

from watchbill_coordination.codec.messages import (
    MAX_INBOX_BYTES,
    Header,
    MalformedError,
    MessageFile,
    decode_file,
    encode_file,
    parse_number,
)
from watchbill_coordination.core.messages import Message
from watchbill_coordination.core.specs import ReplicaName
from watchbill_coordination.storage.atomic import TEMPORARY, write_atomic

NUMBERS_PER_MILLISECOND = 1000  #: more files than a life can write in one; numbers stay below 2**53 until 2255

logger = logging.getLogger(__name__)


class InboxReader:
    """Reads the inbox of the agent that runs here."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._seen: set[str] = set()  # names handled, and still in the folder
        self._epoch = 0
        self.read = 0  #: highest number handled of the newest epoch: what the outbox headers carry

    def poll(self) -> list[MessageFile]:
        """Return the new files in the order of their numbers; they count as handled. Raises OSError: no inbox.

        A file that cannot be read at this moment ends the turn: `read` must not pass it.
        """
        names = [name for name in os.listdir(self._directory) if parse_number(name) is not None]
        self._seen.intersection_update(names)
        found = []
        for name in sorted(names):
            try:
                file = self._take(name) if name not in self._seen else None
            except OSError as error:
                logger.warning("message %s cannot be read: %s", name, error)
                break
            if file is not None:
                found.append(file)
        return found

    def _take(self, name: str) -> MessageFile | None:
        """Read one file; None when it is gone, damaged, or of an operator that was deposed. Raises OSError."""
        try:
            data = (self._directory / name).read_bytes()
        except FileNotFoundError:
            return None
        self._seen.add(name)
        try:
            if len(data) > MAX_INBOX_BYTES:
                raise MalformedError(f"it has more than {MAX_INBOX_BYTES} bytes")
            file = decode_file(name, data, from_operator=True)
        except MalformedError as error:
            logger.warning("message %s is left out: %s", name, error)
            return None
        if file.header.epoch < self._epoch:
            logger.warning("message %s is of epoch %s, but %s rules", name, file.header.epoch, self._epoch)
            return None
        self.read = file.header.number if file.header.epoch > self._epoch else max(self.read, file.header.number)
        self._epoch = file.header.epoch
        return file


class OutboxWriter:
    """Writes the outbox of the agent that runs here."""

    def __init__(self, directory: Path, replica: ReplicaName, incarnation: str, *, start: int) -> None:
        """`start` is when this life of the process began, in milliseconds since the Unix epoch."""
        self._directory = directory
        self._replica = replica
        self._incarnation = incarnation
        self._numbers = count(start * NUMBERS_PER_MILLISECOND)

    def sweep(self) -> None:
        """Remove what a former life had half written. Raises OSError: no outbox."""
        for name in os.listdir(self._directory):
            if name.startswith(TEMPORARY):
                with suppress(OSError):
                    os.unlink(self._directory / name)

    def send(self, messages: Sequence[Message], *, read: int, sync: bool) -> str:
        """Write one file with these messages and return its name. With `sync` it outlives a power cut. Raises OSError.

        May be called from several threads: a number is taken in one step.
        """
        header = Header(number=next(self._numbers), agent=self._replica, read=read, incarnation=self._incarnation)
        name, data = encode_file(header, messages)
        write_atomic(self._directory / name, data, sync=sync)
        return name

    def remove(self, names: Iterable[str]) -> None:
        """Remove files that the operator has acknowledged."""
        for name in names:
            if parse_number(name) is not None:
                with suppress(OSError):
                    os.unlink(self._directory / name)
