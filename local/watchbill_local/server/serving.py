"""One running server: its directory, its port, its kubeconfig, its end.

Owns what a server keeps on disk (`journal`, `token`, `serving.pem`, `port`, `lock`, all in one directory that is its
owner's alone) and the order of start and stop. The kubeconfig appears when the server answers, so whoever waits for
the file may connect at once.

Invariant: one directory is used by one process at a time, held by a lock that ends with the process.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import ssl
import stat
from collections.abc import AsyncIterator
from dataclasses import dataclass

from aiohttp import web

from watchbill_local.server.api import Api
from watchbill_local.server.auth import LOOPBACK_NAMES, Fence, load_token, write_kubeconfig, write_private
from watchbill_local.server.certificates import load_context, load_serving_pem, parse_authority
from watchbill_local.server.cluster import Cluster
from watchbill_local.server.exchange import make_request
from watchbill_local.server.journal import DamagedJournalError
from watchbill_local.server.store import HISTORY_CHANGES

#: Seconds that open requests have to end when the server stops.
STOP_SECONDS = 0.5


class CannotServeError(Exception):
    """The server cannot start as it was asked to; the message says why and how to mend it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a server runs."""

    data: str  #: directory of its state, made if absent
    kubeconfig: str  #: where the kubeconfig is written
    host: str = "127.0.0.1"  #: a loopback address
    port: int = 0  #: 0 takes the port of the last run where it is free, else any
    history_changes: int = HISTORY_CHANGES  #: changes of a kind from which a watch can be resumed


@dataclass(frozen=True, slots=True)
class Running:
    """A server that answers."""

    url: str
    token: str
    loaded: int  #: objects that were there from an earlier run


@contextlib.asynccontextmanager
async def serve(settings: Settings) -> AsyncIterator[Running]:
    """Run a server inside the event loop for as long as the block lasts. Raises CannotServeError."""
    if settings.host not in LOOPBACK_NAMES:
        raise CannotServeError(
            f"{settings.host} is not a loopback address; this server runs programs, so it stays on this machine"
        )
    async with contextlib.AsyncExitStack() as stack:
        try:
            stack.callback(os.close, _take_directory(settings.data))
            token = load_token(os.path.join(settings.data, "token"))
            pem_path = os.path.join(settings.data, "serving.pem")
            pem = load_serving_pem(pem_path)
            context = load_context(pem_path)
            cluster = Cluster(os.path.join(settings.data, "journal"), settings.history_changes)
            stack.callback(cluster.stop)
            loaded = cluster.start()
        except DamagedJournalError as error:
            raise CannotServeError(str(error)) from error
        except ssl.SSLError as error:
            raise CannotServeError(f"{pem_path} holds no certificate; delete it, and a new one is made") from error
        except OSError as error:
            raise CannotServeError(f"cannot use the data directory {settings.data}: {error.strerror}") from error
        api = Api(cluster, Fence(token))
        stack.push_async_callback(api.close)
        server = web.Server(api.handle, request_factory=make_request, handler_cancellation=True, access_log=None)
        runner = web.ServerRunner(server, shutdown_timeout=STOP_SECONDS)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        stack.callback(cluster.watches.end_all)
        port = await _listen(runner, settings, context)
        url = f"https://{f'[{settings.host}]' if ':' in settings.host else settings.host}:{port}"
        try:
            write_private(os.path.join(settings.data, "port"), f"{port}\n")
            write_kubeconfig(settings.kubeconfig, url=url, token=token, authority=parse_authority(pem))
        except OSError as error:
            raise CannotServeError(f"cannot write {settings.kubeconfig}: {error.strerror}") from error
        yield Running(url, token, loaded)


def _take_directory(directory: str) -> int:
    """Make and lock a data directory; it is ours while the returned descriptor is open.

    Raises CannotServeError where somebody else could have put a token there, and OSError.
    """
    os.makedirs(directory, mode=0o700, exist_ok=True)
    found = os.stat(directory)
    if found.st_uid != os.geteuid() or found.st_mode & stat.S_IWOTH:
        raise CannotServeError(f"the data directory {directory} belongs to, or is open to, other users; name another")
    descriptor = os.open(os.path.join(directory, "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise CannotServeError(
            f"another server is using the data directory {directory}; stop it first or name another"
        ) from None
    return descriptor


async def _listen(runner: web.ServerRunner, settings: Settings, context: ssl.SSLContext) -> int:
    """Listen on the port asked for, or on that of the last run, or on a free one; return it."""
    for port in (settings.port,) if settings.port else (_load_port(settings.data), 0):
        try:
            await web.TCPSite(runner, settings.host, port, backlog=1024, ssl_context=context).start()
        except OSError as error:
            if port and not settings.port:
                continue  # the port of the last run is taken; any other will do
            reason = os.strerror(error.errno or 0)
            raise CannotServeError(
                f"cannot listen on {settings.host}:{port}: {reason}; free the port or name another by --port"
            ) from error
        return int(runner.addresses[0][1])
    raise AssertionError("the last port tried either serves or raises")


def _load_port(directory: str) -> int:
    """Return the port of the last run, 0 where that is not known."""
    with contextlib.suppress(OSError, ValueError), open(os.path.join(directory, "port"), encoding="ascii") as kept:
        return int(kept.read())
    return 0
