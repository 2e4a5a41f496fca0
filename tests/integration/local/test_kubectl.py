"""The real kubectl, as a person types it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from support.api_server import ApiServer, Obj, config_map, pod, widget
from watchbill_local.certificate import load_certificate


class Kubectl:
    """kubectl in one namespace of one server."""

    def __init__(self, server: ApiServer, namespace: str) -> None:
        self._server = server
        self._namespace = namespace

    def run(self, *arguments: str, stdin: object = None) -> subprocess.CompletedProcess[str]:
        """Run it, whatever comes of it; `stdin` is an object or text."""
        text = stdin if stdin is None or isinstance(stdin, str) else json.dumps(stdin)
        return self._server.kubectl("-n", self._namespace, *arguments, stdin=text)

    def __call__(self, *arguments: str, stdin: object = None) -> str:
        """Run it; it must succeed. Returns what it prints."""
        done = self.run(*arguments, stdin=stdin)
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stdout}{done.stderr}"
        return done.stdout.strip()


@pytest.fixture
def kubectl(server: ApiServer, namespace: str) -> Kubectl:
    """kubectl in a namespace of its own."""
    return Kubectl(server, namespace)


def test_apply_creates_then_configures_then_leaves_unchanged(kubectl: Kubectl) -> None:
    """The three words that everybody knows."""
    wanted, changed = widget("one"), widget("one", {"color": "red", "replicas": 3})

    said = [kubectl("apply", "-f", "-", stdin=obj) for obj in (wanted, changed, changed)]

    assert [line.split()[-1] for line in said] == ["created", "configured", "unchanged"]
    assert kubectl("get", "wi", "one", "-o", "jsonpath={.spec.replicas}") == "3"


def test_apply_takes_a_field_away_that_was_applied_before(kubectl: Kubectl) -> None:
    """The three-way merge of kubectl works on the stored last-applied annotation."""
    kubectl("apply", "-f", "-", stdin=config_map("one", {"a": "1", "b": "2"}))
    kubectl("apply", "-f", "-", stdin=config_map("one", {"a": "1"}))

    assert json.loads(kubectl("get", "cm", "one", "-o", "jsonpath={.data}")) == {"a": "1"}


def test_apply_refuses_an_unknown_field_by_name(kubectl: Kubectl) -> None:
    """kubectl asks for strict validation."""
    done = kubectl.run("apply", "-f", "-", stdin=widget("one", {"color": "red", "colour": "red"}))

    assert done.returncode == 1
    assert 'unknown field "spec.colour"' in done.stderr


def test_apply_shows_why_an_object_is_invalid(kubectl: Kubectl) -> None:
    """In upstream's words."""
    done = kubectl.run("apply", "-f", "-", stdin=widget("one", {"color": "pink"}))

    assert 'spec.color: Unsupported value: "pink": supported values: "red", "green", "blue"' in done.stderr


def test_get_shows_the_printer_columns(kubectl: Kubectl) -> None:
    """Wide columns with -o wide alone."""
    kubectl("apply", "-f", "-", stdin=widget("one", {"color": "red", "note": "hello"}))

    assert kubectl("get", "wi").split() == ["NAME", "COLOR", "PHASE", "one", "red", "Pending"]
    assert kubectl("get", "wi", "-o", "wide").split()[-1] == "hello"


def test_get_watch_prints_each_change(server: ApiServer, kubectl: Kubectl, namespace: str) -> None:
    """A row for the present state and one for each change, under one header."""
    kubectl("apply", "-f", "-", stdin=widget("one"))
    program = [str(Path(sys.executable).with_name("kubectl")), "-n", namespace, "get", "wi", "-w"]
    environment = {**os.environ, "KUBECONFIG": str(server.kubeconfig)}
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True, env=environment) as watching:
        assert watching.stdout is not None
        lines = [watching.stdout.readline().split() for _ in range(2)]
        server.patch(f"/apis/example.com/v1/namespaces/{namespace}/widgets/one/status", {"status": {"phase": "Done"}})
        lines.append(watching.stdout.readline().split())
        watching.terminate()

    assert lines == [["NAME", "COLOR", "PHASE"], ["one", "red", "Pending"], ["one", "red", "Done"]]


