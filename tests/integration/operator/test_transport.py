"""The way of a request to the API server: one kept connection, nothing sent twice, nobody else believed."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pykube
import pytest

from support.api_server import ApiServer
from support.waiting import wait_for
from watchbill_operator.api import PODS, TASKS, Api, Request, UnavailableError, connector
from watchbill_operator.transport import build_client

ANSWER = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 13\r\n\r\n{"kind": "X"}'
LIST = Request(method="GET", resource=PODS)
STATUS = Request(method="PATCH", resource=TASKS, name="a", subresource="status", body={"status": {}})

Serve = Callable[[socket.socket], None]


class Listener:
    """A server that does with each connection what it was told to, and notes the requests."""

    def __init__(self, *behaviours: Serve) -> None:
        self.requests: list[bytes] = []
        self.connections = 0
        self.closed = 0
        self._behaviours = list(behaviours)
        self._socket = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._run, daemon=True).start()

    @property
    def api(self) -> Api:
        """The operator's API of this server."""
        url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        named = {"name": "x", "cluster": {"server": url}, "user": {"token": "the-token"}}
        context = {"name": "x", "context": {"cluster": "x", "user": "x"}}
        parts = {"clusters": [named], "users": [named], "contexts": [context]}
        config = pykube.KubeConfig({**parts, "current-context": "x"})
        return Api(lambda: build_client(config, 5.0), "default")

    def close(self) -> None:
        self._socket.close()

    def take(self, connection: socket.socket) -> None:
        """Read one request."""
        self.requests.append(connection.recv(65536))

    def _run(self) -> None:
        for behave in self._behaviours:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.connections += 1
            with connection:
                behave(connection)
            self.closed += 1


@pytest.fixture
def listen() -> Iterator[Callable[..., Listener]]:
    """Make a server from what it does with its connections."""
    made: list[Listener] = []

    def make(*behaviours: Callable[[Listener, socket.socket], None]) -> Listener:
        def bind(behave: Callable[[Listener, socket.socket], None]) -> Serve:
            return lambda connection: behave(made[-1], connection)

        made.append(Listener(*map(bind, behaviours)))
        return made[-1]

    yield make
    for listener in made:
        listener.close()


def answer(listener: Listener, connection: socket.socket) -> None:
    """Answer one request and close."""
    listener.take(connection)
    connection.sendall(ANSWER)


def answer_three(listener: Listener, connection: socket.socket) -> None:
    """Answer three requests on one connection."""
    for _ in range(3):
        answer(listener, connection)


def say_nothing(listener: Listener, connection: socket.socket) -> None:
    """Take a request and close without a word."""
    listener.take(connection)


def break_off(listener: Listener, connection: socket.socket) -> None:
    """Close in the middle of the answer."""
    listener.take(connection)
    connection.sendall(ANSWER[:-4])


def say(status: bytes, body: bytes) -> Callable[[Listener, socket.socket], None]:
    """Answer one request with this and close."""

    def behave(listener: Listener, connection: socket.socket) -> None:
        listener.take(connection)
        length = b"Content-Length: %d" % len(body)
        connection.sendall(b"\r\n".join([b"HTTP/1.1 " + status, b"Location: /login", length, b"", body]))

    return behave


@pytest.mark.parametrize("request_", [LIST, STATUS], ids=["list", "status"])
@pytest.mark.parametrize("body", [b"<html>login</html>", b"", b"[]", b"null", b"\xff\xfe"])
@pytest.mark.parametrize("status", [b"200 OK", b"302 Found"])
def test_an_answer_that_is_not_the_api_servers_is_no_success(
    listen: Callable[..., Listener], status: bytes, body: bytes, request_: Request
) -> None:
    """A proxy or a login page stands in its place, for a while."""
    server = listen(say(status, body))

    with pytest.raises(UnavailableError):
        server.api.send_blocking(request_)


def test_a_connection_is_kept(listen: Callable[..., Listener]) -> None:
    """Making one costs more than a request."""
    server = listen(answer_three)
    api = server.api

    assert [api.send_blocking(LIST)["kind"] for _ in range(3)] == ["X", "X", "X"]
    assert server.connections == 1


def test_a_request_carries_the_token(listen: Callable[..., Listener]) -> None:
    """pykube adds it."""
    server = listen(answer)
    server.api.send_blocking(LIST)

    assert b"Authorization: Bearer the-token\r\n" in server.requests[0]


def test_a_connection_that_was_closed_meanwhile_is_replaced(listen: Callable[..., Listener]) -> None:
    """API servers close idle connections, and restart."""
    server = listen(answer, answer)
    api = server.api
    api.send_blocking(LIST)
    wait_for(lambda: server.closed == 1, "the first connection was closed")

    assert api.send_blocking(LIST)["kind"] == "X"


@pytest.mark.parametrize("behave", [say_nothing, break_off])
def test_a_request_without_an_answer_is_not_sent_again(listen: Callable[..., Listener], behave: Serve) -> None:
    """It may have been carried out: the caller decides. The next one gets a connection of its own."""
    server = listen(behave, answer)
    api = server.api

    with pytest.raises(UnavailableError):
        api.send_blocking(LIST)
    assert len(server.requests) == 1
    assert api.send_blocking(LIST)["kind"] == "X"


def test_a_server_with_a_foreign_certificate_is_not_spoken_to(bare_server: ApiServer, tmp_path: Path) -> None:
    """The kubeconfig says whose signature counts."""
    other = tmp_path / "other"
    other.mkdir()
    stranger = ApiServer(other)
    stranger.start()
    try:
        doc = pykube.KubeConfig.from_file(str(bare_server.kubeconfig)).doc
        address = pykube.KubeConfig.from_file(str(stranger.kubeconfig)).cluster["server"]
        doc["clusters"][0]["cluster"]["server"] = address
        mixed = pykube.KubeConfig(doc)
        with pytest.raises(UnavailableError, match="CERTIFICATE_VERIFY_FAILED"):
            Api(lambda: build_client(mixed, 5.0), "default").send_blocking(LIST)
    finally:
        stranger.stop()


def test_the_operators_own_kubeconfig_works(bare_server: ApiServer) -> None:
    """Over TLS, with the certificate that the server made for itself."""
    assert Api(connector(bare_server.kubeconfig), "default").send_blocking(LIST)["kind"] == "PodList"
