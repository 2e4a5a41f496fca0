"""The small API server as a process: `python -m watchbill_local.server --data DIR --kubeconfig FILE`.

Owns what a server keeps on disk (`journal`, `token`, `serving.pem`, `port`, `lock`, all in one directory that is its
owner's alone) and the order of start and stop. The kubeconfig appears when the server answers, so whoever waits for
the file may connect at once. Exit codes: 0 after SIGTERM or SIGINT, 2 when it cannot start as asked (one sentence on
stderr says why).

Invariant: one directory is used by one process at a time, held by a lock that ends with the process.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import fcntl
import gc
import logging
import os
import signal
import ssl
import stat
import sys
from dataclasses import dataclass

from aiohttp import web

from watchbill_local.certificate import load_certificate, write_private
from watchbill_local.server.api import Api, Server
from watchbill_local.server.auth import load_token, write_kubeconfig
from watchbill_local.server.cluster import Cluster
from watchbill_local.server.expiry import EVENT_TTL
from watchbill_local.server.journal import DamagedJournalError

log = logging.getLogger("watchbill_local.server")

#: A loopback address: whoever holds the token runs programs here, so the server stays on this machine.
HOST = "127.0.0.1"
#: Seconds that open requests have to end when the server stops.
STOP_SECONDS = 0.5


class CannotServeError(Exception):
    """The server cannot start as it was asked to; the message says why and how to mend it."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How a server runs."""

    data: str  #: directory of its state, made if absent
    kubeconfig: str  #: where the kubeconfig is written
    port: int  #: 0 takes the port of the last run where it is free, else any
    event_ttl: float  #: seconds that Kubernetes Events are kept

    def path(self, name: str) -> str:
        """Return where a file of the data directory lies."""
        return os.path.join(self.data, name)


def main() -> int:
    """Run the server until a signal ends it."""
    settings = parse_arguments(sys.argv[1:])
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        asyncio.run(run(settings))
    except CannotServeError as error:
        sys.stderr.write(f"watchbill_local.server: {error}\n")
        return 2
    return 0


def parse_arguments(arguments: list[str]) -> Settings:
    """Return the settings of a command line; exits with code 2 on a wrong one."""
    about = "A small Kubernetes API server for trying things and for tests. It serves loopback alone."
    parser = argparse.ArgumentParser("watchbill_local.server", description=about)
    parser.add_argument("--data", required=True, metavar="DIR", help="keep objects and token here")
    parser.add_argument("--kubeconfig", required=True, metavar="FILE", help="write the kubeconfig here when ready")
    parser.add_argument("--port", type=int, default=0, help="port; 0, the default: that of the last run, or a free one")
    parser.add_argument("--event-ttl", type=float, default=EVENT_TTL, metavar="SECONDS", help="keep events so long")
    settings = Settings(**vars(parser.parse_args(arguments)))
    if not 0 <= settings.port <= 65535:
        parser.error(f"--port {settings.port} is no port number")
    return settings


async def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT. Raises CannotServeError."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with contextlib.AsyncExitStack() as stack:
        try:
            stack.callback(os.close, _take_directory(settings))
            token = load_token(settings.path("token"))
            context, authority = load_certificate(settings.path("serving.pem"))
            cluster = Cluster(settings.path("journal"), settings.event_ttl)
            stack.callback(cluster.store.close)
            loaded = cluster.start()
        except DamagedJournalError as error:
            raise CannotServeError(str(error)) from error
        except ssl.SSLError as error:
            why = "holds no certificate; delete it, and a new one is made"
            raise CannotServeError(f"{settings.path('serving.pem')} {why}") from error
        except OSError as error:
            raise CannotServeError(f"cannot use the data directory {settings.data}: {error.strerror}") from error
        server = Server(Api(cluster, token).handle, handler_cancellation=True)
        runner = web.ServerRunner(server, shutdown_timeout=STOP_SECONDS)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        stack.callback(cluster.end_watches)
        port = await _listen(runner, settings, context)
        url = f"https://{HOST}:{port}"
        try:
            write_private(settings.path("port"), f"{port}\n")
            write_kubeconfig(settings.kubeconfig, url=url, token=token, authority=authority)
        except OSError as error:
            raise CannotServeError(f"cannot write {settings.kubeconfig}: {error.strerror}") from error
        gc.freeze()  # what start-up made lives as long as the process; later collections need not look at it
        log.info("serving %s, %d objects from earlier, kubeconfig %s", url, loaded, settings.kubeconfig)
        await stop.wait()
        log.info("stopping")


def _take_directory(settings: Settings) -> int:
    """Make and lock the data directory; it is ours while the returned descriptor is open.

    Raises CannotServeError where somebody else could have put a token there, and OSError.
    """
    directory = f"the data directory {settings.data}"
    os.makedirs(settings.data, mode=0o700, exist_ok=True)
    found = os.stat(settings.data)
    if found.st_uid != os.geteuid() or found.st_mode & stat.S_IWOTH:
        raise CannotServeError(f"{directory} belongs to, or is open to, other users; name another")
    descriptor = os.open(settings.path("lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise CannotServeError(f"another server is using {directory}; stop it first or name another") from None
    return descriptor


async def _listen(runner: web.ServerRunner, settings: Settings, context: ssl.SSLContext) -> int:
    """Listen on the port asked for, or on that of the last run, or on a free one; return it."""
    for port in (settings.port,) if settings.port else (_load_port(settings), 0):
        try:
            await web.TCPSite(runner, HOST, port, backlog=1024, ssl_context=context).start()
        except OSError as error:
            if port and not settings.port:
                continue  # the port of the last run is taken; any other will do
            why = f"{os.strerror(error.errno or 0)}; free the port or name another by --port"
            raise CannotServeError(f"cannot listen on {HOST}:{port}: {why}") from error
        return int(runner.addresses[0][1])
    raise AssertionError("the last port tried either serves or raises")


def _load_port(settings: Settings) -> int:
    """Return the port of the last run, 0 where that is not known."""
    with contextlib.suppress(OSError, ValueError), open(settings.path("port"), encoding="ascii") as kept:
        return int(kept.read())
    return 0


if __name__ == "__main__":
    sys.exit(main())
