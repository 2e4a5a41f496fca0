"""A container's output on disk, and reading it back.

Owns the files `<restart>.log` (and `<restart>.log.1`, the part before the last rotation) of one container. A line is
`<RFC 3339 time> <stdout|stderr> <F|P> <text>`, as a kubelet's: F ends a line, P is a piece of one. Invariant: one
container's files never hold more than twice LOG_BYTES and the previous restart's as much; the oldest lines go first.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

LOG_BYTES = 10 * 2**20
CHUNK_BYTES = 2**16
FOLLOW_SECONDS = 0.1  #: how often a followed log is looked at


class LogWriter:
    """Appends one container's output, rotating at LOG_BYTES. Synchronous: its disk is local."""

    def __init__(self, folder: Path, restart: int, limit: int = LOG_BYTES) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob("*.log*"):
            if int(old.name.split(".")[0]) < restart - 1:
                old.unlink()
        self._path = folder / f"{restart}.log"
        self._limit = limit
        self._file = self._path.open("ab", buffering=0)

    def write(self, stream: str, chunk: bytes) -> None:
        """Append what `stream` (stdout or stderr) gave; a chunk that ends inside a line ends with a piece."""
        mark = f"{format_time(datetime.now(UTC))} {stream} ".encode()
        *lines, rest = chunk.split(b"\n")
        text = b"".join(mark + b"F " + line + b"\n" for line in lines)
        if rest:
            text += mark + b"P " + rest + b"\n"
        with contextlib.suppress(OSError):  # a full disk loses lines, it does not stop the container
            if self._file.tell() + len(text) > self._limit:
                self._rotate()
            self._file.write(text)

    def close(self) -> None:
        """Close the file; what was written stays."""
        self._file.close()

    def _rotate(self) -> None:
        self._file.close()
        os.replace(self._path, f"{self._path}.1")
        self._file = self._path.open("ab", buffering=0)


async def pump_output(descriptor: int, stream: str, writer: LogWriter) -> None:
    """Copy a pipe's reading end to the log until its last writer has closed it, then close it."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()
    os.set_blocking(descriptor, False)

    def read() -> None:
        with contextlib.suppress(BlockingIOError):
            chunk = os.read(descriptor, CHUNK_BYTES)
            if chunk:
                writer.write(stream, chunk)
            elif not ended.done():
                ended.set_result(None)

    loop.add_reader(descriptor, read)
    try:
        await ended
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


@dataclass(frozen=True, slots=True)
class LogQuery:
    """What `kubectl logs` may ask for."""

    follow: bool = False
    previous: bool = False
    timestamps: bool = False
    tail: int | None = None  #: lines
    since: datetime | None = None


def parse_query(query: Mapping[str, str], now: datetime) -> LogQuery:
    """A log request's query; ValueError with a sentence if a value is no number, negative, or no time."""
    tail = int(query["tailLines"]) if "tailLines" in query else None
    since = now - timedelta(seconds=int(query["sinceSeconds"])) if "sinceSeconds" in query else None
    if "sinceTime" in query:
        since = datetime.fromisoformat(query["sinceTime"]).astimezone(UTC)
    if tail is not None and tail < 0:
        raise ValueError("tailLines must not be negative")
    flags = {name: query.get(name) in ("true", "1") for name in ("follow", "previous", "timestamps")}
    return LogQuery(**flags, tail=tail, since=since)


async def read_log(path: Path, query: LogQuery, is_running: asyncio.Event) -> AsyncIterator[bytes]:
    """The lines of one restart's log that `query` asks for; with `follow`, new ones while `is_running` is set."""
    older = _read_lines(f"{path}.1")
    with path.open("rb") as file:
        lines = older + file.read().splitlines()
        tail = len(lines) if query.tail is None else min(query.tail, len(lines))
        yield b"".join(_show(line, query) for line in lines[len(lines) - tail :])
        while query.follow:
            alive = is_running.is_set()  # asked before reading, so that the last lines are read too
            fresh = file.read()
            if fresh:
                yield b"".join(_show(line, query) for line in fresh.splitlines())
            elif not alive:
                return
            elif os.stat(path).st_ino != os.fstat(file.fileno()).st_ino:
                break  # rotated: go on in the new file
            else:
                await asyncio.sleep(FOLLOW_SECONDS)
    if query.follow:
        rest = LogQuery(follow=True, timestamps=query.timestamps, tail=len(_read_lines(str(path))))
        async for text in read_log(path, rest, is_running):
            yield text


def _read_lines(path: str) -> list[bytes]:
    with contextlib.suppress(FileNotFoundError), open(path, "rb") as file:
        return file.read().splitlines()
    return []


def tail_text(path: Path) -> str:
    """The end of a log as text, for a termination message: at most 80 lines and 2,048 bytes."""
    with contextlib.suppress(OSError), path.open("rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - 8192))
        lines = file.read().splitlines()[-80:]
        return b"".join(_show(line, LogQuery()) for line in lines)[-2048:].decode(errors="replace")
    return ""


def _show(line: bytes, query: LogQuery) -> bytes:
    time, _, flag, text = (*line.split(b" ", 3), b"", b"", b"")[:4]
    if query.since and time and datetime.fromisoformat(time.decode()) < query.since:
        return b""
    return (time + b" " if query.timestamps else b"") + text + (b"\n" if flag == b"F" else b"")


def format_time(moment: datetime) -> str:
    """RFC 3339 with microseconds, as the API's MicroTime."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
