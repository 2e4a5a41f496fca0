"""One connection of an agent, as requests and answers.

Owns the server's side of HTTP on a Unix socket: parsing, limits of size and time, and noticing that the client has
gone. Invariant: the memory of a connection is bounded by REPLAY_BYTES and the parser's limit, whatever the client
sends; a client that sends its request too slowly is dropped. Never decides what may be asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

import h11

from watchbill_broker.answers import Answer
from watchbill_broker.headers import Fields

READ_BYTES = 64 * 1024
MAX_HEAD_BYTES = 64 * 1024
MAX_BODY_BYTES = 64 * 1024 * 1024
REPLAY_BYTES = 1024 * 1024  #: bodies up to here are held whole: they can be sent twice and reckoned beforehand
IDLE_SECONDS = 600.0  #: between two requests
HEAD_SECONDS = 10.0  #: from a request's first byte to the end of its head
BODY_IDLE_SECONDS = 60.0  #: between two pieces of a body
WRITE_SECONDS = 30.0  #: a client that reads nothing for so long is dropped: what waits for it is not counted yet


class BodyTooLarge(Exception):
    """The request has more than MAX_BODY_BYTES."""


class ClientGone(Exception):
    """The client closed, or was too slow."""


class Client:
    """The server's side of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Read nothing yet."""
        self._reader, self._writer = reader, writer
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD_BYTES)
        self._received = 0
        self._watch: asyncio.Task[None] | None = None
        self._wants_head = False  #: alone, without a body
        self.body_is_whole = False
        self.is_gone = False

    async def next_request(self) -> h11.Request | None:
        """The next request's head, None at a clean end. Raises h11.RemoteProtocolError and ClientGone."""
        if self._http.our_state is not h11.IDLE:
            if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
                return None
            self._http.start_next_cycle()
        self._received, self.body_is_whole = 0, False
        event = self._http.next_event()
        if event is h11.NEED_DATA:
            await self._receive(IDLE_SECONDS)
        until = asyncio.get_running_loop().time() + HEAD_SECONDS
        while event is h11.NEED_DATA:
            event = self._http.next_event()
            if event is h11.NEED_DATA:
                await self._receive(until - asyncio.get_running_loop().time())
        if not isinstance(event, h11.Request):
            return None
        self._wants_head = event.method == b"HEAD"
        return event

    async def read_body(self) -> bytes:
        """The body, or its first REPLAY_BYTES and a little; `body_is_whole` tells. Raises BodyTooLarge, ClientGone."""
        parts: list[bytes] = []
        while not self.body_is_whole and self._received < REPLAY_BYTES:
            parts.append(await self.next_piece())
        return b"".join(parts)

    async def next_piece(self) -> bytes:
        """The next bytes of the body, empty at its end. Raises BodyTooLarge, ClientGone, h11.RemoteProtocolError."""
        while True:
            event = self._http.next_event()
            if isinstance(event, h11.Data):
                self._received += len(event.data)
                if self._received > MAX_BODY_BYTES:
                    raise BodyTooLarge
                return bytes(event.data)
            if isinstance(event, h11.EndOfMessage):
                self.body_is_whole = True
                return b""
            if event is not h11.NEED_DATA:
                raise ClientGone
            if self._http.they_are_waiting_for_100_continue:
                self._write(h11.InformationalResponse(status_code=100, headers=[]))
            await self._receive(BODY_IDLE_SECONDS)

    def watch(self, when_gone: Callable[[], object]) -> None:
        """Call back when the client closes while its answer is under way."""
        if self._http.trailing_data[0]:
            return  # the next request is here already: what comes after it is not read before its turn
        self._watch = asyncio.ensure_future(self._watch_end(when_gone))

    async def unwatch(self) -> None:
        """Stop watching."""
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.cancel()
            with suppress(asyncio.CancelledError):
                await watch

    async def answer(self, answer: Answer) -> None:
        """Send a whole answer of our own. Raises ClientGone."""
        fields: Fields = [(b"content-type", b"application/json"), *answer.fields]
        fields.append((b"content-length", str(len(answer.text)).encode()))
        await self.begin(answer.status, fields)
        await self.send(answer.text)
        await self.end()

    async def begin(self, status: int, fields: Fields) -> None:
        """Send an answer's head. Raises ClientGone."""
        self._write(h11.Response(status_code=status, headers=fields))
        await self._drain()

    async def send(self, data: bytes) -> None:
        """Send a piece of an answer's body, which an answer to HEAD has not. Raises ClientGone."""
        if self._wants_head:
            return
        self._write(h11.Data(data=data))
        await self._drain()

    async def end(self) -> None:
        """End an answer. Raises ClientGone."""
        self._write(h11.EndOfMessage())
        await self._drain()

    def has_begun(self) -> bool:
        """Whether an answer's head has been sent."""
        return self._http.our_state not in (h11.IDLE, h11.SEND_RESPONSE)

    def abort(self) -> None:
        """Close at once; what was not sent is lost, so that the client sees a cut."""
        self._writer.transport.abort()

    async def close(self) -> None:
        """Send what is left, and close."""
        await self.unwatch()
        self._writer.close()
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(1.0):
                await self._writer.wait_closed()

    async def _receive(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                data = await self._reader.read(READ_BYTES)
        except (OSError, TimeoutError):
            raise ClientGone from None
        self._http.receive_data(data)

    async def _watch_end(self, when_gone: Callable[[], object]) -> None:
        try:
            data = await self._reader.read(READ_BYTES)
        except OSError:
            data = b""
        if data:
            self._http.receive_data(data)
        else:
            self.is_gone = True
            when_gone()

    def _write(self, event: h11.Event) -> None:
        data = self._http.send(event)
        if data:
            self._writer.write(data)

    async def _drain(self) -> None:
        try:
            async with asyncio.timeout(WRITE_SECONDS):
                await self._writer.drain()
        except (OSError, TimeoutError):
            self.is_gone = True
            raise ClientGone from None
