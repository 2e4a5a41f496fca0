"""How a request of pykube gets to the API server: over one kept connection, with as little in between as HTTP needs.

Owns the connection of one thread. pykube chooses credentials and certificates for each request; this sends it. Of a
call's processor time `requests` and `urllib3` take two thirds, for cookies, redirects, proxies and pools that nobody
wants here. Invariant: a request is sent at most once; a connection that the server has closed meanwhile is found before
anything is written to it. Never retries: the caller knows which request may be repeated.
"""

from __future__ import annotations

import http.client
import io
import select
import ssl
import urllib.parse
from typing import Any

import pykube
import requests

Verify = bool | str  #: the file that the server's certificate is checked by; or whether it is checked
OwnCertificate = tuple[str, str] | None  #: files of certificate and key
Certificates = tuple[Verify, OwnCertificate]


class KeptConnection(pykube.http.KubernetesHTTPAdapter):
    """pykube's adapter with a transport of its own. For one thread."""

    def __init__(self, config: pykube.KubeConfig) -> None:
        super().__init__(config)
        self._connection: http.client.HTTPConnection | None = None
        self._certificates: Certificates = (True, None)

    def _do_send(
        self,
        request: requests.PreparedRequest,
        *,
        timeout: float,
        verify: Verify = True,
        cert: OwnCertificate = None,
        **_: Any,
    ) -> requests.Response:
        """Send one request and read the whole answer. pykube calls this when credentials and certificates are chosen.

        Raises:
            requests.ConnectionError: no answer came, or only a part of one.
        """
        place = urllib.parse.urlsplit(request.url or "")
        path = f"{place.path}?{place.query}" if place.query else place.path
        try:
            connection = self._connect(place, (verify, cert), timeout)
            connection.request(request.method or "GET", path, _body(request), dict(request.headers))
            answer = connection.getresponse()
            return build_response(answer.status, answer.read())
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise requests.ConnectionError(f"{type(error).__name__}: {error}") from error

    def close(self) -> None:
        """Let the connection go; the next request makes another."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def _connect(
        self, place: urllib.parse.SplitResult, certificates: Certificates, timeout: float
    ) -> http.client.HTTPConnection:
        """The kept connection, or a new one where there is none, it was closed, or the certificates are others."""
        known = self._connection
        if known is not None and certificates == self._certificates and is_open(known):
            return known
        self.close()
        if place.scheme == "https":
            context = build_context(*certificates)
            made: http.client.HTTPConnection = http.client.HTTPSConnection(
                place.hostname or "", place.port, timeout=timeout, context=context
            )
        else:
            made = http.client.HTTPConnection(place.hostname or "", place.port, timeout=timeout)
        self._connection, self._certificates = made, certificates
        return made


def _body(request: requests.PreparedRequest) -> bytes | None:
    """What is sent; streams are nothing that the operator sends."""
    return request.body if isinstance(request.body, bytes) else None


def build_client(config: pykube.KubeConfig, timeout: float) -> pykube.HTTPClient:
    """A client for one thread. A server that goes by another name than its address is left to pykube's own adapter."""
    if "tls-server-name" in config.cluster:
        client = pykube.HTTPClient(config, timeout=timeout)
    else:
        client = pykube.HTTPClient(config, timeout=timeout, http_adapter=KeptConnection(config))
        client.session.headers["Accept-Encoding"] = "identity"
    return client


def build_context(verify: Verify, certificate: OwnCertificate) -> ssl.SSLContext:
    """The TLS settings for these certificates. Raises OSError for files that cannot be read."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # checks certificate and name of the server
    if verify is False:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif isinstance(verify, str):
        context.load_verify_locations(cafile=verify)
    else:
        context.load_default_certs()
    if certificate is not None:
        context.load_cert_chain(*certificate)
    return context


def build_response(status: int, content: bytes) -> requests.Response:
    """An answer as pykube wants to see it."""
    response = requests.Response()
    response.status_code = status
    response.raw = io.BytesIO(content)
    return response


def is_open(connection: http.client.HTTPConnection) -> bool:
    """Whether nothing has come since the last answer: what comes unasked is the end. A new connection is open."""
    if connection.sock is None:
        return True
    poll = select.poll()
    poll.register(connection.sock, select.POLLIN)
    return not poll.poll(0)
