"""Who may talk to the server, and how they know it: token, Host and Origin checks, certificate, kubeconfig.

Creating a pod here runs a program on this machine, so the server is fenced against other users and against web pages
that the owner of this machine has open: a random token (readable by its owner alone), no answer under a foreign name
(DNS rebinding), no answer to anything that a browser sends across origins. There is TLS even on loopback, since
kubectl (client-go) sends no token over plain HTTP; the certificate is its own authority, which the kubeconfig names.

Invariant: token, key and kubeconfig are never readable by anybody else, not even for a moment. None is ever logged.
They change only with the data directory.
"""

from __future__ import annotations

import base64
import contextlib
import hmac
import json
import os
import secrets
import ssl
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

from watchbill_local.server.errors import ApiError
from watchbill_local.server.values import Obj

#: Paths that tell a prober whether the server lives; they say nothing else and need no token.
FREE_PATHS = frozenset({"/healthz", "/livez", "/readyz"})

#: Names of this server, as a Host header may give them, without port.
LOOPBACK_NAMES = frozenset({"127.0.0.1", "localhost", "::1"})

#: A certificate lives as long as anybody will keep a data directory; clocks of clients in containers may be behind.
LIFETIME, BACKDATED = timedelta(days=3650), timedelta(days=1)

NAME = "watchbill-local"  #: of the cluster in kubeconfigs and certificates


def decide_refusal(token: str, path: str, headers: Mapping[str, str]) -> ApiError | None:
    """Return why a request is refused, or None to let it in. `headers` are looked up without regard to case."""
    host = headers.get("Host", "")
    if _name_of(host) not in LOOPBACK_NAMES:
        return ApiError(403, "Forbidden", f'forbidden: this server does not answer to the name "{host}"')
    if "Origin" in headers:
        return ApiError(403, "Forbidden", "forbidden: this server does not answer to web pages (Origin header)")
    if path in FREE_PATHS:
        return None
    scheme, _, shown = headers.get("Authorization", "").partition(" ")
    is_token = hmac.compare_digest(shown.strip().encode("utf-8", "surrogateescape"), token.encode())
    return None if scheme.lower() == "bearer" and is_token else ApiError(401, "Unauthorized", "Unauthorized")


def load_token(path: str) -> str:
    """Return the token kept at `path`, made on first use. Raises OSError."""
    return _load_or_make(path, lambda: secrets.token_urlsafe(32) + "\n").strip()


def load_certificate(path: str) -> tuple[ssl.SSLContext, str]:
    """Return the TLS side of a server and the PEM that its clients trust, kept at `path` and made on first use.

    Raises OSError, and its kind ssl.SSLError where the file holds no certificate.
    """
    pem = _load_or_make(path, lambda: build_certificate(datetime.now(UTC)))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    _, begin, authority = pem.rpartition("-----BEGIN CERTIFICATE-----")
    return context, begin + authority


def build_certificate(now: datetime) -> str:
    """Return the PEM of a new key and of a certificate for the loopback names, signed by itself."""
    # imported here: a start that finds its certificate need not wait for it
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    public = key.public_key()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    names = [x509.DNSName("localhost"), *(x509.IPAddress(ip_address(text)) for text in ("127.0.0.1", "::1"))]
    certificate = (
        x509.CertificateBuilder(issuer_name=name, subject_name=name, public_key=public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + LIFETIME)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(public), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return (secret + certificate.public_bytes(pem)).decode("ascii")


def write_kubeconfig(path: str, *, url: str, token: str, authority: str) -> None:
    """Write the kubeconfig of a running server, atomically and with mode 0600. Raises OSError."""
    cluster = {"server": url, "certificate-authority-data": base64.b64encode(authority.encode()).decode()}
    context = {"cluster": NAME, "user": NAME, "namespace": "default"}
    config: Obj = {"apiVersion": "v1", "kind": "Config", "current-context": NAME}
    config["clusters"] = [{"name": NAME, "cluster": cluster}]
    config["contexts"] = [{"name": NAME, "context": context}]
    config["users"] = [{"name": NAME, "user": {"token": token}}]
    write_private(path, json.dumps(config, indent=2) + "\n")


def write_private(path: str, text: str) -> None:
    """Put `text` at `path` in one step, readable by its owner alone. Raises OSError."""
    beside = f"{path}.{os.getpid()}.new"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(beside)
    # exclusively: in a folder like /tmp somebody else may have put a file or a link of theirs there
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(descriptor, "w", encoding="utf-8") as new:
        new.write(text)
    os.replace(beside, path)


def _load_or_make(path: str, make: Callable[[], str]) -> str:
    """Return the text kept at `path`; what `make` returns is kept there first where there is none."""
    if not os.path.exists(path) or not os.path.getsize(path):
        write_private(path, make())
    with open(path, encoding="ascii", errors="replace") as kept:
        return kept.read()


def _name_of(host: str) -> str:
    """Return a Host header without its port; an IPv6 address without its brackets."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.rpartition(":")[0].lower() if ":" in host else host.lower()