def test_describe_shows_fields_and_events(kubectl: Kubectl, namespace: str) -> None:
    """Events are found by the fields of the object that they are about."""
    kubectl("apply", "-f", "-", stdin=widget("one"))
    uid = kubectl("get", "wi", "one", "-o", "jsonpath={.metadata.uid}")
    about = {"apiVersion": "example.com/v1", "kind": "Widget", "name": "one", "namespace": namespace, "uid": uid}
    event: Obj = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": "e1"},
        "involvedObject": about,
        "reason": "Painted",
        "message": "it is red now",
        "type": "Normal",
    }
    kubectl("create", "-f", "-", stdin=event)

    described = kubectl("describe", "wi", "one")

    assert "Color:     red" in described
    assert "Painted" in described
    assert "it is red now" in kubectl("get", "events")


def test_scale_sets_replicas(kubectl: Kubectl) -> None:
    """Through the scale subresource."""
    kubectl("apply", "-f", "-", stdin=widget("one"))

    assert kubectl("scale", "wi/one", "--replicas=5") == "widget.example.com/one scaled"
    assert kubectl("get", "wi", "one", "-o", "jsonpath={.spec.replicas}") == "5"


def test_patch_label_and_annotate_change_what_they_say(kubectl: Kubectl) -> None:
    """Merge and JSON patches."""
    kubectl("apply", "-f", "-", stdin=widget("one"))
    kubectl("patch", "wi", "one", "--type=merge", "-p", '{"spec":{"note":"a"}}')
    kubectl("patch", "wi", "one", "--type=json", "-p", '[{"op":"replace","path":"/spec/note","value":"b"}]')
    kubectl("patch", "wi", "one", "--subresource=status", "--type=merge", "-p", '{"status":{"phase":"Done"}}')
    kubectl("label", "wi", "one", "tier=front")
    kubectl("annotate", "wi", "one", "why=because")

    paths = "{.spec.note} {.status.phase} {.metadata.labels.tier} {.metadata.annotations.why}"
    assert kubectl("get", "wi", "one", "-o", f"jsonpath={paths}") == "b Done front because"


def test_diff_shows_a_change_and_makes_none(kubectl: Kubectl) -> None:
    """Exit code 1 means that there are differences."""
    kubectl("apply", "-f", "-", stdin=widget("one"))

    done = kubectl.run("diff", "-f", "-", stdin=widget("one", {"color": "red", "replicas": 2}))

    assert done.returncode == 1
    assert "+  replicas: 2" in done.stdout
    assert kubectl("get", "wi", "one", "-o", "jsonpath={.spec.replicas}") == "1"


def test_wait_sees_what_is_so_and_what_comes(server: ApiServer, kubectl: Kubectl, namespace: str) -> None:
    """Through a watch from the state that it read."""
    kubectl("apply", "-f", "-", stdin=widget("one"))
    path = f"/apis/example.com/v1/namespaces/{namespace}/widgets/one/status"
    later = threading.Timer(
        0.3,
        server.kubectl,
        [
            "-n",
            namespace,
            "patch",
            "wi",
            "one",
            "--subresource=status",
            "--type=merge",
            "-p",
            '{"status":{"phase":"Done"}}',
        ],
    )
    later.start()

    kubectl("wait", "--for=jsonpath={.status.phase}=Done", "wi/one", "--timeout=20s")

    later.join()
    assert server.get(path.removesuffix("/status"))["status"]["phase"] == "Done"


def test_delete_waits_until_the_object_is_gone(kubectl: Kubectl) -> None:
    """And says so."""
    kubectl("apply", "-f", "-", stdin=widget("one"))

    assert "deleted" in kubectl("delete", "wi", "one")
    assert kubectl("get", "wi", "--ignore-not-found") == ""


