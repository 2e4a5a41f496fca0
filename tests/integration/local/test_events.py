"""Kubernetes Events: how kubectl shows them, and that they go."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.api_server import ApiServer, Obj


def event(name: str, about: str, namespace: str, type_: str = "Normal", message: str = "") -> Obj:
    """Return an Event on a Widget."""
    at = "2026-11-22T12:00:00Z"
    return {
        "metadata": {"name": name},
        "involvedObject": {"apiVersion": "example.com/v1", "kind": "Widget", "name": about, "namespace": namespace},
        "reason": "Painted",
        "message": message or name,
        "type": type_,
        "firstTimestamp": at,
        "lastTimestamp": at,
    }


@pytest.fixture
def events(server: ApiServer, namespace: str) -> str:
    """The path of the Events of a namespace with three of them."""
    path = f"/api/v1/namespaces/{namespace}/events"
    server.create(path, event("a1", "a", namespace))
    server.create(path, event("a2", "a", namespace, "Warning"))
    server.create(path, event("b1", "b", namespace))
    return path


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], ["a1", "a2", "b1"]),
        (["--for", "widget/a"], ["a1", "a2"]),
        (["--types", "Warning"], ["a2"]),
        (["--for", "widget.example.com/b"], ["b1"]),
        (["--for", "widget/none"], []),
    ],
)
def test_kubectl_shows_events(
    server: ApiServer, namespace: str, events: str, arguments: list[str], told: list[str]
) -> None:
    """All of them, or those about an object or of a type."""
    done = server.kubectl("-n", namespace, "events", "--no-headers", *arguments)

    assert done.returncode == 0, done.stderr
    assert sorted(line.split()[-1] for line in done.stdout.splitlines()) == told


def test_kubectl_watches_events(server: ApiServer, namespace: str, events: str) -> None:
    """Those that are there, then those that come."""
    program = [
        str(Path(sys.executable).with_name("kubectl")),
        "-n",
        namespace,
        "events",
        "--for",
        "widget/b",
        "--watch",
    ]
    environment = {**os.environ, "KUBECONFIG": str(server.kubeconfig)}
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True, env=environment) as watching:
        assert watching.stdout is not None
        lines = [watching.stdout.readline().split()[-1] for _ in range(2)]
        server.create(events, event("a3", "a", namespace))
        server.create(events, event("b2", "b", namespace))
        lines.append(watching.stdout.readline().split()[-1])
        watching.terminate()

    assert lines == ["MESSAGE", "b1", "b2"]


def test_events_go_and_watchers_see_it(tmp_path: Path) -> None:
    """After the time that the server was told; here it starts again in between, and still knows them."""
    server = ApiServer(tmp_path, ["--event-ttl", "2"])
    server.start()
    try:
        path = "/api/v1/namespaces/default/events"
        since = server.create(path, event("one", "a", "default"))["metadata"]["resourceVersion"]
        server.stop(9)
        server.start()
        server.create(path, event("two", "a", "default"))
        with server.watch(path, resourceVersion=since, timeoutSeconds=15) as changes:
            gone = (change["object"]["metadata"]["name"] for change in changes if change["type"] == "DELETED")
            assert [next(gone), next(gone)] == ["one", "two"]
        assert server.get(path)["items"] == []
    finally:
        server.stop()
