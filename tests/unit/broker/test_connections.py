"""One connection of an agent: limits of time and size."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable

import h11
import pytest

from watchbill_broker import client as limits
from watchbill_broker.client import BodyTooLarge, Client, ClientGone

HEAD = b"POST /v1/messages HTTP/1.1\r\nHost: x\r\n"


def converse(play: Callable[[Client, socket.socket], Awaitable[None]]) -> None:
    """Run `play` with the server's side of a connection and the other end of it."""

    async def run() -> None:
        ours, theirs = socket.socketpair()
        reader, writer = await asyncio.open_connection(sock=ours)
        with theirs:
            await asyncio.wait_for(play(Client(reader, writer), theirs), 20)
        writer.close()

    asyncio.run(run())


def test_a_head_that_comes_too_slowly_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A byte now and then must not hold a connection for ever."""
    monkeypatch.setattr(limits, "HEAD_SECONDS", 0.05)

    async def play(client: Client, agent: socket.socket) -> None:
        agent.sendall(HEAD)
        with pytest.raises(ClientGone):
            await client.next_request()

    converse(play)


def test_a_body_that_stops_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was promised and does not come."""
    monkeypatch.setattr(limits, "BODY_IDLE_SECONDS", 0.05)

    async def play(client: Client, agent: socket.socket) -> None:
        agent.sendall(HEAD + b"Content-Length: 10\r\n\r\n12345")
        await client.next_request()
        with pytest.raises(ClientGone):
            await client.read_body()

    converse(play)


def test_a_head_that_is_too_large_is_refused() -> None:
    """64 KiB of fields are enough."""

    async def play(client: Client, agent: socket.socket) -> None:
        agent.setblocking(False)
        await asyncio.get_running_loop().sock_sendall(agent, HEAD + b"X: " + b"y" * limits.MAX_HEAD_BYTES)
        with pytest.raises(h11.RemoteProtocolError):
            await client.next_request()

    converse(play)


def test_a_body_over_the_limit_is_refused_although_it_told_no_length(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks could go on for ever."""
    monkeypatch.setattr(limits, "MAX_BODY_BYTES", 10)

    async def play(client: Client, agent: socket.socket) -> None:
        agent.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\nb\r\n12345678901\r\n0\r\n\r\n")
        await client.next_request()
        with pytest.raises(BodyTooLarge):
            await client.read_body()

    converse(play)


def test_a_client_that_waits_for_leave_to_send_its_body_gets_it() -> None:
    """`Expect: 100-continue`, as curl sends it."""

    async def play(client: Client, agent: socket.socket) -> None:
        agent.sendall(HEAD + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        await client.next_request()
        reading = asyncio.ensure_future(client.read_body())
        agent.setblocking(False)
        assert (await asyncio.get_running_loop().sock_recv(agent, 100)).startswith(b"HTTP/1.1 100")
        await asyncio.get_running_loop().sock_sendall(agent, b"hi")

        assert await reading == b"hi"

    converse(play)


def test_a_client_that_goes_is_noticed_while_its_answer_is_awaited() -> None:
    """And only then: a next request on the same connection is no end."""

    async def play(client: Client, agent: socket.socket) -> None:
        agent.sendall(HEAD + b"Content-Length: 0\r\n\r\n")
        await client.next_request()
        await client.read_body()
        gone = asyncio.Event()
        client.watch(gone.set)
        agent.shutdown(socket.SHUT_WR)

        await gone.wait()

        assert client.is_gone

    converse(play)
