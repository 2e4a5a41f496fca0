"""The small API server as a real process, and a client of its own for it: plain HTTPS, nothing clever."""

from __future__ import annotations

import base64
import http.client
import json
import os
import signal
import ssl
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from support.waiting import wait_for

MERGE = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
WIDGETS = "/apis/example.com/v1/namespaces/{}/widgets"

Obj = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer."""

    status: int
    text: str
    headers: Mapping[str, str]

    @property
    def obj(self) -> Obj:
        """The JSON of the body."""
        loaded: Obj = json.loads(self.text)
        return loaded


@dataclass
class ApiServer:
    """A server process with its own directory; `start` and `kill` as often as a test likes."""

    home: Path
    arguments: list[str] = field(default_factory=list)
    process: subprocess.Popen[bytes] | None = None
    _connection: http.client.HTTPSConnection | None = None
    _token: str = ""

    @property
    def kubeconfig(self) -> Path:
        """The file that the server writes when it is ready."""
        return self.home / "kubeconfig"

    @property
    def data(self) -> Path:
        """The server's directory."""
        return self.home / "data"

    @property
    def log(self) -> str:
        """What the server said."""
        return (self.home / "log").read_text()

    def start(self) -> None:
        """Start the process and wait until it is ready."""
        self.kubeconfig.unlink(missing_ok=True)
        module = [sys.executable, "-m", "watchbill_local.server"]
        paths = ["--data", str(self.data), "--kubeconfig", str(self.kubeconfig)]
        with (self.home / "log").open("ab") as log:
            self.process = subprocess.Popen([*module, *paths, *self.arguments], stderr=log)
        wait_for(self.is_ready_or_dead, "the server is ready", every=0.01)
        assert self.process.poll() is None, self.log
        self._connection, self._token = self.connect(), self.token

    def is_ready_or_dead(self) -> bool:
        """Whether waiting is over."""
        return self.kubeconfig.exists() or self.process is None or self.process.poll() is not None

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and return the exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        code = self.process.wait(20)
        self.process = None
        return code

    def connect(self, timeout: float = 20.0) -> http.client.HTTPSConnection:
        """Return a connection that trusts this server."""
        url = urlsplit(self.cluster["server"])
        return http.client.HTTPSConnection(url.hostname or "", url.port, context=self.context, timeout=timeout)

    @property
    def cluster(self) -> Obj:
        """URL and CA of the kubeconfig."""
        loaded: Obj = yaml.safe_load(self.kubeconfig.read_text())["clusters"][0]["cluster"]
        return loaded

    @property
    def token(self) -> str:
        """The bearer token of the kubeconfig."""
        return str(yaml.safe_load(self.kubeconfig.read_text())["users"][0]["user"]["token"])

    @property
    def context(self) -> ssl.SSLContext:
        """What trusts this server and no other."""
        return ssl.create_default_context(
            cadata=base64.b64decode(self.cluster["certificate-authority-data"]).decode("ascii")
        )

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        kind: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Send one request with the token, whatever comes of it. A body of bytes goes as it is."""
        sent = {"Authorization": f"Bearer {self._token}", **({"Content-Type": kind} if kind else {}), **(headers or {})}
        assert self._connection is not None
        raw = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        self._connection.request(method, path, raw, {key: value for key, value in sent.items() if value})
        response = self._connection.getresponse()
        return Reply(response.status, response.read().decode(), dict(response.getheaders()))

    def get(self, path: str, **headers: str) -> Obj:
        """Read something that is there."""
        reply = self.call("GET", path, headers=headers)
        assert reply.status == 200, reply
        return reply.obj

    def create(self, path: str, obj: Obj) -> Obj:
        """Create an object that is sound."""
        reply = self.call("POST", path, obj)
        assert reply.status == 201, reply
        return reply.obj

    def patch(self, path: str, body: Any, kind: str = MERGE) -> Obj:
        """Patch an object as it may be."""
        reply = self.call("PATCH", path, body, kind)
        assert reply.status == 200, reply
        return reply.obj

    def delete(self, path: str, options: Obj | None = None) -> Obj:
        """Delete an object that is there."""
        reply = self.call("DELETE", path, options)
        assert reply.status == 200, reply
        return reply.obj

    def exists(self, path: str) -> bool:
        """Whether an object is there."""
        return self.call("GET", path).status == 200

    @contextmanager
    def watch(self, path: str, accept: str = "application/json", **query: str | int) -> Iterator[Iterator[Obj]]:
        """Open a watch; yields its events one by one."""
        connection = self.connect()
        parameters = "&".join(f"{key}={value}" for key, value in {"watch": "1", **query}.items())
        try:
            headers = {"Authorization": f"Bearer {self._token}", "Accept": accept}
            connection.request("GET", f"{path}?{parameters}", headers=headers)
            response = connection.getresponse()
            assert response.status == 200, response.read()
            yield (json.loads(line) for line in iter(response.readline, b""))
        finally:
            connection.close()

    def kubectl(self, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run the real kubectl, whatever comes of it."""
        beside = Path(sys.executable).with_name("kubectl")
        program = str(beside) if beside.exists() else "kubectl"
        environment = {**os.environ, "KUBECONFIG": str(self.kubeconfig), "HOME": str(self.home)}
        return subprocess.run(
            [program, *arguments], input=stdin, capture_output=True, text=True, env=environment, timeout=60, check=False
        )


