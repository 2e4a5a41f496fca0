"""A cheap client: requests with prepared bodies over kept connections.

Cheap as Python can be, so that a figure is the server's, and the processor time left for what is measured.
"""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pykube

MERGE_PATCH = "application/merge-patch+json"

TIMEOUT_SECONDS = 120.0  #: a watch may be silent for as long as the measurement before it takes

Call = tuple[str, str, bytes]  #: method, path, body


class Sender:
    """Sends requests over one connection a thread."""

    def __init__(self, config: pykube.KubeConfig) -> None:
        self._place = urllib.parse.urlsplit(config.cluster["server"])
        self._tls = ssl.create_default_context(cafile=config.cluster["certificate-authority"].filename())
        self._token = config.user["token"]
        self._local = threading.local()
        self._open: list[http.client.HTTPSConnection] = []

    def send(self, call: Call) -> bytes:
        """Send one request; return the answer's body. Raises RuntimeError for any answer but success."""
        with self._ask(call) as answer:
            return answer.read()

    def watch(self, path: str, listed: Callable[[], None]) -> Iterator[tuple[str, dict[str, Any]]]:
        """List a collection, say so, and then yield kind and object of each change, until the server ends the watch."""
        version = json.loads(self.send(("GET", f"{path}?limit=1", b"")))["metadata"]["resourceVersion"]
        listed()
        with self._ask(("GET", f"{path}?watch=1&resourceVersion={version}", b"")) as answer:
            while line := answer.readline():
                event = json.loads(line)
                yield event["type"], event["object"]

    def rate(self, calls: Sequence[Call], threads: int) -> float:
        """Send them all from so many threads; return how many a second were answered."""
        began = time.monotonic()
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(self._send_all, [calls[share::threads] for share in range(threads)]))
        return len(calls) / (time.monotonic() - began)

    def close(self) -> None:
        """End every connection, also one that another thread waits on."""
        for connection in self._open:
            if connection.sock is not None:
                with suppress(OSError):
                    connection.sock.shutdown(socket.SHUT_RDWR)

    def _send_all(self, calls: Sequence[Call]) -> None:
        for call in calls:
            self.send(call)

    def _ask(self, call: Call) -> http.client.HTTPResponse:
        method, path, body = call
        kind = MERGE_PATCH if method == "PATCH" else "application/json"
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": kind}
        connection = self._connection()
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        if answer.status >= 300:
            raise RuntimeError(f"{method} {path}: {answer.status} {answer.read()[:300]!r}")
        return answer

    def _connection(self) -> http.client.HTTPSConnection:
        known: http.client.HTTPSConnection | None = getattr(self._local, "connection", None)
        if known is None:
            place = self._place
            known = http.client.HTTPSConnection(
                place.hostname or "", place.port, context=self._tls, timeout=TIMEOUT_SECONDS
            )
            self._local.connection = known
            self._open.append(known)
        return known


def encode(body: Mapping[str, Any]) -> bytes:
    """A body on the wire."""
    return json.dumps(body, separators=(",", ":")).encode()
