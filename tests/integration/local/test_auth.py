"""Who is let in: the token, the Host header, the Origin header."""

from __future__ import annotations

import urllib.request
from pathlib import Path
from urllib.error import URLError

import pytest

from support.api_server import ApiServer

NAMESPACES = "/api/v1/namespaces"


@pytest.mark.parametrize(
    "authorization",
    ["", "Bearer wrong", "Bearer ", "Basic d2F0Y2hiaWxsOndyb25n", "Bearer \xff\xfe"],
)
def test_who_has_not_the_token_is_refused(server: ApiServer, authorization: str) -> None:
    """401 with a Status, which clients understand."""
    reply = server.call("GET", NAMESPACES, headers={"Authorization": authorization})

    assert reply.status == 401
    assert (reply.obj["kind"], reply.obj["reason"]) == ("Status", "Unauthorized")


@pytest.mark.parametrize("path", ["/api", "/apis", "/openapi/v2", "/nowhere", "/"])
def test_nothing_but_health_and_version_is_told_without_the_token(server: ApiServer, path: str) -> None:
    """Not even which kinds there are."""
    assert server.call("GET", path, headers={"Authorization": ""}).status == 401


def test_the_version_is_free_but_not_for_a_wrong_token(server: ApiServer) -> None:
    """As a real server has it: clients ask for it before anything else."""
    answers = [server.call("GET", "/version", headers={"Authorization": each}).status for each in ("", "Bearer odd")]

    assert answers == [200, 401]


@pytest.mark.parametrize("path", ["/healthz", "/livez", "/readyz"])
def test_health_is_free(server: ApiServer, path: str) -> None:
    """A prober needs no token and learns nothing but that the server lives."""
    reply = server.call("GET", path, headers={"Authorization": ""})

    assert (reply.status, reply.text) == (200, "ok")


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:443", "127.0.0.1.evil.example", "10.0.0.1", "[fe80::1]:80"]
)
def test_a_foreign_host_is_refused_even_with_the_token(server: ApiServer, host: str) -> None:
    """403: a name that was made to point here (DNS rebinding) is not this server's."""
    reply = server.call("GET", NAMESPACES, headers={"Host": host})

    assert (reply.status, reply.obj["reason"]) == (403, "Forbidden")


@pytest.mark.parametrize("host", ["localhost", "localhost:6443", "127.0.0.1", "[::1]:6443", "LOCALHOST:1"])
def test_a_loopback_name_is_served_on_any_port(server: ApiServer, host: str) -> None:
    """A forwarded port is still this machine's."""
    assert server.call("GET", NAMESPACES, headers={"Host": host}).status == 200


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost:8080", "http://127.0.0.1"])
@pytest.mark.parametrize("path", [NAMESPACES, "/healthz"])
def test_any_origin_is_refused(server: ApiServer, origin: str, path: str) -> None:
    """403: no web page has business here, whatever it says it is."""
    assert server.call("GET", path, headers={"Origin": origin}).status == 403


def test_a_client_without_the_authority_does_not_trust_the_server(server: ApiServer) -> None:
    """The certificate is good for holders of the kubeconfig alone."""
    with pytest.raises(URLError, match="certificate verify failed"):
        urllib.request.urlopen(server.cluster["server"] + "/healthz", timeout=5)


def test_neither_token_nor_key_is_in_the_log_or_the_command_line(server: ApiServer) -> None:
    """Other users of the machine can read command lines, and logs are pasted into reports."""
    assert server.process is not None
    command = Path(f"/proc/{server.process.pid}/cmdline").read_bytes().decode()

    assert command
    assert server.token not in server.log + command