def widget(name: str, spec: Obj | None = None, **metadata: Any) -> Obj:
    """Return a Widget, the custom kind of these tests."""
    spec = {"color": "red"} if spec is None else spec
    return {
        "apiVersion": "example.com/v1",
        "kind": "Widget",
        "metadata": {"name": name, **metadata},
        "spec": spec,
    }


def config_map(name: str, data: Mapping[str, str] | None = None, **metadata: Any) -> Obj:
    """Return a ConfigMap."""
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, **metadata}, "data": dict(data or {})}


def pod(name: str, spec: Obj | None = None, **metadata: Any) -> Obj:
    """Return a Pod of one container."""
    containers = {"containers": [{"name": "main", "image": "busybox"}]}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, **metadata},
        "spec": {**containers, **(spec or {})},
    }


def widget_definition(plural: str = "widgets", group: str = "example.com") -> Obj:
    """Return the CustomResourceDefinition of Widget: schema, CEL, default status, status, scale, columns."""
    spec_schema = {
        "type": "object",
        "required": ["color"],
        "properties": {
            "color": {"type": "string", "enum": ["red", "green", "blue"]},
            "replicas": {"type": "integer", "minimum": 0, "maximum": 10, "default": 1},
            "note": {"type": "string", "maxLength": 2000},
        },
        "x-kubernetes-validations": [{"rule": "self.color == oldSelf.color", "message": "color is immutable"}],
    }
    status_schema = {
        "type": "object",
        "default": {"phase": "Pending"},
        "properties": {
            "phase": {"type": "string"},
            "replicas": {"type": "integer"},
            "selector": {"type": "string"},
        },
    }
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "subresources": {
            "status": {},
            "scale": {
                "specReplicasPath": ".spec.replicas",
                "statusReplicasPath": ".status.replicas",
                "labelSelectorPath": ".status.selector",
            },
        },
        "selectableFields": [{"jsonPath": ".spec.color"}],
        "additionalPrinterColumns": [
            {"name": "Color", "type": "string", "jsonPath": ".spec.color"},
            {"name": "Phase", "type": "string", "jsonPath": ".status.phase"},
            {"name": "Note", "type": "string", "jsonPath": ".spec.note", "priority": 1},
        ],
        "schema": {
            "openAPIV3Schema": {
                "type": "object",
                "required": ["spec"],
                "properties": {"spec": spec_schema, "status": status_schema},
            }
        },
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {
                "plural": plural,
                "singular": plural[:-1],
                "kind": plural[:-1].capitalize(),
                "shortNames": [plural[:2]],
                "categories": ["all"],
            },
            "versions": [version],
        },
    }
