"""What the broker knows of an attempt: asked once, when its session is over.

Owns the request `GET /watchbill/usage` and the path by which a socket is reached. Invariant: `load_report` returns
within its limit, with a report or None; an attempt that is being stopped has lost its socket, and gets None.
"""

from __future__ import annotations

import asyncio
import json
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MAX_SUN_PATH = 107  #: bytes of a socket's path, by the kernel
MAX_ANSWER = 64 * 1024
REPORT_SECONDS = 2.0
REQUEST = b"GET /watchbill/usage HTTP/1.1\r\nHost: broker.internal\r\nConnection: close\r\n\r\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerReport:
    """The state of an attempt's account and of its last request."""

    cost_usd: float = 0.0
    retry_after_seconds: float | None = None
    refused: str = ""  #: budget | credential | network | ledger: the broker itself said no to the last one


def parse_report(answer: bytes) -> BrokerReport | None:
    """Read an HTTP answer; None when it is not the one that was asked for."""
    head, _, body = answer.partition(b"\r\n\r\n")
    try:
        raw: Any = json.loads(body[body.index(b"{") : body.rindex(b"}") + 1])
    except ValueError:
        return None
    if not head.startswith(b"HTTP/1.1 200") or not isinstance(raw, dict):
        return None
    cost, wait = _number(raw.get("costUSD")), _number(raw.get("retryAfterSeconds"))
    refused = raw.get("refused")
    return BrokerReport(
        cost_usd=cost or 0.0,
        retry_after_seconds=wait,
        refused=refused if isinstance(refused, str) else "",
    )


async def load_report(socket: str) -> BrokerReport | None:
    """Ask the broker."""
    with suppress(OSError, TimeoutError):
        async with asyncio.timeout(REPORT_SECONDS):
            return parse_report(await _ask(socket))
    return None


async def _ask(socket: str) -> bytes:
    """Send the request and return what comes back. Raises OSError."""
    reader, writer = await asyncio.open_unix_connection(socket, limit=MAX_ANSWER)
    try:
        writer.write(REQUEST)
        await writer.drain()
        answer = b""
        while (part := await reader.read(MAX_ANSWER)) and len(answer) < MAX_ANSWER:
            answer += part
        return answer
    finally:
        writer.close()


class SocketFolder:
    """The broker's folder of sockets, by a name that is always short enough for the kernel.

    A folder whose path is long is reached through a descriptor of this process, which those that it starts can follow.
    """

    def __init__(self, folder: Path) -> None:
        """Raises OSError."""
        self._folder = folder
        self._fd = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)

    def find(self, name: str) -> str:
        """Return the path of a socket."""
        path = str(self._folder / name)
        return path if len(os.fsencode(path)) <= MAX_SUN_PATH else f"/proc/{os.getpid()}/fd/{self._fd}/{name}"

    def close(self) -> None:
        """Give the descriptor back; paths are of no use any more."""
        os.close(self._fd)


def _number(value: object) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e12
    return float(value) if is_number and isinstance(value, int | float) else None
