"""The node's client of the Kubernetes API: a kubeconfig, one request, one watch.

Owns the connection. Invariant: plain Kubernetes over HTTP, nothing that only one server understands, so the node runs
unchanged against a real kube-apiserver. Never retries a write; a watch goes on for ever, from a fresh list where the
server says that the old place is gone.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import ssl
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from ruamel.yaml import YAML

Json = dict[str, Any]
OnList = Callable[[list[Json]], Awaitable[None]]
OnEvent = Callable[[str, Json], Awaitable[None]]

MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
REQUEST_SECONDS = 30.0
WATCH_SECONDS = 290
WATCH_LINE_BYTES = 2**22
RETRY_SECONDS = (0.2, 0.5, 1.0, 2.0, 5.0)  #: pauses after the first, second, ... failure in a row of a watch
UNREACHABLE = (aiohttp.ClientError, TimeoutError)  #: the server did not answer; the same request may be sent later

log = logging.getLogger(__name__)


class ApiError(Exception):
    """The server refused. `code` is the HTTP status; 404, 409 and 422 mean that the object is not as we thought."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code


@dataclass(frozen=True, slots=True)
class Cluster:
    """Where the API is and who we are there, as a kubeconfig's current context says."""

    server: str
    token: str
    tls: ssl.SSLContext


def load_cluster(path: Path) -> Cluster:
    """Read the current context of a kubeconfig. Raises OSError, KeyError or ValueError if it is not usable."""
    config = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    context = _named(config["contexts"], config["current-context"])["context"]
    cluster = _named(config["clusters"], context["cluster"])["cluster"]
    user = _named(config["users"], context["user"]).get("user") or {}
    tls = ssl.create_default_context(cadata=_material(cluster, "certificate-authority", path.parent).decode() or None)
    certificate, key = (_material(user, name, path.parent) for name in ("client-certificate", "client-key"))
    if certificate and key:
        with tempfile.NamedTemporaryFile() as pair:
            pair.write(certificate + b"\n" + key)
            pair.flush()
            tls.load_cert_chain(pair.name)
    return Cluster(cluster["server"].rstrip("/"), user.get("token", ""), tls)


def _named(items: list[Json], name: str) -> Json:
    for item in items:
        if item["name"] == name:
            return item
    raise ValueError(f"the kubeconfig has no entry named {name!r}")


def _material(section: Json, name: str, folder: Path) -> bytes:
    """A certificate or key, which stands in the kubeconfig itself or in a file that it names; empty without one."""
    if inline := section.get(f"{name}-data"):
        return base64.b64decode(inline)
    return (folder / section[name]).read_bytes() if section.get(name) else b""


class ApiClient:
    """Requests to one API server. Use as an asynchronous context manager."""

    def __init__(self, cluster: Cluster) -> None:
        self._server = cluster.server
        headers = {"Accept": "application/json"}
        if cluster.token:
            headers["Authorization"] = f"Bearer {cluster.token}"
        connector = aiohttp.TCPConnector(limit=64, ssl=cluster.tls)
        self._session = aiohttp.ClientSession(headers=headers, connector=connector, read_bufsize=WATCH_LINE_BYTES)

    async def __aenter__(self) -> ApiClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def get(self, path: str) -> Json:
        """Read. Raises ApiError or one of UNREACHABLE, as all requests here do."""
        return await self._call("GET", path)

    async def find(self, path: str) -> Json | None:
        """Read what may be absent: None for 404."""
        try:
            return await self.get(path)
        except ApiError as error:
            if error.code == 404:
                return None
            raise

    async def post(self, path: str, body: Json) -> Json:
        """Create."""
        return await self._call("POST", path, body)

    async def patch(self, path: str, body: Json, *, kind: str = MERGE_PATCH) -> Json:
        """Change, by a patch of `kind`."""
        return await self._call("PATCH", path, body, kind=kind)

    async def delete(self, path: str, options: Json) -> Json:
        """Delete with DeleteOptions."""
        return await self._call("DELETE", path, options)

    async def _call(self, method: str, path: str, body: Json | None = None, *, kind: str = "application/json") -> Json:
        data = None if body is None else json.dumps(body).encode()
        limit = aiohttp.ClientTimeout(total=REQUEST_SECONDS)
        headers = {"Content-Type": kind}
        async with self._session.request(
            method, self._server + path, data=data, headers=headers, timeout=limit
        ) as response:
            answer: Json = json.loads(await _accepted(response))
        return answer

    async def watch(self, path: str, on_list: OnList, on_event: OnEvent) -> None:
        """List and watch `path` until cancelled. `on_list` gets the whole truth, `on_event` each change after it."""
        failures = 0
        while True:
            try:
                listed = await self.get(path)
                await on_list(listed.get("items") or [])
                failures = 0
                await self._follow(path, listed["metadata"]["resourceVersion"], on_event)
            except (ApiError, *UNREACHABLE, json.JSONDecodeError) as error:
                level = logging.WARNING if failures else logging.DEBUG
                log.log(level, "watch of %s begins again: %s", path, error)
            await asyncio.sleep(RETRY_SECONDS[min(failures, len(RETRY_SECONDS) - 1)])
            failures += 1

    async def _follow(self, path: str, version: str, on_event: OnEvent) -> None:
        """Hand on each change after `version`, through one stream after the other, until one fails."""
        while True:
            async for kind, item in self._stream(path, version):
                version = item["metadata"]["resourceVersion"]
                if kind != "BOOKMARK":
                    await on_event(kind, item)

    async def _stream(self, path: str, version: str) -> AsyncIterator[tuple[str, Json]]:
        """The changes after `version` until the server ends the stream. Raises ApiError on an ERROR event."""
        query = {"watch": "true", "resourceVersion": version, "allowWatchBookmarks": "true"}
        query["timeoutSeconds"] = str(WATCH_SECONDS)
        limit = aiohttp.ClientTimeout(total=None, sock_connect=REQUEST_SECONDS, sock_read=WATCH_SECONDS + 30)
        async with self._session.get(self._server + path, params=query, timeout=limit) as response:
            if response.status >= 400:
                await _accepted(response)
            async for line in response.content:
                event = json.loads(line)
                if event["type"] == "ERROR":
                    raise ApiError(event["object"].get("code", 500), event["object"].get("message", ""))
                yield event["type"], event["object"]


async def _accepted(response: aiohttp.ClientResponse) -> str:
    """The body of a good answer. Raises ApiError for another, with what its Status says or how its text begins."""
    text = await response.text()
    if response.status < 400:
        return text
    try:
        message = str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError):
        message = text[:200]
    raise ApiError(response.status, message)
