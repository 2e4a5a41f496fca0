"""The clients of the operator: kopf watches and patches, pykube does the rest."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pykube
import pytest

from support.api_server import ApiServer, pod, widget
from support.waiting import wait_for

OPERATOR = """
import kopf

@kopf.on.startup()
def configure(settings, **_):
    settings.posting.enabled = True
    settings.networking.request_timeout = 20

@kopf.on.event("example.com", "v1", "widgets")
def note(event, name, **_):
    print("event", event["type"], name, flush=True)

@kopf.on.create("example.com", "v1", "widgets")
def create(patch, body, **_):
    patch.status["phase"] = "Seen"
    kopf.info(body, reason="Seen", message="by kopf")

@kopf.on.delete("example.com", "v1", "widgets")
def delete(name, **_):
    print("deleted", name, flush=True)
"""


@pytest.fixture
def api(server: ApiServer) -> pykube.HTTPClient:
    """A pykube client from the server's kubeconfig."""
    return pykube.HTTPClient(pykube.KubeConfig.from_file(str(server.kubeconfig)))


@pytest.fixture
def operator(server: ApiServer, tmp_path: Path) -> Iterator[Path]:
    """A kopf operator in a process of its own; yields the file of what it prints."""
    script, said = tmp_path / "handlers.py", tmp_path / "said"
    script.write_text(OPERATOR)
    kopf = [sys.executable, "-m", "kopf", "run", "--standalone", "--all-namespaces", str(script)]
    with said.open("wb") as out:
        running = subprocess.Popen(
            kopf, stdout=out, stderr=out, env={**os.environ, "KUBECONFIG": str(server.kubeconfig)}
        )
    yield said
    running.terminate()
    running.wait(20)


def test_pykube_creates_changes_lists_and_deletes(api: pykube.HTTPClient, namespace: str) -> None:
    """It sends no content type, whole objects as patches, and slashes at the end of discovery paths."""
    kind = pykube.object_factory(api, "example.com/v1", "Widget")
    one = kind(api, widget("one", namespace=namespace))
    one.create()
    one.obj["spec"]["replicas"] = 3
    one.update()
    one.patch({"status": {"phase": "Done"}}, subresource="status")
    one.reload()

    assert (one.obj["spec"]["replicas"], one.obj["status"]["phase"]) == (3, "Done")
    assert [each.name for each in kind.objects(api, namespace=namespace)] == ["one"]
    one.delete(propagation_policy="Background")
    assert not one.exists()


def test_pykube_hears_of_a_conflict(api: pykube.HTTPClient, namespace: str) -> None:
    """An update that is made from an old state fails."""
    kind = pykube.object_factory(api, "example.com/v1", "Widget")
    kind(api, widget("one", namespace=namespace)).create()
    mine, other = (kind.objects(api, namespace=namespace).get(name="one") for _ in range(2))
    other.patch({"spec": {"note": "faster"}})
    mine.obj["spec"]["note"] = "slower"

    with pytest.raises(pykube.exceptions.HTTPError, match="modified"):
        replace(api, mine.obj)


def replace(api: pykube.HTTPClient, obj: Any) -> None:
    """PUT an object as it is."""
    metadata = obj["metadata"]
    path = f"widgets/{metadata['name']}"
    response = api.put(version="example.com/v1", base="/apis", namespace=metadata["namespace"], url=path, json=obj)
    api.raise_for_status(response)


def test_pykube_watches(api: pykube.HTTPClient, namespace: str) -> None:
    """From the present state on."""
    pykube.Pod(api, pod("one", namespace=namespace)).create()

    event = next(iter(pykube.Pod.objects(api, namespace=namespace).watch()))

    assert (event.type, event.object.name) == ("ADDED", "one")


def test_kopf_runs_an_object_from_create_to_delete(
    server: ApiServer, operator: Path, widgets: str, namespace: str
) -> None:
    """Finalizer, status, event, and the delete handler before the object goes."""
    server.create(widgets, widget("one"))
    wait_for(lambda: server.get(f"{widgets}/one")["status"]["phase"] == "Seen", "the handler has run", 20)
    assert server.get(f"{widgets}/one")["metadata"]["finalizers"] == ["kopf.zalando.org/KopfFinalizerMarker"]
    events = f"/api/v1/namespaces/{namespace}/events"
    wait_for(lambda: [each["reason"] for each in server.get(events)["items"]] == ["Seen"], "the event is posted", 20)

    server.delete(f"{widgets}/one")
    wait_for(lambda: not server.exists(f"{widgets}/one"), "the finalizer is taken off", 20)

    wait_for(lambda: "event DELETED one" in operator.read_text(), "kopf has seen the end", 20)
    assert "deleted one" in operator.read_text()


def test_kopf_goes_on_after_a_restart_of_the_server(server: ApiServer, operator: Path, widgets: str) -> None:
    """The watch is resumed where it was; what came while the operator was blind is handled."""
    server.create(widgets, widget("before"))
    wait_for(lambda: server.get(f"{widgets}/before")["status"]["phase"] == "Seen", "the handler has run", 20)

    server.stop(9)
    server.start()
    server.create(widgets, widget("after"))

    assert wait_for(
        lambda: server.get(f"{widgets}/after")["status"]["phase"] == "Seen", "the handler has run again", 30
    )
