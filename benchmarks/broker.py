"""What the broker costs: time to the first byte of an answer, memory, and the way from a grant to its socket.

Measured on a real broker process. The other side is a loopback API that answers at once, so that what is measured is
the broker alone; bodies have the size that Claude Code sends.
"""

from __future__ import annotations

import http.client
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.percentiles import percentile
from benchmarks.table import Figures
from support.broker_process import BrokerProcess, SocketConnection, encode_request
from support.certificates import make_certificate
from support.raw_upstream import Asked, RawUpstream, begins, ends, says, stream

REQUESTS = 300
BODY_BYTES = 48 * 1024  #: of a first turn of Claude Code
GRANTS = 50
LOOK_SECONDS = 0.0002


def measure_broker() -> Figures:
    """Everything about the broker; takes a few seconds."""
    with RawUpstream(answer) as api, BrokerProcess(api.url) as broker:
        started = resident(broker)
        direct = time_first_bytes(http.client.HTTPConnection("127.0.0.1", api.port))
        through = time_first_bytes(SocketConnection(broker.grant()))
        limited = time_first_bytes(SocketConnection(broker.grant(1000.0, attempt=2)))
        granted = [time_grant(broker, attempt) for attempt in range(3, 3 + GRANTS)]
        after = resident(broker)
    return {
        "broker: added to the first byte of an answer": added(direct, through),
        "broker: the same with a budget": added(direct, limited),
        "broker: from a grant to its socket": (
            f"p50 {percentile(granted, 0.5) * 1e3:.1f} ms, p99 {percentile(granted, 0.99) * 1e3:.1f} ms"
        ),
        "broker: resident, at its start": started,
        f"broker: resident, after {2 * REQUESTS} requests": after,
        "broker: resident, after a request by TLS": measure_tls(),
    }


def measure_tls() -> str:
    """Memory of a broker that has spoken to an https API, with the system's authorities loaded."""
    with tempfile.TemporaryDirectory() as folder:
        certificate, tls = make_certificate(Path(folder))
        authorities = Path("/etc/ssl/certs/ca-certificates.crt")
        if authorities.exists():
            with certificate.open("ab") as file:
                file.write(authorities.read_bytes())
        environment = {"SSL_CERT_FILE": str(certificate)}
        with RawUpstream(answer, tls=tls) as api, BrokerProcess(api.url, environment) as broker:
            broker.grant()
            assert broker.ask()[0] == 200
            return resident(broker)


def answer(_: Asked) -> Iterator[bytes]:
    """A short streamed answer."""
    yield b"".join(stream(begins(), says("hello"), ends()))


def time_first_bytes(connection: http.client.HTTPConnection) -> list[float]:
    """Seconds from the beginning of each request to the first byte of its answer, on one kept connection."""
    body = encode_request({"model": "claude-opus-5-5", "max_tokens": 1000, "messages": "x" * BODY_BYTES})
    took = []
    for _ in range(REQUESTS):
        began = time.perf_counter()
        connection.request("POST", "/v1/messages", body)
        response = connection.getresponse()
        response.read(1)
        took.append(time.perf_counter() - began)
        response.read()
    connection.close()
    return took


def time_grant(broker: BrokerProcess, attempt: int) -> float:
    """Seconds from the replaced file of grants to the socket."""
    began = time.perf_counter()
    broker.grant(attempt=attempt)
    return time.perf_counter() - began


def added(direct: list[float], through: list[float]) -> str:
    """The difference of two lists of seconds, in milliseconds."""
    parts = [(percentile(through, share) - percentile(direct, share)) * 1e3 for share in (0.5, 0.99)]
    return f"p50 {parts[0]:.2f} ms, p99 {parts[1]:.2f} ms"


def resident(broker: BrokerProcess) -> str:
    """The most memory that the broker ever had."""
    return f"{broker.peak_kilobytes() / 1024:.1f} MB"


if __name__ == "__main__":
    for what, figure in measure_broker().items():
        print(f"{what}: {figure}")
