"""A container's output on disk, and reading it back.

Owns the files `<restart>.log` (and `<restart>.log.1`, the part before the last rotation) of one container. A line is
`<RFC 3339 time> <stdout|stderr> <F|P> <text>`, as a kubelet's: F ends a line, P is a piece of one. Invariant: one
container's files never hold more than twice LOG_BYTES and the previous restart's as much; the oldest lines go first.

Owns also the node's port, where the API server fetches them: `/containerLogs/<namespace>/<pod>/<container>`. It
listens on the loopback address alone, reads and never changes, and refuses a foreign Host or any Origin, so that no
web page can reach it through a browser on this machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from watchbill_local.node.containers import ContainerWorker

LOG_BYTES = 10 * 2**20
CHUNK_BYTES = 2**16
OUTPUT_SECONDS = 5.0  #: how long a pipe may stay open after the container's end, held by a stranger
FOLLOW_SECONDS = 0.1  #: how often a followed log is looked at
Find = Callable[..., "ContainerWorker | None"]  #: the container that namespace, pod and container name


class LogWriter:
    """Appends one container's output, rotating at LOG_BYTES. Synchronous: its disk is local."""

    def __init__(self, folder: Path, restart: int) -> None:
        for old in folder.glob("*.log*"):
            if int(old.name.split(".")[0]) < restart - 1:
                old.unlink()
        self._path = folder / f"{restart}.log"
        self._file = self._path.open("ab", buffering=0)
        self._pumps: list[asyncio.Task[None]] = []

    def write(self, stream: str, chunk: bytes) -> None:
        """Append what `stream` (stdout or stderr) gave; a chunk that ends inside a line ends with a piece."""
        mark = f"{format_time(datetime.now(UTC))} {stream} ".encode()
        *lines, rest = chunk.split(b"\n")
        text = b"".join(mark + b"F " + line + b"\n" for line in lines)
        if rest:
            text += mark + b"P " + rest + b"\n"
        with contextlib.suppress(OSError):  # a full disk loses lines, it does not stop the container
            if self._file.tell() + len(text) > LOG_BYTES:
                self._file.close()
                os.replace(self._path, f"{self._path}.1")
                self._file = self._path.open("ab", buffering=0)
            self._file.write(text)

    def open_pipe(self, stream: str) -> int:
        """A descriptor to write to: all that comes through it goes to the log. It is the caller's to close."""
        reading, writing = os.pipe()
        self._pumps.append(asyncio.create_task(self._pump(reading, stream)))
        return writing

    async def close(self) -> None:
        """Close the file once the last writer has closed the pipes, or OUTPUT_SECONDS have passed."""
        for pump in (await asyncio.wait(self._pumps, timeout=OUTPUT_SECONDS))[1]:
            pump.cancel()
        self._file.close()

    async def _pump(self, descriptor: int, stream: str) -> None:
        loop, ended = asyncio.get_running_loop(), asyncio.Event()

        def read() -> None:
            if chunk := os.read(descriptor, CHUNK_BYTES):
                self.write(stream, chunk)
            else:
                ended.set()

        loop.add_reader(descriptor, read)
        try:
            await ended.wait()
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


async def serve_logs(find: Find, address: str, tls: ssl.SSLContext) -> tuple[web.AppRunner, int]:
    """Listen; returns the runner to clean up at the end, and the port, a free one."""

    async def answer(request: web.Request) -> web.StreamResponse:
        if (request.host.rpartition(":")[0] or request.host) not in (
            address,
            "localhost",
        ) or "Origin" in request.headers:
            raise web.HTTPForbidden(text="this port answers only the API server on this machine\n")
        container = find(**request.match_info)
        if container is None:
            raise web.HTTPNotFound(text="this container is not on this node\n")
        return await _answer_logs(request, container)

    application = web.Application()
    application.router.add_get("/containerLogs/{namespace}/{pod}/{container}", answer)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    await web.TCPSite(runner, address, 0, ssl_context=tls).start()
    return runner, runner.addresses[0][1]


async def _answer_logs(request: web.Request, container: ContainerWorker) -> web.StreamResponse:
    """Between two starts, the current log is that of the start that has just ended, and so is the previous one."""
    try:
        query = parse_query(request.query, datetime.now(UTC))
    except ValueError as error:
        raise web.HTTPBadRequest(text=f"{error}\n") from error
    state = container.state
    waiting = state.state.get("waiting")
    path = container.home / f"{state.restarts - bool(waiting or query.previous)}.log"
    if not path.exists():
        what = "has no previous run" if query.previous else f"is waiting to start: {(waiting or {}).get('reason', '')}"
        raise web.HTTPBadRequest(text=f'container "{state.name}" in pod "{request.match_info["pod"]}" {what}')
    response = web.StreamResponse(headers={"Content-Type": "text/plain"})
    await response.prepare(request)
    async for text in read_log(path, query, container.is_running):
        if text:
            await response.write(text)
    await response.write_eof()
    return response


async def read_log(path: Path, query: LogQuery, is_running: asyncio.Event) -> AsyncIterator[bytes]:
    """The lines of one restart's log that `query` asks for; with `follow`, new ones while `is_running` is set."""
    lines = _read_lines(f"{path}.1")
    file = path.open("rb")
    try:
        lines += file.read().splitlines()
        tail = len(lines) if query.tail is None else query.tail
        yield b"".join(_show(line, query) for line in lines[max(0, len(lines) - tail) :])
        while query.follow:
            alive = is_running.is_set()  # asked before reading, so that the last lines are read too
            if fresh := file.read():
                yield b"".join(_show(line, query) for line in fresh.splitlines())
            elif os.stat(path).st_ino != os.fstat(file.fileno()).st_ino:  # rotated: go on in the new file
                file.close()
                file = path.open("rb")
            elif alive:
                await asyncio.sleep(FOLLOW_SECONDS)
            else:
                return
    finally:
        file.close()


def _read_lines(path: str) -> list[bytes]:
    with contextlib.suppress(FileNotFoundError), open(path, "rb") as file:
        return file.read().splitlines()
    return []


def tail_text(path: Path) -> str:
    """The end of a log as text, for a termination message: at most 80 lines and 2,048 bytes."""
    text = b"".join(_show(line, LogQuery()) for line in _read_lines(str(path))[-80:])
    return text[-2048:].decode(errors="replace")


def _show(line: bytes, query: LogQuery) -> bytes:
    time, _, flag, text = (*line.split(b" ", 3), b"", b"", b"")[:4]
    if query.since and time and datetime.fromisoformat(time.decode()) < query.since:
        return b""
    return (time + b" " if query.timestamps else b"") + text + (b"\n" if flag == b"F" else b"")


def format_time(moment: datetime) -> str:
    """RFC 3339 with microseconds, as the API's MicroTime."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
