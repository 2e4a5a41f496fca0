"""A request of an agent on its way through a real broker, and the answer back."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator

import pytest

from support.broker_process import KEY, BrokerProcess, SocketConnection, connect, encode_request
from support.raw_upstream import (
    CUT,
    STALL,
    Asked,
    RawUpstream,
    begins,
    chunk,
    encode,
    ends,
    message,
    says,
    stream,
    whole,
)
from support.waiting import wait_for


def test_a_request_goes_out_with_the_key_of_the_broker_and_none_of_the_agent() -> None:
    """Whatever credential an agent sends is dropped, and so is every field that Claude Code does not need."""
    with RawUpstream(lambda _: message()) as api, BrokerProcess(api.url) as broker:
        connection = SocketConnection(broker.grant())
        fields = {"x-api-key": "mine", "Authorization": "Bearer mine", "Cookie": "a=mine", "X-Goog-Api-Key": "mine"}
        connection.request("POST", "/v1/messages", encode_request(None), {**fields, "anthropic-version": "2023-06-01"})

        status = connection.getresponse().status

        (asked,) = api.asked
        assert (status, asked.field("x-api-key"), asked.field("anthropic-version")) == (200, KEY, "2023-06-01")
        assert asked.field("host") == f"127.0.0.1:{api.port}"
        assert asked.field("accept-encoding") == "identity"  # or what it used could not be read
        assert "mine" not in str(asked.fields)


@pytest.mark.parametrize("status", [200, 400, 500])
def test_no_body_and_no_field_is_logged(status: int) -> None:
    """Neither what is asked nor what is answered, however much the log is to tell."""
    error = {"error": {"type": "api_error", "message": "MARKED"}}
    streamed = stream(begins(), says("MARKED"), ends())
    answer = streamed if status == 200 else whole(status, error, content_type="application/json", request_id="MARKED")
    asked = {"model": "claude-opus-5-5", "max_tokens": 10, "messages": [{"role": "user", "content": "MARKED"}]}
    with RawUpstream(lambda _: answer) as api, BrokerProcess(api.url, {"WATCHBILL_LOG_LEVEL": "DEBUG"}) as broker:
        broker.grant()

        assert broker.ask(asked)[0] == status

        broker.stop()  # it has said all
        assert "may use the model" in broker.log
        assert "MARKED" not in broker.log


def test_an_answer_is_passed_on_piece_by_piece() -> None:
    """The agent has the first event while the API has not yet said the second."""
    first_arrived = threading.Event()

    def answer(_: Asked) -> Iterator[bytes]:
        head, *pieces = stream(begins(), says("hello"), ends())
        yield head + pieces[0]
        assert first_arrived.wait(90)
        yield from pieces[1:]

    with RawUpstream(answer) as api, BrokerProcess(api.url) as broker:
        connection = SocketConnection(broker.grant())
        connection.request("POST", "/v1/messages", encode_request(None))
        response = connection.getresponse()
        first = response.readline()
        first_arrived.set()

        assert first == b"event: message_start\n"
        assert b"message_delta" in response.read()


def test_two_requests_use_one_connection_each_way() -> None:
    """Connections are kept: a TLS handshake a turn would cost more than the broker."""
    with RawUpstream(lambda _: message()) as api, BrokerProcess(api.url) as broker:
        connection = SocketConnection(broker.grant())
        for _ in range(2):
            connection.request("POST", "/v1/messages", encode_request(None))
            assert connection.getresponse().read()

        assert [asked.connection for asked in api.asked] == [0, 0]


def test_a_connection_that_the_api_closed_meanwhile_is_not_used_again() -> None:
    """Kept connections end on the other side whenever it likes."""

    def answer(_: Asked) -> Iterator[bytes]:
        yield from message()
        yield CUT

    with RawUpstream(answer) as api, BrokerProcess(api.url) as broker:
        broker.grant()

        assert [broker.ask()[0] for _ in range(3)] == [200, 200, 200]
        assert [asked.connection for asked in api.asked] == [0, 1, 2]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/files"),
        ("POST", "/v1/messages/batches"),
        ("GET", "/v1/organizations/api_keys"),
        ("POST", "/v1/messages/../files"),
        ("POST", "/v1/messages/%2e%2e/files"),
        ("POST", "http://elsewhere.example/v1/messages"),
        ("DELETE", "/v1/models/claude-opus-5-5"),
        ("POST", "/v1/complete"),
    ],
)
def test_what_claude_code_does_not_need_is_not_there(
    broker_and_api: tuple[BrokerProcess, RawUpstream], method: str, path: str
) -> None:
    """Files, batches, keys of the organisation: the credential may reach them, agents may not."""
    broker, api = broker_and_api
    before = len(api.asked)

    status, _, body = broker.ask(method=method, path=path)

    assert (status, json.loads(body)["error"]["type"]) == (404, "not_found_error")
    assert len(api.asked) == before


def test_a_request_with_two_lengths_is_refused(broker_and_api: tuple[BrokerProcess, RawUpstream]) -> None:
    """Two readers that see two ends are how a request is smuggled."""
    broker, api = broker_and_api
    before = len(api.asked)
    with connect(broker.socket()) as raw:
        raw.sendall(
            b"POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"0\r\n\r\nGET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n"
        )

        assert raw.makefile("rb").read().startswith(b"HTTP/1.1 400")
    assert len(api.asked) == before


def test_what_is_not_http_gets_a_400(broker_and_api: tuple[BrokerProcess, RawUpstream]) -> None:
    """A line of nonsense is answered and ends the connection."""
    broker, _ = broker_and_api
    with connect(broker.socket()) as raw:
        raw.sendall(b"\x16\x03\x01 nonsense\r\n\r\n")

        assert b"HTTP/1.1 400" in raw.makefile("rb").read()


@pytest.mark.parametrize("path", ["/", "/v1/models", "/v1/messages", "/watchbill/usage"])
def test_a_head_request_is_answered_without_a_body(
    broker_and_api: tuple[BrokerProcess, RawUpstream], path: str
) -> None:
    """And is no error of the broker's; the connection goes on."""
    broker, _ = broker_and_api
    with connect(broker.socket()) as raw:
        raw.sendall(f"HEAD {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        head, _, rest = raw.makefile("rb").read().partition(b"\r\n\r\n")

    assert (head[:12], rest) == (b"HTTP/1.1 200" if path == "/v1/models" else b"HTTP/1.1 404", b"")
    assert "ERROR" not in broker.log


def test_a_body_of_many_megabytes_passes_without_being_held() -> None:
    """30 MiB go through a process whose memory stays below 45 MB."""
    with RawUpstream(lambda _: message()) as api, BrokerProcess(api.url) as broker:
        broker.grant()

        status, _, _ = broker.ask(b"x" * (30 * 2**20))

        assert (status, len(api.asked[0].body)) == (200, 30 * 2**20)
        assert broker.peak_kilobytes() < 45_000


def test_a_body_over_the_limit_is_refused_before_it_is_read(broker_and_api: tuple[BrokerProcess, RawUpstream]) -> None:
    """64 MiB is more than any prompt."""
    broker, _ = broker_and_api
    with connect(broker.socket()) as raw:
        raw.sendall(b"POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Length: 67108865\r\n\r\n" + b"x" * 2**20)

        assert raw.recv(12) == b"HTTP/1.1 413"


def test_a_body_of_unknown_length_arrives_whole(broker_and_api: tuple[BrokerProcess, RawUpstream]) -> None:
    """Chunks in, a length out."""
    broker, api = broker_and_api
    body = encode_request(None)
    with connect(broker.socket()) as raw:
        head = b"POST /v1/messages HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        raw.sendall(head + chunk(body[:10]) + chunk(body[10:]) + b"0\r\n\r\n")

        assert raw.recv(12) == b"HTTP/1.1 200"
        assert (api.asked[-1].body, api.asked[-1].field("content-length")) == (body, str(len(body)))


def test_an_answer_that_is_cut_is_cut_for_the_agent_too() -> None:
    """The CLI must see that the answer is not whole; what it told is counted."""

    def answer(_: Asked) -> Iterator[bytes]:
        head, start, *_rest = stream(begins(2000), ends())
        yield head
        yield start
        yield CUT

    with RawUpstream(answer) as api, BrokerProcess(api.url) as broker:
        broker.grant()

        with pytest.raises((ConnectionError, OSError, Exception), match=r"reset|IncompleteRead|closed"):
            broker.ask()

        assert broker.wait_for_requests(1)["inputTokens"] == 2000
        assert broker.ledger()["guessed"] == 1


def test_a_client_that_goes_ends_the_request_at_the_api() -> None:
    """An interrupted session must not go on costing; what was under way is charged by a guess."""

    def answer(_: Asked) -> Iterator[bytes]:
        yield from stream(begins(3000), says("hello " * 100))[:3]
        yield STALL

    with RawUpstream(answer) as api, BrokerProcess(api.url) as broker:
        connection = SocketConnection(broker.grant())
        connection.request("POST", "/v1/messages", encode_request(None))
        response = connection.getresponse()
        while b"hello" not in response.readline():
            pass

        response.close()
        connection.close()

        assert api.closed_by_client.wait(90)
        wait_for(lambda: broker.ledger()["outputTokens"] > 1, "the guess")
        assert (broker.ledger()["inputTokens"], broker.ledger()["guessed"]) == (3000, 1)
        assert broker.ledger()["outputTokens"] > 140


def test_an_api_that_cannot_be_reached_is_said_so() -> None:
    """The runner can tell it from an answer of the API."""
    with BrokerProcess("http://127.0.0.1:1") as broker:
        broker.grant()

        status, _, body = broker.ask()

        assert (status, broker.usage()["refused"]) == (502, "network")
        assert "127.0.0.1:1: Connect" in json.loads(body)["error"]["message"]


def test_an_early_refusal_reaches_an_agent_that_still_sends() -> None:
    """An API may answer 413 and close before the body is over."""
    answer = [*whole(413, {"type": "error", "error": {"type": "request_too_large", "message": "big"}}), CUT]
    with RawUpstream(lambda _: answer) as api, BrokerProcess(api.url) as broker:
        broker.grant()

        assert broker.ask(b"x" * 2**21)[0] == 413


def test_a_rate_limit_tells_the_runner_how_long_to_wait() -> None:
    """The CLI does not pass this on."""
    error = {"type": "error", "error": {"type": "rate_limit_error", "message": "slow down"}}
    with RawUpstream(lambda _: whole(429, error, retry_after="77")) as api, BrokerProcess(api.url) as broker:
        broker.grant()

        status, fields, _ = broker.ask()

        usage = broker.usage()
        assert (status, fields["retry-after"], usage["lastStatus"]) == (429, "77", 429)
        assert 70 < usage["retryAfterSeconds"] <= 77


def test_an_event_that_is_split_anywhere_is_counted() -> None:
    """Pieces of TCP know nothing of events."""

    def answer(_: Asked) -> Iterator[bytes]:
        yield stream()[0]
        for byte in encode(begins(500)) + encode(ends(50)):
            yield chunk(bytes([byte]))
        yield b"0\r\n\r\n"

    with RawUpstream(answer) as api, BrokerProcess(api.url) as broker:
        broker.grant()

        assert broker.ask()[0] == 200

        ledger = broker.wait_for_requests(1)
        assert (ledger["inputTokens"], ledger["outputTokens"], ledger["guessed"]) == (500, 50, 0)


@pytest.fixture(scope="module")
def broker_and_api() -> Iterator[tuple[BrokerProcess, RawUpstream]]:
    """One broker with one attempt, for tests that leave nothing behind."""
    with RawUpstream(lambda _: message()) as api, BrokerProcess(api.url) as broker:
        broker.grant()
        yield broker, api
