"""Repair in a pod: whether an operator lives is asked of the API server, with the account that the pod was given."""

from __future__ import annotations

import base64
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from support.api_server import ApiServer
from watchbill_cli.home import Refused
from watchbill_cli.operator_pods import Unanswered, check_none_lives, is_in_pod

PODS = "/api/v1/namespaces/default/pods"


@pytest.fixture
def account(server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that kubelet would mount, for the small API server."""
    url = urlsplit(server.cluster["server"])
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", url.hostname or "")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(url.port))
    (tmp_path / "token").write_text(server.token)
    (tmp_path / "namespace").write_text("default")
    (tmp_path / "ca.crt").write_bytes(base64.b64decode(server.cluster["certificate-authority-data"]))
    return tmp_path


def put_pod(server: ApiServer, name: str, app: str, phase: str = "Running") -> None:
    """Make a pod with that label and phase; nobody runs it."""
    metadata = {"name": name, "labels": {"app.kubernetes.io/name": app}}
    spec = {"containers": [{"name": "c", "image": "i"}]}
    server.create(PODS, {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
    server.patch(f"{PODS}/{name}/status", {"status": {"phase": phase}})


def test_without_an_account_it_is_no_pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then the volume alone is asked, as it always was."""
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")

    assert not is_in_pod(tmp_path)


def test_with_an_account_it_is_a_pod(account: Path) -> None:
    """The token and the address are there."""
    assert is_in_pod(account)


def test_where_no_operator_is_the_way_is_free(server: ApiServer, account: Path) -> None:
    """Agents and the Job itself are none, nor is one that has ended for good."""
    put_pod(server, "blue-0", "watchbill-agent")
    put_pod(server, "watchbill-repair-1", "watchbill-repair")
    put_pod(server, "watchbill-operator-1", "watchbill-operator", "Failed")

    check_none_lives(account)


@pytest.mark.parametrize("phase", ["Running", "Pending"])
def test_an_operator_that_is_there_is_named_with_the_way_to_end_it(
    server: ApiServer, account: Path, phase: str
) -> None:
    """Also one that waits to start again."""
    put_pod(server, "watchbill-operator-2", "watchbill-operator", phase)

    with pytest.raises(Refused, match=r"pod watchbill-operator-2 is there: `kubectl scale .*--replicas=0`"):
        check_none_lives(account)


def test_a_server_that_does_not_know_us_gives_no_answer(account: Path) -> None:
    """Which is not the same as no operator."""
    (account / "token").write_text("nobody's")

    with pytest.raises(Unanswered, match="cannot ask the API server"):
        check_none_lives(account)
