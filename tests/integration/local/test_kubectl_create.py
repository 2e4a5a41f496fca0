"""kubectl's `create` commands, whose bodies are protobuf."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.api_server import ApiServer, Obj

PROTOBUF = "application/vnd.kubernetes.protobuf"


def create(server: ApiServer, namespace: str, *arguments: str) -> Obj:
    """Run `kubectl create`, which must succeed, and return what the server made of it."""
    done = server.kubectl("-n", namespace, "create", *arguments, "-o", "json")
    assert done.returncode == 0, done.stderr
    created: Obj = json.loads(done.stdout)
    return created


def test_a_config_map_holds_text_and_bytes(server: ApiServer, namespace: str, tmp_path: Path) -> None:
    """What is no text goes into binaryData."""
    (tmp_path / "raw").write_bytes(b"\x00\xff")

    created = create(server, namespace, "configmap", "one", "--from-literal=a=b", f"--from-file={tmp_path / 'raw'}")

    assert (created["data"], created["binaryData"]) == ({"a": "b"}, {"raw": "AP8="})


def test_a_secret_holds_its_data_encoded_once(server: ApiServer, namespace: str) -> None:
    """Bytes on the wire, base64 in JSON."""
    created = create(server, namespace, "secret", "generic", "one", "--from-literal=password=hunter2")

    assert (created["type"], created["data"]) == ("Opaque", {"password": "aHVudGVyMg=="})


def test_a_namespace_is_active_and_labelled(server: ApiServer, namespace: str) -> None:
    """As any other that is created."""
    created = create(server, namespace, "namespace", f"{namespace}-two")

    assert created["status"] == {"phase": "Active"}
    assert created["metadata"]["labels"] == {"kubernetes.io/metadata.name": f"{namespace}-two"}


def test_a_role_and_its_binding_are_stored_as_said(server: ApiServer, namespace: str) -> None:
    """Not enforced here, and the same as on a real server."""
    role = create(server, namespace, "role", "one", "--verb=get,list", "--resource=pods")
    create(server, namespace, "serviceaccount", "one")
    binding = create(server, namespace, "rolebinding", "one", "--role=one", f"--serviceaccount={namespace}:one")

    assert role["rules"] == [{"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods"]}]
    assert binding["roleRef"] == {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "one"}
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "one", "namespace": namespace}]


@pytest.mark.parametrize(
    ("raw", "status", "words"),
    [
        (b"hello", 400, "provided data does not appear to be a protobuf message"),
        (b"k8s\x00\x0a\x08\x0a\x02v1\x12\x02Xx", 400, 'no kind \\"Xx\\" is registered for version \\"v1\\"'),
        (b"k8s\x00\x0a\x0f\x0a\x02v1\x12\x09ConfigMap\x12\x02\x0a\x09", 400, "unexpected EOF"),
        (b"k8s\x00\x0a\x09\x0a\x02v1\x12\x03Pod\x12\x00", 400, 'no kind \\"Pod\\"'),
    ],
)
def test_a_body_that_cannot_be_read_is_a_bad_request(
    server: ApiServer, namespace: str, raw: bytes, status: int, words: str
) -> None:
    """Broken bytes and foreign types, as on a real server."""
    reply = server.call("POST", f"/api/v1/namespaces/{namespace}/configmaps", raw, PROTOBUF)

    assert (reply.status, reply.obj["reason"]) == (status, "BadRequest")
    assert words in reply.text


def test_a_custom_kind_has_no_protobuf(server: ApiServer, widgets: str) -> None:
    """Its schema is JSON's."""
    assert server.call("POST", widgets, b"k8s\x00", PROTOBUF).status == 415


def test_delete_options_come_as_protobuf_too(server: ApiServer, namespace: str) -> None:
    """client-go encodes them like any body; here a precondition on a uid of no object."""
    maps = f"/api/v1/namespaces/{namespace}/configmaps"
    server.create(maps, {"metadata": {"name": "one"}})
    options = b"k8s\x00\x0a\x13\x0a\x02v1\x12\x0dDeleteOptions\x12\x07\x12\x05\x0a\x03abc"

    assert server.call("DELETE", f"{maps}/one", options, PROTOBUF).status == 409


@pytest.mark.parametrize("kind", ["text/plain", "application/yaml", "application/cbor"])
def test_a_body_of_another_type_is_not_read(server: ApiServer, namespace: str, kind: str) -> None:
    """415, with the types that are."""
    reply = server.call("POST", f"/api/v1/namespaces/{namespace}/configmaps", b"{}", kind)

    assert reply.status == 415
    assert "application/vnd.kubernetes.protobuf" in reply.obj["message"]
