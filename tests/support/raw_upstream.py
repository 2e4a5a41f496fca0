"""A model's API of a few lines, on loopback: the test says every byte of each answer, and when it is sent.

Owns its threads and sockets; `close` ends them whatever a test did. For faults that a well-behaved server cannot
commit, and for tests in which nothing but the broker should take time.
"""

from __future__ import annotations

import base64
import json
import socket
import ssl
import struct
import threading
import zlib
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from support.waiting import wait_for

CUT = b"\0cut"  #: as a piece of an answer: reset the connection here
STALL = b"\0stall"  #: say nothing more, until the client closes


@dataclass(frozen=True)
class Asked:
    """One request as it came in."""

    method: str
    target: str
    fields: list[tuple[str, str]]  #: names in lower case
    body: bytes
    connection: int  #: which of the server's connections, from 0

    def field(self, name: str) -> str | None:
        """The first value of a header field."""
        return next((value for key, value in self.fields if key == name), None)


class RawUpstream:
    """The server. `answer` gives the pieces of each answer; it may wait between them."""

    def __init__(self, answer: Callable[[Asked], Iterable[bytes]], *, tls: ssl.SSLContext | None = None) -> None:
        self._answer = answer
        self._tls = tls
        self.asked: list[Asked] = []
        self.closed_by_client = threading.Event()  #: while an answer stalled
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        """Its address."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    def __enter__(self) -> RawUpstream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End everything."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._open:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def wait_for(self, count: int) -> list[Asked]:
        """Wait until so many requests came in."""
        return wait_for(lambda: self.asked if len(self.asked) >= count else [], f"{count} requests", every=0.005)

    def _accept(self) -> None:
        number = 0
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self._open.append(connection)
                threading.Thread(target=self._serve, args=(connection, number), daemon=True).start()
                number += 1

    def _serve(self, connection: socket.socket, number: int) -> None:
        with suppress(OSError):
            wrapped = self._tls.wrap_socket(connection, server_side=True) if self._tls else connection
            with wrapped, wrapped.makefile("rb") as reader:
                while self._answer_next(wrapped, _read(reader, number)):
                    pass

    def _answer_next(self, connection: socket.socket, asked: Asked | None) -> bool:
        """Note a request and answer it; whether the connection goes on."""
        if asked is None:
            return False
        self.asked.append(asked)
        return self._send(connection, asked)

    def _send(self, connection: socket.socket, asked: Asked) -> bool:
        """Send the pieces of one answer; whether the connection goes on."""
        for piece in self._answer(asked):
            if piece == STALL:
                with suppress(OSError):
                    connection.recv(1)
                self.closed_by_client.set()
                return False
            if piece == CUT:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                connection.close()
                return False
            connection.sendall(piece)
        return True


def _read(reader: Any, number: int) -> Asked | None:
    first = reader.readline().decode("latin1").split()
    if len(first) < 3:
        return None
    fields = []
    while (line := reader.readline().decode("latin1").strip()) != "":
        name, _, value = line.partition(":")
        fields.append((name.lower(), value.strip()))
    named = dict(fields)
    body = b""
    if named.get("transfer-encoding") == "chunked":
        while size := int(reader.readline(), 16):
            body += reader.read(size)
            reader.readline()
        reader.readline()
    else:
        body = reader.read(int(named.get("content-length") or 0))
    return Asked(first[0], first[1], fields, body, number)


def whole(status: int, body: bytes | dict[str, Any], **fields: str) -> list[bytes]:
    """One whole answer; underscores in names of fields stand for hyphens."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} Said", f"content-length: {len(content)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in fields.items()]
    return ["\r\n".join([*lines, "", ""]).encode() + content]


def message(usage: dict[str, Any] | None = None, model: str = "claude-opus-5-5") -> list[bytes]:
    """A message that was asked for in one piece."""
    used = {"input_tokens": 1000, "output_tokens": 100} if usage is None else usage
    content = [{"type": "text", "text": "hello"}]
    body = {"type": "message", "role": "assistant", "model": model, "content": content, "usage": used}
    return whole(200, body, content_type="application/json")


def stream(*events: dict[str, Any]) -> list[bytes]:
    """A streamed answer: the head, a chunk for each event, and the end."""
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    return [head, *(chunk(encode(event)) for event in events), b"0\r\n\r\n"]


def encode(event: dict[str, Any]) -> bytes:
    """One server-sent event."""
    return f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()


def chunk(data: bytes) -> bytes:
    """A chunk of a body."""
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


def begins(tokens: int = 1000, model: str = "claude-opus-5-5", **more: Any) -> dict[str, Any]:
    """The event that begins a message."""
    usage = {"input_tokens": tokens, "output_tokens": 1, **more}
    return {"type": "message_start", "message": {"type": "message", "model": model, "usage": usage}}


def says(text: str) -> dict[str, Any]:
    """An event with a piece of text."""
    return {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}


def ends(tokens: int = 100) -> dict[str, Any]:
    """The event that ends a message."""
    return {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": tokens}}


def frame(event: dict[str, Any]) -> bytes:
    """One event as a frame of Bedrock's event stream."""
    payload = json.dumps({"bytes": base64.b64encode(json.dumps(event).encode()).decode(), "p": "abc"}).encode()
    named = {":event-type": "chunk", ":content-type": "application/json", ":message-type": "event"}
    headers = b"".join(
        struct.pack(">B", len(name)) + name.encode() + struct.pack(">BH", 7, len(value)) + value.encode()
        for name, value in named.items()
    )
    prelude = struct.pack(">II", 16 + len(headers) + len(payload), len(headers))
    head = prelude + struct.pack(">I", zlib.crc32(prelude)) + headers + payload
    return head + struct.pack(">I", zlib.crc32(head))
