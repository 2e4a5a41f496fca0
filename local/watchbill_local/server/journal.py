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

import logging
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

import orjson

from watchbill_local.server.values import Obj

log = logging.getLogger(__name__)

Kind = Literal["stored", "deleted", "snapshot", "version"]

#: Appended records per stored object before the file is worth rewriting; the constant spares small stores.
COMPACT_RATIO, COMPACT_FLOOR = 4, 5000


@dataclass(frozen=True, slots=True)
class Record:
    """One line of the journal: what happened to one object, or (`version`) how far the counter had got."""

    kind: Kind
    key: tuple[str, str]  #: storage key: group and plural
    namespace: str
    name: str
    version: int  #: resource version of the change
    raw: bytes  #: the object as JSON; of a deletion its last state; empty for `version`
    obj: Obj = field(default_factory=dict)  #: the same read back; only of a loaded record


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

    def load(self) -> Iterator[Record]:
        """Yield every whole record in order, then open the file for appending after the last whole line.

        Consume it to the end before the first `append`. Raises DamagedJournalError and OSError.
        """
        if self._path is None:
            return
        for record, size in _read_records(self._path):
            self._size += size
            self._appended += record.kind in ("stored", "deleted")
            yield record
        self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        if self._size < os.fstat(self._fd).st_size:
            log.warning("cutting a torn line off the journal at byte %d", self._size)
            os.ftruncate(self._fd, self._size)

    def append(self, record: Record) -> None:
        """Write one record. Raises OSError, with the file as it was before, when the disk does not take it all."""
        if self._fd is None:
            return
        line = format_record(record)
        try:
            _write_all(self._fd, line)
        except OSError:
            os.ftruncate(self._fd, self._size)
            raise
        self._size += len(line)
        self._appended += 1

    def is_mostly_garbage(self, stored: int) -> bool:
        """Whether so much was appended since the last snapshot of `stored` objects that rewriting pays."""
        return self._fd is not None and self._appended > COMPACT_RATIO * stored + self._compact_floor

    def compact(self, version: int, snapshot: Iterable[Record]) -> None:
        """Replace the file by a snapshot, atomically; `version` is the counter's present value.

        Where the disk does not take the snapshot, the old file stays in force and the next try is put off.
        """
        if self._path is None or self._fd is None:
            return
        self._appended = 0
        beside = self._path + ".new"
        try:
            fd = _write_snapshot(beside, version, snapshot)
        except OSError:
            log.exception("the journal could not be compacted; it goes on growing")
            return
        os.replace(beside, self._path)
        os.close(self._fd)
        self._fd, self._size = fd, os.fstat(fd).st_size

    def close(self) -> None:
        """Close the file; later appends are dropped."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def format_record(record: Record) -> bytes:
    """Return the line of a record, line feed included."""
    head = orjson.dumps([record.kind, *record.key, record.namespace, record.name, record.version])
    return b"%s\t%s\n" % (head, record.raw)


def parse_record(line: bytes) -> Record | None:
    """Return the record of a line, line feed included, or None when it is none."""
    head, _, raw = line.rstrip(b"\n").partition(b"\t")
    try:
        kind, group, plural, namespace, name, version = orjson.loads(head)
        obj = orjson.loads(raw) if kind != "version" else {}
    except ValueError:
        return None
    return Record(kind, (group, plural), namespace, name, version, raw, obj)


def _read_records(path: str) -> Iterator[tuple[Record, int]]:
    """Yield the whole records of a file with their sizes in bytes, up to a last line without its end."""
    if not os.path.exists(path):
        return
    with open(path, "rb") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.endswith(b"\n"):
                return
            record = parse_record(line)
            if record is None:
                raise DamagedJournalError(f"{path} is damaged in line {number}; mend the line, or move the file away")
            yield record, len(line)


def _write_snapshot(path: str, version: int, snapshot: Iterable[Record]) -> int:
    """Write and sync a whole journal; return its descriptor, open for appending. Raises OSError."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        _write_all(fd, format_record(Record("version", ("", ""), "", "", version, b"")))
        for record in snapshot:
            _write_all(fd, format_record(record))
        os.fsync(fd)
    except OSError:
        os.close(fd)
        raise
    return fd


def _write_all(fd: int, data: bytes) -> None:
    """Write every byte: a nearly full disk may take a part only."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
