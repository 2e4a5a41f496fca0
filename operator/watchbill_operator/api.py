"""The Kubernetes API: one request at a time per thread, at most `THREADS` at once.

Owns pykube's clients (one a thread, kept alive), the sorting of answers by what the caller should do, and the retries.
Invariant: a call ends with an answer or with one of the errors below, after at most `ATTEMPTS` tries. Never decides
what to ask, never keeps an object.
"""

from __future__ import annotations

import asyncio
import json
import random
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pykube
import requests

from watchbill_operator.transport import build_client

THREADS = 16
ATTEMPTS = 5  #: tries of one request while the API is unavailable
FIRST_DELAY_SECONDS = 0.2
MAX_DELAY_SECONDS = 5.0
TIMEOUT_SECONDS = 10.0
LIST_CHUNK = 500  #: objects a page

MERGE_PATCH = "application/merge-patch+json"
JSON = "application/json"
UNAVAILABLE_CODES = frozenset({408, 429, 500, 502, 503, 504})
NO_RIGHT = 'forbidden: User "'  #: in the words of the authorizer; admission forbids in others


@dataclass(frozen=True, slots=True)
class Resource:
    """A collection of objects."""

    version: str  #: `v1` or `group/version`
    plural: str
    is_namespaced: bool = True


AGENTS = Resource("watchbill.dev/v1alpha1", "agents")
TASKS = Resource("watchbill.dev/v1alpha1", "tasks")
PODS = Resource("v1", "pods")
CONFIG_MAPS = Resource("v1", "configmaps")
EVENTS = Resource("v1", "events")
LEASES = Resource("coordination.k8s.io/v1", "leases")


class ApiError(Exception):
    """The API answered with something else than success. `code` is the HTTP status, 0 where none came."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class ConflictError(ApiError):
    """The object is there already, or is another or a newer one: read again and decide anew."""


class GoneError(ApiError):
    """There is no such object (any more)."""


class RefusedError(ApiError):
    """The request itself is wrong for this server; asking again yields the same."""


class UnprocessableError(RefusedError):
    """The object breaks a rule of its schema."""


class UnavailableError(ApiError):
    """The server cannot answer now; the retries are used up. Try again later."""


class NotAllowedError(UnavailableError):
    """The server does not know us or our rights: for seconds after its start, or until somebody grants them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request as a value. `body` None: no body."""

    method: str
    resource: Resource
    name: str = ""
    subresource: str = ""
    body: Mapping[str, Any] | None = None
    params: Mapping[str, str] = field(default_factory=dict)

    @property
    def path(self) -> str:
        """What follows the namespace."""
        return "/".join(part for part in (self.resource.plural, self.name, self.subresource) if part)

    @property
    def kind(self) -> str:
        """What it is about, as RBAC and the metrics call it: `tasks`, `tasks/status`."""
        return f"{self.resource.plural}/{self.subresource}" if self.subresource else self.resource.plural

    @property
    def verb(self) -> str:
        """The verb as RBAC and the metrics call it."""
        if self.method == "GET":
            return "get" if self.name else "list"
        return {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}[self.method]


Connect = Callable[[], pykube.HTTPClient]
Observer = Callable[[Request, int, float], None]  #: request, code, seconds


class Api:
    """The API of one namespace. Thread-safe; `send` is for the event loop, `send_blocking` for threads."""

    def __init__(self, connect: Connect, namespace: str, *, threads: int = THREADS, observe: Observer | None = None):
        self.namespace = namespace
        self._connect = connect
        self._observe = observe
        self._local = threading.local()
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="api")

    async def send(self, request: Request, *, attempts: int = ATTEMPTS) -> dict[str, Any]:
        """Send it in a thread; wait and try again while the server is unavailable.

        Raises:
            ConflictError, GoneError, UnprocessableError, RefusedError: see there.
            UnavailableError, and NotAllowedError of its kind: every try ended so.
        """
        loop = asyncio.get_running_loop()
        for attempt in range(1, attempts + 1):
            try:
                return await loop.run_in_executor(self._threads, self.send_blocking, request)
            except UnavailableError:
                if attempt == attempts:
                    raise
            await asyncio.sleep(retry_delay(attempt, random.random()))  # noqa: S311  # jitter, no secret
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def pages(self, resource: Resource, selector: str = "") -> AsyncIterator[list[dict[str, Any]]]:
        """Yield all objects of a collection, `LIST_CHUNK` at a time.

        Raises:
            GoneError: the collection is not served, or the continuation expired: begin again.
        """
        params = {"limit": str(LIST_CHUNK)}
        if selector:
            params["labelSelector"] = selector
        request = Request(method="GET", resource=resource, params=params)
        while True:
            page = await self.send(request)
            yield page.get("items") or []
            token = (page.get("metadata") or {}).get("continue")
            if not token:
                return
            request = replace(request, params={**params, "continue": token})

    def send_blocking(self, request: Request) -> dict[str, Any]:
        """Send it once, from the calling thread. Status patches are answered with {}: nobody reads their bodies."""
        client = self._client()
        started = time.monotonic()
        code = 0
        try:
            # The adapter at once, not the session: cookies and redirects cost half a millisecond and are not wanted.
            prepared = self._prepare(client, request)
            response = client.session.get_adapter(prepared.url).send(prepared, timeout=TIMEOUT_SECONDS, verify=True)
            code, content = response.status_code, response.content
        except requests.RequestException as error:
            raise UnavailableError(0, f"{request.verb} {request.path}: {error}") from error
        finally:
            if self._observe:
                self._observe(request, code, time.monotonic() - started)
        if code == 401:
            self._local.client = None  # tokens are renewed: the next try reads the credentials anew
        if not 200 <= code < 300:
            raise sort_answer(code, request, content)
        if request.subresource == "status" and content.startswith(b"{"):
            return {}
        return parse_object(code, request, content)

    def close(self) -> None:
        """Let running requests end and take no more."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _client(self) -> pykube.HTTPClient:
        client: pykube.HTTPClient | None = getattr(self._local, "client", None)
        if client is None:
            client = self._connect()
            # Proxies and .netrc are looked up anew for every request otherwise: a third of its CPU.
            client.session.trust_env = False
            self._local.client = client
        return client

    def _prepare(self, client: pykube.HTTPClient, request: Request) -> requests.PreparedRequest:
        """What the adapter sends. Filled in by hand: `requests` merges and quotes for a third of a call's CPU."""
        namespace = self.namespace if request.resource.is_namespaced else None
        place = client.get_kwargs(version=request.resource.version, namespace=namespace, url=request.path)
        prepared = requests.PreparedRequest()
        prepared.method, prepared.url = request.method, place["url"]
        if request.params:
            prepared.url += "?" + urlencode(request.params)
        prepared.headers = client.session.headers.copy()
        if request.body is not None:
            prepared.body = json.dumps(request.body, separators=(",", ":"), ensure_ascii=False).encode()
            prepared.headers["Content-Type"] = MERGE_PATCH if request.method == "PATCH" else JSON
            prepared.headers["Content-Length"] = str(len(prepared.body))
        return prepared


