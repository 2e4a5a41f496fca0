"""Connections to the model's API.

Owns opening, keeping and closing them: TLS with the system's authorities, a proxy by CONNECT, a small pool. Invariant:
a kept connection is used again only while the other side has neither closed it nor said anything unasked; a request is
never sent twice from here. Names in errors are hosts and the system's words, never a header.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from contextlib import suppress

import h11

from watchbill_broker.settings import Endpoint

READ_BYTES = 64 * 1024
CONNECT_SECONDS = 20.0
KEPT = 8  #: idle connections that are kept
KEPT_SECONDS = 60.0
IDLE_SECONDS = 600.0  #: without a byte from the API; the client's own watchdog is shorter
SEND_SECONDS = 120.0  #: the API takes nothing of the request for so long
MAX_HEAD_BYTES = 128 * 1024


class Unreachable(Exception):
    """No answer from the API: the words are for the user."""


class Line:
    """One connection, for one request at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take over an open connection."""
        self._reader, self._writer = reader, writer
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD_BYTES)
        self.idle_since = 0.0

    async def send(self, *events: h11.Event) -> None:
        """Send parts of a request. Raises Unreachable."""
        self._writer.write(b"".join(self._http.send(event) or b"" for event in events))
        try:
            async with asyncio.timeout(SEND_SECONDS):
                await self._writer.drain()
        except TimeoutError:
            raise Unreachable(f"it took nothing of the request for {SEND_SECONDS:.0f} s") from None
        except OSError as error:
            raise Unreachable(_words(error)) from None

    async def next_event(self) -> h11.Event:
        """The next part of the answer. Raises Unreachable, also where the answer is cut."""
        while True:
            try:
                event = self._http.next_event()
                if event is not h11.NEED_DATA:
                    break
                async with asyncio.timeout(IDLE_SECONDS):
                    data = await self._reader.read(READ_BYTES)
                self._http.receive_data(data)
            except TimeoutError:
                raise Unreachable(f"nothing came for {IDLE_SECONDS:.0f} s") from None
            except OSError as error:
                raise Unreachable(_words(error)) from None
            except h11.RemoteProtocolError:
                raise Unreachable("the connection was closed, or what came is not HTTP") from None
        if isinstance(event, h11.Event):
            return event
        raise Unreachable("the connection was closed")

    def is_reusable(self) -> bool:
        """Whether the request and its answer are over on both sides."""
        return self._http.our_state is h11.DONE and self._http.their_state is h11.DONE

    def begin_next(self) -> None:
        """Make ready for another request."""
        self._http.start_next_cycle()

    async def is_fresh(self) -> bool:
        """Whether an idle connection is still open and silent."""
        try:
            async with asyncio.timeout(0):
                await self._reader.read(1)
        except TimeoutError:
            return not self._writer.is_closing() and not self._http.trailing_data[0]
        except OSError:
            return False
        return False

    def close(self) -> None:
        """Close at once."""
        self._writer.transport.abort()


class Upstream:
    """The connections to one endpoint."""

    def __init__(self, endpoint: Endpoint, *, proxy: Endpoint | None) -> None:
        """Open nothing yet."""
        self.endpoint = endpoint
        self._proxy = proxy
        self._context = _build_context() if endpoint.scheme == "https" else None
        self._kept: deque[Line] = deque()

    async def take(self) -> Line:
        """A connection: the one that was kept last, or a new one. Raises Unreachable."""
        now = asyncio.get_running_loop().time()
        while self._kept:
            line = self._kept.pop()
            if now - line.idle_since < KEPT_SECONDS and await line.is_fresh():
                line.begin_next()
                return line
            line.close()
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                return Line(*await self._open())
        except TimeoutError:
            raise Unreachable(f"no connection within {CONNECT_SECONDS:.0f} s") from None
        except OSError as error:
            raise Unreachable(_words(error)) from None

    def give_back(self, line: Line) -> None:
        """Keep a connection whose answer is whole; close any other."""
        if not line.is_reusable():
            line.close()
            return
        line.idle_since = asyncio.get_running_loop().time()
        self._kept.append(line)
        while len(self._kept) > KEPT:
            self._kept.popleft().close()

    def close(self) -> None:
        """Close the kept connections."""
        while self._kept:
            self._kept.pop().close()

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._proxy is None:
            host = self.endpoint.host if self._context else None
            return await asyncio.open_connection(
                self.endpoint.host, self.endpoint.port, ssl=self._context, server_hostname=host
            )
        reader, writer = await asyncio.open_connection(self._proxy.host, self._proxy.port)
        target = f"{self.endpoint.host}:{self.endpoint.port}".encode("ascii")
        writer.write(b"CONNECT " + target + b" HTTP/1.1\r\nHost: " + target + b"\r\n\r\n")
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            head = b""
        if not head.startswith((b"HTTP/1.1 200", b"HTTP/1.0 200")):
            writer.transport.abort()
            raise Unreachable("the proxy refused to connect to it")
        if self._context is not None:
            await writer.start_tls(self._context, server_hostname=self.endpoint.host)
        return reader, writer


def _build_context() -> ssl.SSLContext:
    """The system's authorities, or those of SSL_CERT_FILE and SSL_CERT_DIR."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    with suppress(NotImplementedError):
        context.set_alpn_protocols(["http/1.1"])
    return context


def _words(error: OSError) -> str:
    """What went wrong, without addresses that change from try to try."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {error.verify_message}"
    return error.strerror or type(error).__name__
