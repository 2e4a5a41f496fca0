"""The one way in which scenarios are sent to any API server.

Owns a run: its random word, its connection, the namespaces of its scenarios and the custom kinds that it installs.

Invariant: a scenario knows nothing of the server that it is sent to, and leaves nothing behind that another one meets:
its namespace and the group of its custom kinds carry a random word. Never compares: see differential_compare.py.
"""

from __future__ import annotations

import dataclasses
import http.client
import json
import random
import ssl
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from typing import Any
from urllib.parse import urlsplit

from support.differential_requests import (
    Obj,
    Scenario,
    Step,
    build_body,
    build_headers,
    build_path,
    fill_in,
    find_value,
)
from support.waiting import wait_for

_LETTERS = "bcdfghjklmnpqrstvwxz"


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
        wait_for(lambda: self.send(step, words).status == status, f"{status} for {step.send}", seconds=90)

    def _insist(self, step: Step, words: Mapping[str, str]) -> None:
        answer = self.send(step, words)
        assert answer.status < 300, answer

    def _exchange(self, connection: http.client.HTTPSConnection, step: Step, words: Mapping[str, str]) -> Answer:
        method, _, path = step.send.partition(" ")
        headers = build_headers(step, self._endpoint.token)
        connection.request(method, build_path(path, words), build_body(step, words), headers)
        response = connection.getresponse()
        text = response.read().decode(errors="replace")
        warnings = tuple(response.headers.get_all("Warning") or ())
        return Answer(response.status, text, response.headers.get("Content-Type") or "", warnings)
