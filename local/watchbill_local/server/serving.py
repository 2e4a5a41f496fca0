"""One running server: its directory, its port, its kubeconfig, its end.

Owns what a server keeps on disk (`journal`, `token`, `serving.pem`, `port`, `lock`, all in one directory that is its
owner's alone) and the order of start and stop. The kubeconfig appears when the server answers, so whoever waits for
the file may connect at once.

Invariant: one directory is used by one process at a time, held by a lock that ends with the process.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import ssl
from dataclasses import dataclass
from types import TracebackType

from aiohttp import web

from watchbill_local.server.api import Api
from watchbill_local.server.auth import LOOPBACK_NAMES, Fence, load_token, write_kubeconfig
from watchbill_local.server.certificates import load_context, load_serving_pem, parse_authority
from watchbill_local.server.cluster import Cluster
from watchbill_local.server.exchange import make_request
from watchbill_local.server.private_files import write_private
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


class LocalServer:
    """The small API server, inside the running event loop: `async with LocalServer(Settings(...)) as server`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock: int | None = None
        self._runner: web.ServerRunner | None = None
        self._api: Api | None = None
        self._cluster: Cluster | None = None
        self.token = ""
        self.url = ""
        self.authority = ""  #: PEM of the CA that clients trust
        self.loaded = 0  #: objects that were there from an earlier run

    async def __aenter__(self) -> LocalServer:
        """Start. Raises CannotServeError."""
        try:
            await self.start()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        await self.stop()

    async def start(self) -> None:
        """Load the state and answer from here on. Raises CannotServeError."""
        settings = self._settings
        if settings.host not in LOOPBACK_NAMES:
            raise CannotServeError(
                f"{settings.host} is not a loopback address; this server runs programs, so it stays on this machine"
            )
        try:
            context = self._open_directory()
            self._cluster = Cluster(self._path("journal"), settings.history_changes)
            self.loaded = self._cluster.start()
        except OSError as error:
            reason = error.strerror or str(error)
            raise CannotServeError(f"cannot use the data directory {settings.data}: {reason}") from error
        self._api = Api(self._cluster, Fence(self.token))
        server = web.Server(self._api.handle, request_factory=make_request, handler_cancellation=True, access_log=None)
        self._runner = web.ServerRunner(server, shutdown_timeout=STOP_SECONDS)
        await self._runner.setup()
        port = await self._listen(self._runner, context)
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        self.url = f"https://{host}:{port}"
        try:
            write_private(self._path("port"), f"{port}\n")
            write_kubeconfig(settings.kubeconfig, url=self.url, token=self.token, authority=self.authority)
        except OSError as error:
            raise CannotServeError(f"cannot write {error.filename}: {error.strerror}") from error

    async def stop(self) -> None:
        """End the open watches, finish what is being answered, and let go of port and directory."""
        if self._cluster is not None:
            self._cluster.watches.end_all()
        if self._runner is not None:
            await self._runner.cleanup()
        if self._api is not None:
            await self._api.close()
        if self._cluster is not None:
            self._cluster.stop()
        if self._lock is not None:
            os.close(self._lock)
        self._lock = self._runner = self._api = self._cluster = None

    def _path(self, name: str) -> str:
        return os.path.join(self._settings.data, name)

    def _open_directory(self) -> ssl.SSLContext:
        """Make and lock the data directory, load token and certificate. Raises CannotServeError and OSError."""
        os.makedirs(self._settings.data, mode=0o700, exist_ok=True)
        self._lock = os.open(self._path("lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CannotServeError(
                f"another server is using the data directory {self._settings.data}; stop it first or name another"
            ) from None
        self.token = load_token(self._path("token"))
        self.authority = parse_authority(load_serving_pem(self._path("serving.pem")))
        return load_context(self._path("serving.pem"))

    async def _listen(self, runner: web.ServerRunner, context: ssl.SSLContext) -> int:
        """Listen on the port asked for, or on that of the last run, or on a free one; return it."""
        wanted = self._settings.port
        last = 0 if wanted else self._load_port()
        for port in dict.fromkeys((wanted, last, 0) if wanted else (last, 0)):
            site = web.TCPSite(runner, self._settings.host, port, backlog=1024, ssl_context=context)
            try:
                await site.start()
            except OSError as error:
                if error.errno == errno.EADDRINUSE and not wanted:
                    continue
                raise CannotServeError(
                    f"cannot listen on {self._settings.host}:{port}: {os.strerror(error.errno or 0)}; "
                    "free the port or name another by --port"
                ) from error
            return int(runner.addresses[0][1])
        raise CannotServeError(f"no free port on {self._settings.host}")

    def _load_port(self) -> int:
        """Return the port of the last run, 0 where that is not known."""
        with contextlib.suppress(OSError, ValueError), open(self._path("port"), encoding="ascii") as kept:
            return int(kept.read())
        return 0
