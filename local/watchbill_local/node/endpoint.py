"""The node's own port, where the API server fetches container logs.

Owns the HTTP side of `kubectl logs`: `/containerLogs/<namespace>/<pod>/<container>` and `/healthz`. Invariant: it
listens on the loopback address alone, reads and never changes, and refuses a foreign Host or any Origin, so that no
web page can reach it through a browser on this machine.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

from aiohttp import web

from watchbill_local.node.containers import ContainerWorker
from watchbill_local.node.logs import parse_query, read_log
from watchbill_local.node.settings import Settings

Find = Callable[[str, str, str], ContainerWorker | None]  #: namespace, pod, container
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def build_application(find: Find, settings: Settings) -> web.Application:
    """The application; `find` answers which container a request means."""

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        host = request.host.rpartition(":")[0] if ":" in request.host else request.host
        if host not in (settings.address, "localhost", settings.name) or "Origin" in request.headers:
            raise web.HTTPForbidden(text="this port answers only the API server on this machine\n")
        return await handler(request)

    async def logs(request: web.Request) -> web.StreamResponse:
        info = request.match_info
        container = find(info["namespace"], info["pod"], info["container"])
        if container is None:
            raise web.HTTPNotFound(text=f'container "{info["container"]}" of pod "{info["pod"]}" is not on this node\n')
        return await _answer_logs(request, container)

    async def health(_: web.Request) -> web.StreamResponse:
        return web.Response(text="ok")

    application = web.Application(middlewares=[guard])
    application.router.add_get("/containerLogs/{namespace}/{pod}/{container}", logs)
    application.router.add_get("/healthz", health)
    return application


async def serve_endpoint(find: Find, settings: Settings) -> tuple[web.AppRunner, int]:
    """Listen; returns the runner to clean up at the end, and the port, a free one."""
    runner = web.AppRunner(build_application(find, settings), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    site = web.TCPSite(runner, settings.address, 0)
    await site.start()
    port: int = runner.addresses[0][1]
    return runner, port


def choose_log(container: ContainerWorker, *, previous: bool) -> Path | None:
    """The file of the current start, or with `previous` of the one before; None if there is none.

    Between two starts, the current log is that of the start that has just ended, and so is the previous one.
    """
    restart = container.state.restarts
    waiting = "waiting" in container.state.state
    number = restart - 1 if waiting or previous else restart
    path = container.home / f"{number}.log"
    return path if path.exists() else None


async def _answer_logs(request: web.Request, container: ContainerWorker) -> web.StreamResponse:
    try:
        query = parse_query(request.query, datetime.now(UTC))
    except ValueError as error:
        raise web.HTTPBadRequest(text=f"{error}\n") from error
    path = choose_log(container, previous=query.previous)
    if path is None:
        waiting = container.state.state.get("waiting") or {}
        what = f"is waiting to start: {waiting.get('reason', '')}" if not query.previous else "has no previous run"
        raise web.HTTPBadRequest(text=f'container "{container.state.name}" in pod "{request.match_info["pod"]}" {what}')
    response = web.StreamResponse(headers={"Content-Type": "text/plain"})
    await response.prepare(request)
    async for text in read_log(path, query, container.is_running):
        if text:
            await response.write(text)
    await response.write_eof()
    return response
