"""One Unix socket for each attempt that may use the model, and none for any other.

Owns the folder of sockets. Invariant: after `apply` exactly the granted attempts have a socket; a name appears only
when somebody listens; an attempt that is no longer granted loses its socket and its open connections at once. Names
are bound relative to the working folder, which is the folder of sockets: a path of 107 bytes would be too short for
some.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import socket
from collections.abc import Mapping
from pathlib import Path

import h11

from watchbill_broker import answers
from watchbill_broker.attempt import Attempt
from watchbill_broker.client import Client, ClientGone
from watchbill_broker.forwarding import Forwarder
from watchbill_broker.grants import Grant
from watchbill_broker.ledger import sweep_temporaries

MAX_CONNECTIONS = 32  #: of one attempt, at a time
BACKLOG = 64
SOCKET_MODE = 0o666
OURS = re.compile(r"(?:\.tmp-)?[A-Za-z0-9][A-Za-z0-9-]*\.sock")

logger = logging.getLogger(__name__)


class AttemptSocket:
    """An attempt's socket and the connections on it."""

    def __init__(self, attempt: Attempt, forwarder: Forwarder) -> None:
        """Listen to nobody yet."""
        self.attempt = attempt
        self._forwarder = forwarder
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Listen, and only then show the name. Raises OSError."""
        temporary = f".tmp-{self.attempt.name}.sock"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            listener.bind(temporary)
            os.chmod(temporary, SOCKET_MODE)
            listener.listen(BACKLOG)
            server = await asyncio.start_unix_server(self._accept, sock=listener, backlog=BACKLOG)
        except OSError:
            listener.close()
            raise
        try:
            os.rename(temporary, f"{self.attempt.name}.sock")
        except OSError:
            server.close()
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
        self._server = server

    async def close(self) -> None:
        """Take the name away and end every connection."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{self.attempt.name}.sock")
        if self._server is not None:
            self._server.close()
        connections = list(self._connections)
        for connection in connections:
            connection.cancel()
        await asyncio.gather(*connections, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or len(self._connections) >= MAX_CONNECTIONS:
            writer.transport.abort()
            return
        self._connections.add(task)
        client = Client(reader, writer)
        try:
            await self._converse(client)
        except asyncio.CancelledError:
            client.abort()
        except ClientGone:
            client.abort()
        except h11.LocalProtocolError as error:
            logger.debug("a connection of %s asked for what HTTP has no answer to: %s", self.attempt.name, error)
            client.abort()
        except Exception as error:  # noqa: BLE001 - the outermost loop of a connection; others go on
            logger.error("a connection of %s ended by %s", self.attempt.name, type(error).__name__)  # noqa: TRY400
            client.abort()
        finally:
            self._connections.discard(task)
            await client.close()

    async def _converse(self, client: Client) -> None:
        """Answer request after request."""
        try:
            while (request := await client.next_request()) is not None:
                await self._forwarder.handle(client, self.attempt, request)
        except h11.RemoteProtocolError:
            if not client.has_begun():
                with contextlib.suppress(h11.LocalProtocolError):
                    await client.answer(answers.bad_request("the request is not HTTP/1.1 as the broker reads it"))


class Sockets:
    """The sockets of all granted attempts. The working folder must be theirs."""

    def __init__(self, forwarder: Forwarder, ledger: Path) -> None:
        """Take away what a former life left."""
        self._forwarder = forwarder
        self._ledger = ledger
        self._open: dict[str, AttemptSocket] = {}
        self._missing: dict[str, AttemptSocket] = {}  #: granted, and could not be opened
        for name in filter(OURS.fullmatch, os.listdir(".")):
            with contextlib.suppress(OSError):
                os.unlink(name)
        sweep_temporaries(ledger)

    @property
    def are_whole(self) -> bool:
        """Whether every attempt that was granted has its socket."""
        return not self._missing

    async def apply(self, grants: Mapping[str, Grant]) -> None:
        """Make the sockets equal to the grants. What cannot be opened is logged once, and tried again at each call."""
        self._missing = {name: missing for name, missing in self._missing.items() if name in grants}
        for name in [name for name in self._open if name not in grants]:
            await self._open.pop(name).close()
            logger.info("%s may no longer use the model", name)
        for name, grant in grants.items():
            if name in self._open:
                self._open[name].attempt.account.change(grant)
                continue
            if await self._try_to_open(grant):
                logger.info("%s may use the model, budget %s", name, grant.budget_usd)

    async def _try_to_open(self, grant: Grant) -> bool:
        former = self._missing.pop(grant.name, None)
        opened = former or AttemptSocket(Attempt(grant, self._ledger), self._forwarder)
        opened.attempt.account.change(grant)
        try:
            await opened.open()
        except OSError as error:
            if former is None:
                logger.error("no socket for %s: %s", grant.name, error)  # noqa: TRY400 - there is no more to say
            self._missing[grant.name] = opened
            return False
        self._open[grant.name] = opened
        return True

    async def close(self) -> None:
        """Take away every socket."""
        await self.apply({})
