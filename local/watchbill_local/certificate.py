"""The certificate of a server on this machine: its own authority, made once and kept with the data.

There is TLS even on loopback: kubectl (client-go) sends no token over plain HTTP, and an API server fetches logs from a
node by HTTPS alone. Owns also how a secret is put on disk. Invariant: what is written here is never readable by
anybody else, not even for a moment, and never logged.
"""

from __future__ import annotations

import contextlib
import os
import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

#: A certificate lives as long as anybody will keep a data directory; clocks of clients in containers may be behind.
LIFETIME, BACKDATED = timedelta(days=3650), timedelta(days=1)

NAME = "watchbill-local"  #: whom it is for


def load_certificate(path: str) -> tuple[ssl.SSLContext, str]:
    """Return the TLS side of a server and the PEM that its clients trust, kept at `path` and made on first use.

    Raises OSError, and its kind ssl.SSLError where the file holds no certificate.
    """
    pem = load_or_make(path, lambda: build_certificate(datetime.now(UTC)))
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


def load_or_make(path: str, make: Callable[[], str]) -> str:
    """Return the text kept at `path`; what `make` returns is kept there first where there is none."""
    if not os.path.exists(path) or not os.path.getsize(path):
        write_private(path, make())
    with open(path, encoding="ascii", errors="replace") as kept:
        return kept.read()
