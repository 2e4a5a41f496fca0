"""Requests as data, and the one way in which they are sent to any API server.

Owns the format of `tests/differential/requests/*.yaml`: themes of scenarios, each a list of steps that run in order in
a namespace of their own. A step sends a request (`send: POST cm`), follows a watch to its end (`watch: cm?...`), or
waits until a request is answered by a status (`until: 404 GET cm/a`). Paths may begin with a short name (PLACES);
`{ns}`, `{group}` and what earlier steps kept (`keep: {uid: metadata.uid}`) are filled in, and `{x*300}` is a long text.

Invariant: a scenario knows nothing of the server that it is sent to, and leaves nothing behind that another one meets:
its namespace and the group of its custom kinds carry a random word. Never compares: see differential_compare.py.
"""

from __future__ import annotations

import base64
import dataclasses
import http.client
import json
import random
import re
import ssl
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from support.waiting import wait_for

Obj = dict[str, Any]

_CORE, _APPS = "/api/v1/namespaces/{ns}", "/apis/{}/namespaces/{{ns}}/{}"
#: What a path may begin with instead of a slash.
PLACES = {
    "ns": "/api/v1/namespaces",
    "nodes": "/api/v1/nodes",
    "crds": "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
    "clusterroles": "/apis/rbac.authorization.k8s.io/v1/clusterroles",
    "cm": f"{_CORE}/configmaps",
    "sa": f"{_CORE}/serviceaccounts",
    "svc": f"{_CORE}/services",
    "pvc": f"{_CORE}/persistentvolumeclaims",
    **{plural: f"{_CORE}/{plural}" for plural in ("pods", "secrets", "events")},
    "leases": _APPS.format("coordination.k8s.io/v1", "leases"),
    "roles": _APPS.format("rbac.authorization.k8s.io/v1", "roles"),
    "rolebindings": _APPS.format("rbac.authorization.k8s.io/v1", "rolebindings"),
    "tasks": _APPS.format("watchbill.dev/v1alpha1", "tasks"),
    "agents": _APPS.format("watchbill.dev/v1alpha1", "agents"),
    "widgets": _APPS.format("{group}/v1", "widgets"),
}
_PATCHES = {
    "json": "application/json-patch+json",
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "apply": "application/apply-patch+yaml",
}
_TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
_ACCEPTS = {"table": _TABLE, "metadata": _TABLE.replace("=Table", "=PartialObjectMetadata")}
_ACCEPTS["metadata list"] = _ACCEPTS["metadata"].replace("Metadata;", "MetadataList;")
_LONG = re.compile(r"\{([^{}])\*(\d+)\}")
_LETTERS = "bcdfghjklmnpqrstvwxz"


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step of a scenario; exactly one of `send`, `watch` and `until` says what it does."""

    id: str = ""
    send: str = ""  #: method and path
    watch: str = ""  #: path with query; the server ends it after `timeoutSeconds`
    until: str = ""  #: status, method and path: repeated until it is answered so
    body: Any = None
    raw: str | bytes | None = None  #: a body that is sent as it stands
    type: str = ""  #: Content-Type, or one of json, merge, strategic, apply
    accept: str = "application/json"  #: Accept, or one of table, metadata
    headers: Mapping[str, str] = field(default_factory=dict)
    keep: Mapping[str, str] = field(default_factory=dict)  #: name -> path in the answer, for later steps
    show: tuple[str, ...] = ()  #: paths of the answer that are compared; none: all of it


@dataclass(frozen=True)
class Scenario:
    """Steps that run in order in a namespace of their own."""

    theme: str
    name: str
    steps: tuple[Step, ...]

    @property
    def requests(self) -> list[Step]:
        """Return the steps that are compared."""
        return [step for step in self.steps if not step.until]


@dataclass(frozen=True)
class Answer:
    """What came back; a watch has the text of its whole stream."""

    status: int
    text: str
    content_type: str
    warnings: tuple[str, ...]

    @property
    def json(self) -> Any:
        """The body, or None where it is no JSON."""
        try:
            return json.loads(self.text)
        except ValueError:
            return None


@dataclass(frozen=True)
class Endpoint:
    """Where a server is, and how it is talked to."""

    url: str
    token: str
    context: ssl.SSLContext

    def connect(self, timeout: float = 60.0) -> http.client.HTTPSConnection:
        """Return a connection of its own."""
        parts = urlsplit(self.url)
        return http.client.HTTPSConnection(parts.hostname or "", parts.port, context=self.context, timeout=timeout)


def load_scenarios(folder: Path) -> list[Scenario]:
    """Return all scenarios, by file and in their order. Raises ValueError where two steps have one id."""
    found = []
    for path in sorted(folder.glob("*.yaml")):
        for name, steps in yaml.safe_load(path.read_text()).items():
            if name.startswith("."):
                continue  # anchors alone
            scenario = Scenario(path.stem, name, tuple(_parse_step(step) for step in steps))
            ids = [step.id for step in scenario.requests]
            if len(set(ids)) != len(ids):
                raise ValueError(f"{path.name}: {name}: ids are not unique: {ids}")
            found.append(scenario)
    return found


def _parse_step(raw: Obj) -> Step:
    """Return a step; its id is what it sends unless it has one."""
    does = raw.get("send") or raw.get("watch") or ""
    return Step(**{"id": does, **raw, "show": tuple(raw.get("show", ()))})


def fill_in(text: str, words: Mapping[str, str]) -> str:
    """Return a text with `{name}` and `{x*300}` filled in."""
    for name, value in words.items():
        text = text.replace("{" + name + "}", value)
    return _LONG.sub(lambda match: match[1] * int(match[2]), text)


def find_value(value: Any, path: str) -> Any:
    """Return what is at a path such as `items.0.metadata.uid`, None where there is nothing."""
    for part in path.split("."):
        if isinstance(value, list):
            value = value[int(part)] if int(part) < len(value) else None
        else:
            value = value.get(part) if isinstance(value, dict) else None
    return value


class Run:
    """One run of scenarios against one server, on one connection beside those of its watches."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._connection = endpoint.connect()
        self.word = "".join(random.choices(_LETTERS, k=5))
        self.group = f"{self.word}.example.com"  #: of the custom kinds of this run

    def run_scenario(self, scenario: Scenario) -> Iterator[tuple[Step, Answer, dict[str, str]]]:
        """Yield each compared step, its answer, and the words that stand for something in it."""
        namespace = f"diff-{''.join(random.choices(_LETTERS, k=8))}"
        words = {"ns": namespace, "group": self.group}
        self._insist(Step(send="POST ns", body={"metadata": {"name": namespace}}), words)
        for path in ("sa/default", "cm/kube-root-ca.crt"):  # what controllers give to each namespace
            self._await(Step(send=f"GET {path}"), 200, words)
        try:
            for is_watch, group in groupby(scenario.steps, key=lambda step: bool(step.watch)):
                steps = list(group)
                yield from self._watch_all(steps, words) if is_watch else self._send_all(steps, words)
        finally:
            self.send(Step(send=f"DELETE ns/{namespace}"), words)

    def install(self, definition: Obj) -> None:
        """Create a CustomResourceDefinition, unless it is there, and wait until its kind is served."""
        words = {"group": self.group}
        name = fill_in(definition["metadata"]["name"], words)
        answer = self.send(Step(send="POST crds", body=definition), words)
        assert answer.status in (201, 409), answer
        plural, _, group = name.partition(".")
        version = definition["spec"]["versions"][0]["name"]
        listed = Step(send=f"GET /apis/{group}/{version}/{plural}")
        wait_for(lambda: self.send(listed, words).status == 200, f"{name} is served", seconds=30)

    def remove(self, definition: Obj) -> None:
        """Delete a CustomResourceDefinition."""
        words = {"group": self.group}
        self.send(Step(send=f"DELETE crds/{definition['metadata']['name']}"), words)

    def send(self, step: Step, words: Mapping[str, str]) -> Answer:
        """Send one request; a connection that the server has closed is opened again, once."""
        try:
            return self._exchange(self._connection, step, words)
        except (http.client.RemoteDisconnected, ConnectionError):
            self._connection = self._endpoint.connect()
            return self._exchange(self._connection, step, words)

    def _send_all(self, steps: list[Step], words: dict[str, str]) -> Iterator[tuple[Step, Answer, dict[str, str]]]:
        for step in steps:
            if step.until:
                status, _, request = step.until.partition(" ")
                self._await(dataclasses.replace(step, send=request), int(status), words)
                continue
            answer = self.send(step, words)
            words |= {name: str(find_value(answer.json, path)) for name, path in step.keep.items()}
            yield step, answer, words

    def _watch_all(self, steps: list[Step], words: dict[str, str]) -> Iterator[tuple[Step, Answer, dict[str, str]]]:
        """Follow watches that stand one behind the other at the same time, since each lasts its second."""
        with ThreadPoolExecutor(len(steps)) as pool:
            futures = [pool.submit(self._follow, step, words) for step in steps]
            for step, future in zip(steps, futures, strict=True):
                yield step, future.result(), words

    def _follow(self, step: Step, words: Mapping[str, str]) -> Answer:
        connection = self._endpoint.connect()
        path, _, query = step.watch.partition("?")
        parameters = "&".join(part for part in ("watch=1", "timeoutSeconds=1", query) if part)
        try:
            return self._exchange(connection, dataclasses.replace(step, send=f"GET {path}?{parameters}"), words)
        finally:
            connection.close()

    def _await(self, step: Step, status: int, words: Mapping[str, str]) -> None:
        wait_for(lambda: self.send(step, words).status == status, f"{status} for {step.send}", seconds=40)

    def _insist(self, step: Step, words: Mapping[str, str]) -> None:
        answer = self.send(step, words)
        assert answer.status < 300, answer

    def _exchange(self, connection: http.client.HTTPSConnection, step: Step, words: Mapping[str, str]) -> Answer:
        method, _, path = step.send.partition(" ")
        kind = _PATCHES.get(step.type, step.type) or ("application/json" if method in ("POST", "PUT") else "")
        headers = {
            "Authorization": f"Bearer {self._endpoint.token}",
            "Accept": _ACCEPTS.get(step.accept, step.accept),
            "Content-Type": kind,
            **step.headers,
        }
        body = _build_body(step, words)
        sent = {name: value for name, value in headers.items() if value}
        connection.request(method, build_path(path, words), body, sent)
        response = connection.getresponse()
        text = response.read().decode(errors="replace")
        warnings = tuple(response.headers.get_all("Warning") or ())
        return Answer(response.status, text, response.headers.get("Content-Type") or "", warnings)


def build_path(path: str, words: Mapping[str, str]) -> str:
    """Return the path of a request with its place and words filled in."""
    head = re.match(r"[^/?]*", path)
    place = head[0] if head else ""
    filled = fill_in(PLACES[place] + path[len(place) :] if place else path, words)
    return filled.replace(" ", "%20")


def _build_body(step: Step, words: Mapping[str, str]) -> bytes | None:
    if isinstance(step.raw, str) and step.raw.startswith("base64:"):
        return base64.b64decode(step.raw.removeprefix("base64:"))
    if step.raw is not None:
        return fill_in(step.raw, words).encode() if isinstance(step.raw, str) else step.raw
    return None if step.body is None else fill_in(json.dumps(step.body), words).encode()
