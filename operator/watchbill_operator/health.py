"""What the operator says of itself over HTTP: /healthz, /readyz, /metrics.

Owns the small aiohttp application. Invariant: read-only; answering costs the loop no more than a scrape's arithmetic.
/healthz fails when the state's task stood still for `STALLED_SECONDS`; /readyz fails, with a sentence, until this
process leads and its start reconcile is done, or until it stands by for another one that leads.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from watchbill_operator.metrics import Metrics

STALLED_SECONDS = 60.0


@dataclass(slots=True)
class Health:
    """What the loop tells about itself."""

    waiting_for: str = "starting"  #: why this process is not ready; empty: it is
    leader: str = ""  #: whom this process stands by for: it is ready to take over, and need not do more
    volume: str = ""  #: why nothing can be recorded now; empty: it can
    alive_at: float = field(default_factory=time.monotonic)

    def beat(self) -> None:
        """The state's task moved."""
        self.alive_at = time.monotonic()


class HealthServer:
    """The application, listening."""

    def __init__(self, health: Health, metrics: Metrics) -> None:
        self._health = health
        self._metrics = metrics
        app = web.Application()
        app.add_routes([_get("/healthz", self._healthz), _get("/readyz", self._readyz), _get("/metrics", self._scrape)])
        self._runner = web.AppRunner(app, access_log=None)

    async def start(self, host: str, port: int) -> str:
        """Listen; return `host:port`.

        Raises:
            OSError: the address is taken or not ours.
        """
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port, shutdown_timeout=0.5).start()
        address = self._runner.addresses[0]
        return f"[{address[0]}]:{address[1]}" if ":" in address[0] else f"{address[0]}:{address[1]}"

    async def stop(self) -> None:
        """Stop listening."""
        await self._runner.cleanup()

    async def _healthz(self, _: web.Request) -> web.Response:
        silence = time.monotonic() - self._health.alive_at
        if silence > STALLED_SECONDS:
            return web.Response(status=503, text=f"the loop stood still for {silence:.0f} s\n")
        return web.Response(text="ok\n")

    async def _readyz(self, _: web.Request) -> web.Response:
        if self._health.leader:
            return web.Response(text=f"standing by: {self._health.leader} leads\n")
        if reason := self._health.waiting_for or self._health.volume:
            return web.Response(status=503, text=f"{reason}\n")
        return web.Response(text="ok\n")

    async def _scrape(self, _: web.Request) -> web.Response:
        return web.Response(body=self._metrics.render(), headers={"Content-Type": CONTENT_TYPE_LATEST})


def _get(path: str, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> web.RouteDef:
    return web.get(path, handler)
