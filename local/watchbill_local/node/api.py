"""The node's client of the Kubernetes API: a kubeconfig, one request, one watch.

Owns the connection. Invariant: plain Kubernetes over HTTP, nothing that only one server understands, so the node runs
unchanged against a real kube-apiserver. Never retries a write; a watch goes on for ever, from a fresh list where the
server says that the old place is gone.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import logging
import ssl
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
from ruamel.yaml import YAML

Json = dict[str, Any]
OnList = Callable[[list[Json]], Awaitable[None]]
OnEvent = Callable[[str, Json], Awaitable[None]]

REQUEST_SECONDS = 30.0
WATCH_SECONDS = 290
WATCH_LINE_BYTES = 2**22
RETRY_SECONDS = (0.2, 0.5, 1.0, 2.0, 5.0)  #: pauses after the first, second, ... failure in a row of a watch
UNREACHABLE = (aiohttp.ClientError, TimeoutError)  #: the server did not answer; the same request may be sent later

PASSING = frozenset({401, 403, 408, 429})  #: refusals that end by themselves, as those from 500 on do

log = logging.getLogger(__name__)


class ApiError(Exception):
    """The server refused. `code` is the HTTP status; 404, 409 and 422 mean that the object is not as we thought."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code

    @property
    def is_passing(self) -> bool:
        """Whether the same request may be taken later: a server that starts knows nobody's rights for seconds."""
        return self.code in PASSING or self.code >= 500


class ApiClient:
    """Requests to one API server."""

    def __init__(self, server: str, token: str, tls: ssl.SSLContext) -> None:
        self._server = server.rstrip("/")
        headers = {"Accept": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
        self._session = aiohttp.ClientSession(
            headers=headers,
            connector=aiohttp.TCPConnector(limit=64, ssl=tls),
            timeout=aiohttp.ClientTimeout(total=REQUEST_SECONDS),
            read_bufsize=WATCH_LINE_BYTES,
        )
        self.close = self._session.close

    async def find(self, path: str) -> Json | None:
        """Read what may be absent: None for 404."""
        try:
            return await self.call("GET", path)
        except ApiError as error:
            if error.code == 404:
                return None
            raise

    async def call(self, method: str, path: str, body: Json | None = None) -> Json:
        """One request, PATCH as merge patch; returns the answer. Raises ApiError or one of UNREACHABLE."""
        kind = {"Content-Type": "application/merge-patch+json" if method == "PATCH" else "application/json"}
        async with self._session.request(method, self._server + path, json=body, headers=kind) as response:
            await _check(response)
            answer: Json = await response.json()
            return answer

    async def watch(self, path: str, on_list: OnList, on_event: OnEvent) -> None:
        """List and watch `path` until cancelled. `on_list` gets the whole truth, `on_event` each change after it."""
        failures = 0
        while True:
            try:
                listed = await self.call("GET", path)
                await on_list(listed.get("items") or [])
                failures, version = 0, listed["metadata"]["resourceVersion"]
                while True:
                    version = await self._follow(path, version, on_event)
            except (ApiError, *UNREACHABLE, json.JSONDecodeError) as error:
                level = logging.WARNING if failures else logging.DEBUG
                log.log(level, "watch of %s begins again: %s", path, error)
            await asyncio.sleep(RETRY_SECONDS[min(failures, len(RETRY_SECONDS) - 1)])
            failures += 1

    async def _follow(self, path: str, version: str, on_event: OnEvent) -> str:
        """Hand on each change after `version` until the server ends the stream; returns the version then."""
        query = {"watch": "true", "resourceVersion": version, "allowWatchBookmarks": "true"}
        query["timeoutSeconds"] = str(WATCH_SECONDS)
        limit = aiohttp.ClientTimeout(total=None, sock_connect=REQUEST_SECONDS, sock_read=WATCH_SECONDS + 30)
        async with self._session.get(self._server + path, params=query, timeout=limit) as response:
            await _check(response)
            async for line in response.content:
                event = json.loads(line)
                kind, item = event["type"], event["object"]
                if kind == "ERROR":
                    raise ApiError(item.get("code", 500), item.get("message", ""))
                version = item["metadata"]["resourceVersion"]
                if kind != "BOOKMARK":
                    await on_event(kind, item)
        return version


def connect(kubeconfig: Path) -> ApiClient:
    """A client for a kubeconfig's current context. Raises OSError, KeyError or ValueError if it is not usable."""
    config = YAML(typ="safe", pure=True).load(kubeconfig.read_text(encoding="utf-8"))

    def named(kind: str, name: str) -> Json:
        return {entry["name"]: entry.get(kind) or {} for entry in config[f"{kind}s"]}[name]

    context = named("context", config["current-context"])
    cluster, user = named("cluster", context["cluster"]), named("user", context["user"])
    authority = _material(cluster, "certificate-authority", kubeconfig.parent)
    certificate, key = (_material(user, name, kubeconfig.parent) for name in ("client-certificate", "client-key"))
    tls = ssl.create_default_context(cadata=authority.decode() or None)
    if certificate and key:
        with tempfile.NamedTemporaryFile() as pair:
            pair.write(certificate + b"\n" + key)
            pair.flush()
            tls.load_cert_chain(pair.name)
    return ApiClient(cluster["server"], user.get("token", ""), tls)


def _material(section: Json, name: str, folder: Path) -> bytes:
    """A certificate or key, which stands in the kubeconfig itself or in a file that it names; empty without one."""
    if inline := section.get(f"{name}-data"):
        return base64.b64decode(inline)
    return (folder / section[name]).read_bytes() if section.get(name) else b""


async def _check(response: aiohttp.ClientResponse) -> None:
    """Raises ApiError for a refusal, with what its Status says or how its text begins."""
    if response.status >= 400:
        text = await response.text()
        with contextlib.suppress(ValueError, KeyError, TypeError):
            text = json.loads(text)["message"]
        raise ApiError(response.status, text[:1000])
