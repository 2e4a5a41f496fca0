"""The file that lets the objects survive the process.

Owns one append-only file of changes and its compaction into a snapshot. A record is one line: a JSON head
(`[kind of record, group, plural, namespace, name, resource version]`), a tab, and the object's JSON as it is served.

Invariant: `append` returns only after the kernel has the whole line, so a change that was answered outlives
`kill -9` of this process. It does not promise to outlive the machine: nothing is synced but snapshots. A last line
without its end (the process died while writing) was never answered and is cut off by `load`; any other line that
cannot be read is damage, which is reported and never mended here.

Never interprets an object, never keeps one in memory.
"""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

import orjson

from watchbill_local.server.values import Obj

log = logging.getLogger(__name__)

#: Appended records per stored object before the file is worth rewriting; the constant spares small stores.
COMPACT_RATIO, COMPACT_FLOOR = 4, 5000

_APPEND = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC


class Record(NamedTuple):
    """What happened to one object; or, at the head of a snapshot, how far the counter had got (`version`)."""

    kind: Literal["stored", "deleted", "version"]
    group: str
    plural: str
    namespace: str
    name: str
    version: int  #: resource version of the change


class DamagedJournalError(Exception):
    """The file holds something that was never written to it; the message says where."""


class Journal:
    """An append-only file of records. Without a path it keeps nothing, which suits tests."""

    def __init__(self, path: str | None, compact_floor: int = COMPACT_FLOOR) -> None:
        self._path = path
        self._compact_floor = compact_floor
        self._fd: int | None = None
        self._size = 0
        self._appended = 0

    def load(self) -> Iterator[tuple[Record, bytes, Obj]]:
        """Yield every whole record with its object (as JSON and read back), and get ready to append after the last.

        Consume it to the end before the first `append`. Raises DamagedJournalError and OSError.
        """
        if self._path is None:
            return
        self._fd = os.open(self._path, _APPEND, 0o600)
        with open(self._path, "rb") as lines:
            for number, line in enumerate(lines, start=1):
                if not line.endswith(b"\n"):
                    log.warning("cutting a torn line off the journal at byte %d", self._size)
                    os.ftruncate(self._fd, self._size)
                    return
                try:
                    yield _parse_line(line)
                except (TypeError, ValueError) as error:
                    where = f"{self._path} is damaged in line {number}"
                    raise DamagedJournalError(f"{where}; mend the line, or move the file away") from error
                self._size += len(line)
                self._appended += 1

    def append(self, record: Record, raw: bytes) -> None:
        """Write one record. Raises OSError, with the file as it was before, when the disk does not take it all."""
        if self._fd is None:
            return
        line = _format_line(record, raw)
        try:
            if os.write(self._fd, line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            os.ftruncate(self._fd, self._size)
            raise
        self._size += len(line)
        self._appended += 1

    def is_mostly_garbage(self, stored: int) -> bool:
        """Whether so much was appended since the last snapshot of `stored` objects that rewriting pays."""
        return self._fd is not None and self._appended > COMPACT_RATIO * stored + self._compact_floor

    def compact(self, version: int, snapshot: Iterable[tuple[Record, bytes]]) -> None:
        """Replace the file by a snapshot, atomically; `version` is the counter's present value.

        Where the disk does not take the snapshot, the old file stays in force and the next try is put off.
        """
        self._appended = 0
        beside = f"{self._path}.new"
        try:
            with open(os.open(beside, _APPEND | os.O_TRUNC, 0o600), "wb") as new:
                new.write(_format_line(Record("version", "", "", "", "", version), b"{}"))
                new.writelines(_format_line(record, raw) for record, raw in snapshot)
                new.flush()
                os.fsync(new.fileno())
            fd = os.open(beside, _APPEND)
            os.replace(beside, str(self._path))
        except OSError:
            log.exception("the journal could not be compacted; it goes on growing")
            return
        self.close()
        self._fd, self._size = fd, os.fstat(fd).st_size

    def close(self) -> None:
        """Close the file; later appends are dropped."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def _format_line(record: Record, raw: bytes) -> bytes:
    return b"%s\t%s\n" % (orjson.dumps(list(record)), raw)


def _parse_line(line: bytes) -> tuple[Record, bytes, Obj]:
    """Return what a line says. Raises TypeError or ValueError where it is none of ours."""
    head, _, raw = line.rstrip(b"\n").partition(b"\t")
    return Record(*orjson.loads(head)), raw, orjson.loads(raw or b"{}")
