"""One connection of an agent: limits of time and size."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from watchbill_broker import client as limits
from watchbill_broker.answers import Answer
from watchbill_broker.attempt import Attempt
from watchbill_broker.client import BodyTooLarge, Client, ClientGone
from watchbill_broker.forwarding import Forwarder
from watchbill_broker.grants import Grant
from watchbill_broker.prices import load_prices
from watchbill_broker.settings import parse_settings
from watchbill_broker.sockets import AttemptSocket

PARTS = [
    b"POST / HTTP/1.1\r\n",
    b"Host: x\r\n",
    b"Content-Length: 3\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"\r\n",
    b"3\r\nabc\r\n0\r\n\r\n",
]
HEAD = b"POST /v1/messages HTTP/1.1\r\nHost: x\r\n"


def converse(play: Callable[[Client, socket.socket], Awaitable[None]]) -> None:
    """Run `play` with the server's side of a connection and the other end of it."""

    async def run() -> None:
        ours, theirs = socket.socketpair()
        reader, writer = await asyncio.open_connection(sock=ours)
        with theirs:
            await asyncio.wait_for(play(Client(reader, writer), theirs), 90)
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


def test_a_client_that_reads_nothing_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits for it has not been counted yet, and costs."""
    monkeypatch.setattr(limits, "WRITE_SECONDS", 0.05)

    async def play(client: Client, agent: socket.socket) -> None:
        agent.sendall(HEAD + b"Content-Length: 0\r\n\r\n")
        await client.next_request()
        await client.read_body()
        await client.begin(200, [])
        piece = b"x" * 2**20
        with pytest.raises(ClientGone):
            await client.send(piece)

        assert client.is_gone

    converse(play)


def test_a_second_request_that_comes_early_waits_for_its_turn() -> None:
    """Pipelining is HTTP too."""

    async def play(client: Client, agent: socket.socket) -> None:
        agent.sendall((HEAD + b"Content-Length: 2\r\n\r\nhi") * 2)
        for _ in range(2):
            assert await client.next_request() is not None
            assert await client.read_body() == b"hi"
            client.watch(lambda: pytest.fail("it has not gone"))
            await client.answer(Answer(200, {}))
            await client.unwatch()

    converse(play)


@settings(max_examples=50)
@given(sent=st.lists(st.one_of(st.binary(max_size=40), st.sampled_from(PARTS)), max_size=12))
def test_no_bytes_do_more_than_end_their_connection(sent: list[bytes]) -> None:
    """An agent may send anything."""

    async def play(client: Client, agent: socket.socket) -> None:
        agent.sendall(b"".join(sent))
        agent.shutdown(socket.SHUT_WR)
        answered = 0
        with suppress(ClientGone, h11.RemoteProtocolError):
            while await client.next_request() is not None:
                await client.read_body()
                await client.answer(Answer(200, {}))
                answered += 1

        assert answered <= b"".join(sent).count(b"HTTP/1.1")

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


def test_a_socket_whose_name_is_taken_leaves_nothing_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is tried again every second."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a-1.sock").mkdir()
    folders = {f"WATCHBILL_{name}": str(tmp_path) for name in ("SOCKETS", "GRANTS", "LEDGER", "CREDENTIALS")}
    forwarder = Forwarder(parse_settings(folders | {"WATCHBILL_UPSTREAM": "http://127.0.0.1:1"}), load_prices({}))

    async def play() -> None:
        opened = AttemptSocket(Attempt(Grant("a", 1, None), tmp_path), forwarder)
        before = len(os.listdir("/proc/self/fd"))
        with pytest.raises(OSError, match="directory"):
            await opened.open()
        await asyncio.sleep(0)  # the loop closes what it was told to

        assert len(os.listdir("/proc/self/fd")) == before

    asyncio.run(play())

    assert sorted(os.listdir(tmp_path)) == ["a-1.json", "a-1.sock"]