def test_delete_of_all_takes_every_object_of_a_kind(kubectl: Kubectl) -> None:
    """One by one, as kubectl does it."""
    for name in ("one", "two"):
        kubectl("apply", "-f", "-", stdin=widget(name))

    kubectl("delete", "wi", "--all")

    assert kubectl("get", "wi", "-o", "name") == ""


def test_edit_writes_what_the_editor_saved(server: ApiServer, kubectl: Kubectl, namespace: str, tmp_path: Path) -> None:
    """With sed for an editor."""
    kubectl("apply", "-f", "-", stdin=widget("one"))
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\nsed -i "s/replicas: 1/replicas: 6/" "$1"\n')
    editor.chmod(0o700)
    environment = {**os.environ, "KUBECONFIG": str(server.kubeconfig), "KUBE_EDITOR": str(editor)}
    program = str(Path(sys.executable).with_name("kubectl"))

    subprocess.run([program, "-n", namespace, "edit", "wi", "one"], env=environment, check=True, capture_output=True)

    assert kubectl("get", "wi", "one", "-o", "jsonpath={.spec.replicas}") == "6"


def test_replace_needs_the_object_and_overwrites_it(kubectl: Kubectl) -> None:
    """NotFound before, replaced after."""
    assert kubectl.run("replace", "-f", "-", stdin=widget("one")).returncode == 1
    kubectl("create", "-f", "-", stdin=widget("one"))

    assert kubectl("replace", "-f", "-", stdin=widget("one", {"color": "red", "note": "new"})).endswith("replaced")


def test_set_image_patches_a_pod(kubectl: Kubectl) -> None:
    """By a strategic merge patch."""
    kubectl("apply", "-f", "-", stdin=pod("one"))
    kubectl("set", "image", "pod/one", "main=busybox:2")

    assert kubectl("get", "pod", "one", "-o", "jsonpath={.spec.containers[0].image}") == "busybox:2"


def test_get_all_finds_the_kinds_of_the_category(kubectl: Kubectl) -> None:
    """Pods and Widgets are in `all`, config maps are not."""
    kubectl("apply", "-f", "-", stdin=widget("one"))
    kubectl("apply", "-f", "-", stdin=pod("two"))

    assert kubectl("get", "all", "-o", "name").split() == ["pod/two", "widget.example.com/one"]


class FakeNode(BaseHTTPRequestHandler):
    """The log endpoint of a node."""

    def do_GET(self) -> None:
        """Tell which log was asked for."""
        body = f"log of {self.path}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the standard library's
        """Say nothing."""


def test_logs_come_from_the_node_that_runs_the_pod(
    server: ApiServer, kubectl: Kubectl, namespace: str, tmp_path: Path
) -> None:
    """The server asks the port that the node's status names."""
    with ThreadingHTTPServer(("127.0.0.1", 0), FakeNode) as node:
        tls, _ = load_certificate(str(tmp_path / "certificate.pem"))
        node.socket = tls.wrap_socket(node.socket, server_side=True)
        threading.Thread(target=node.serve_forever, daemon=True).start()
        server.create("/api/v1/nodes", {"metadata": {"name": namespace}})
        status = {
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": node.server_address[1]}},
        }
        server.patch(f"/api/v1/nodes/{namespace}/status", {"status": status})
        kubectl("apply", "-f", "-", stdin=pod("one", {"nodeName": namespace}))

        said = kubectl("logs", "one", "--tail=3")
        node.shutdown()

    assert said == f"log of /containerLogs/{namespace}/one/main?tailLines=3"


def test_logs_of_a_dead_node_say_so(server: ApiServer, kubectl: Kubectl, namespace: str) -> None:
    """One sentence instead of a hanging command."""
    kubectl("apply", "-f", "-", stdin=pod("one", {"nodeName": "no-such-node"}))

    assert 'pods "no-such-node" not found' in kubectl.run("logs", "one").stderr