def parse_object(code: int, request: Request, body: bytes) -> dict[str, Any]:
    """The object in an answer of success.

    Raises:
        UnavailableError: it is none, so that somebody else than the API server answered.
    """
    try:
        answer = json.loads(body)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        said = body[:200].decode(errors="replace").strip()
        raise UnavailableError(code, f"{request.verb} {request.path}: no answer of an API server: {said}")
    return answer


def sort_answer(code: int, request: Request, body: bytes) -> ApiError:
    """The error that an answer other than success means; its message is the server's.

    The API server never sends elsewhere: a redirect is the word of a proxy or a login page in its place.
    """
    try:
        message = str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        message = body[:200].decode(errors="replace").strip()
    text = f"{request.verb} {request.path}: {message}"
    if code == 409:
        return ConflictError(code, text)
    if code in (404, 410):
        return GoneError(code, text)
    if code == 422:
        return UnprocessableError(code, text)
    if code == 401 or (code == 403 and NO_RIGHT in message):
        return NotAllowedError(code, text)
    if code < 400 or code in UNAVAILABLE_CODES:
        return UnavailableError(code, text)
    return RefusedError(code, text)


def retry_delay(attempt: int, chance: float) -> float:
    """Seconds before the next try: doubled each time, with the half of it by `chance` (0 to 1)."""
    delay = min(FIRST_DELAY_SECONDS * 2.0 ** (attempt - 1), MAX_DELAY_SECONDS)
    return delay * (0.5 + chance / 2)


def connector(kubeconfig: Path | None) -> Connect:
    """How a thread gets its client: from the file by name, or from the pod's service account."""

    def connect() -> pykube.HTTPClient:
        if kubeconfig is None:
            configuration = pykube.KubeConfig.from_service_account()
        else:
            configuration = pykube.KubeConfig.from_file(str(kubeconfig))
        return build_client(configuration, TIMEOUT_SECONDS)

    return connect
