"""Other ways to the model: TLS, a proxy, Bedrock, Vertex."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from support.broker_process import KEY, BrokerProcess
from support.certificates import make_certificate
from support.raw_upstream import Asked, RawUpstream, begins, chunk, ends, frame, message, stream

FRAMES_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/vnd.amazon.eventstream\r\ntransfer-encoding: chunked\r\n\r\n"
)
BEDROCK = "/model/us.anthropic.claude-sonnet-4-5-20250929-v1%3A0/invoke-with-response-stream"
VERTEX = "/v1/projects/my-project/locations/us-east5/publishers/anthropic/models/claude-sonnet-4-5:streamRawPredict"


def test_an_https_api_is_reached_when_its_authority_is_trusted(tmp_path: Path) -> None:
    """SSL_CERT_FILE adds the authority of a company's gateway."""
    certificate, tls = make_certificate(tmp_path)
    with (
        RawUpstream(lambda _: message(), tls=tls) as api,
        BrokerProcess(api.url, {"SSL_CERT_FILE": str(certificate)}) as broker,
    ):
        broker.grant()

        assert [broker.ask()[0] for _ in range(2)] == [200, 200]
        assert [asked.connection for asked in api.asked] == [0, 0]
        assert broker.peak_kilobytes() < 30_000


def test_an_https_api_that_nobody_vouches_for_gets_no_key(tmp_path: Path) -> None:
    """The words say why."""
    _, tls = make_certificate(tmp_path)
    with RawUpstream(lambda _: message(), tls=tls) as api, BrokerProcess(api.url) as broker:
        broker.grant()

        status, _, body = broker.ask()

        assert (status, api.asked) == (502, [])
        assert "certificate is not accepted: self-signed certificate" in json.loads(body)["error"]["message"]


def test_a_proxy_sees_only_the_encrypted_request(tmp_path: Path) -> None:
    """By CONNECT, as HTTPS_PROXY says."""
    certificate, tls = make_certificate(tmp_path)
    with RawUpstream(lambda _: message(), tls=tls) as api, Proxy() as proxy:
        environment = {"SSL_CERT_FILE": str(certificate), "HTTPS_PROXY": proxy.url, "NO_PROXY": ""}
        with BrokerProcess(api.url, environment) as broker:
            broker.grant()

            assert broker.ask()[0] == 200
            assert proxy.heads == [f"CONNECT 127.0.0.1:{api.port} HTTP/1.1"]
            assert KEY.encode() not in proxy.passed


def test_bedrocks_stream_is_passed_on_and_counted() -> None:
    """Its own framing, its own credential, its own path."""

    def answer(_: Asked) -> Iterator[bytes]:
        yield FRAMES_HEAD
        for event in (begins(1000, model="claude-sonnet-4-5-20250929"), ends(100)):
            yield chunk(frame(event))
        yield b"0\r\n\r\n"

    with RawUpstream(answer) as api, BrokerProcess(api.url, {"WATCHBILL_PROVIDER": "bedrock"}) as broker:
        broker.set_credential("bedrock-token", "AWS_BEARER_TOKEN_BEDROCK")
        broker.grant()

        status, _, body = broker.ask(path=BEDROCK)

        assert (status, body) == (200, frame(begins(1000, model="claude-sonnet-4-5-20250929")) + frame(ends(100)))
        assert (api.asked[0].target, api.asked[0].field("authorization")) == (BEDROCK, "Bearer bedrock-token")
        assert (broker.ledger()["costUSD"], broker.ledger()["guessed"]) == (0.0045, 0)


def test_vertex_is_passed_on_and_counted() -> None:
    """Where the answer does not name the model, the path does."""
    with (
        RawUpstream(lambda _: stream(begins(1000, model=""), ends(100))) as api,
        BrokerProcess(api.url, {"WATCHBILL_PROVIDER": "vertex"}) as broker,
    ):
        broker.set_credential("vertex-token", "VERTEX_ACCESS_TOKEN")
        broker.grant()

        assert broker.ask(path=VERTEX)[0] == 200
        assert api.asked[0].field("authorization") == "Bearer vertex-token"
        assert (broker.ledger()["costUSD"], broker.ledger()["unknownModels"]) == (0.0045, [])


def test_a_provider_without_a_region_says_what_is_missing() -> None:
    """There is no host to ask."""
    environment = {"WATCHBILL_PROVIDER": "bedrock", "AWS_REGION": "", "CLOUD_ML_REGION": ""}
    with BrokerProcess("", environment) as broker:
        broker.set_credential("bedrock-token", "AWS_BEARER_TOKEN_BEDROCK")
        broker.grant()

        status, _, body = broker.ask(path=BEDROCK)

        assert (status, b"put AWS_REGION" in body) == (401, True)


class Proxy:
    """A proxy that only connects, and keeps what passed from the client."""

    def __init__(self) -> None:
        self.heads: list[str] = []
        self.passed = b""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _serve(self) -> None:
        with suppress(OSError):
            client, _ = self._listener.accept()
            head = client.recv(4096).decode()
            self.heads.append(head.partition("\r\n")[0])
            host, _, port = head.split()[1].rpartition(":")
            server = socket.create_connection((host, int(port)))
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            threading.Thread(target=self._pump, args=(server, client), daemon=True).start()
            self._pump(client, server, keep=True)

    def _pump(self, source: socket.socket, sink: socket.socket, *, keep: bool = False) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                self.passed += data if keep else b""
                sink.sendall(data)
