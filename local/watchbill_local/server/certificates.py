"""The server's TLS certificate, made at the first start.

Why TLS on loopback at all: kubectl (client-go) sends no token over plain HTTP. So there is a certificate authority of
one certificate: its key signs once and is never written, so nobody can sign anything else that a holder of the
kubeconfig would trust.

Invariant: the private key is readable by its owner alone. The clients' trust is the CA in the kubeconfig; it changes
only with the data directory.
"""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

from watchbill_local.server.auth import write_private

#: A certificate lives as long as anybody will keep a data directory.
LIFETIME = timedelta(days=3650)
#: Clocks of clients in containers may be behind.
BACKDATED = timedelta(days=1)

_PEM_BEGIN = "-----BEGIN CERTIFICATE-----"


def load_serving_pem(path: str) -> str:
    """Return the PEM kept at `path` (key, certificate, CA in this order), made on first use. Raises OSError."""
    try:
        with open(path, encoding="ascii") as kept:
            return kept.read()
    except FileNotFoundError:
        pem = build_serving_pem(datetime.now(UTC))
        write_private(path, pem)
        return pem


def load_context(path: str) -> ssl.SSLContext:
    """Return the TLS side of a server whose PEM is at `path`. Raises OSError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(path)
    return context


def parse_authority(pem: str) -> str:
    """Return the CA of a serving PEM, which clients need."""
    return _PEM_BEGIN + pem.rpartition(_PEM_BEGIN)[2]


def build_serving_pem(now: datetime) -> str:
    """Return a new key with its certificate for the loopback names, and the CA that signed it."""
    # imported here: a start that finds its certificate need not wait for it
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    def name(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    def usage(*, signs_certificates: bool) -> x509.KeyUsage:
        return x509.KeyUsage(
            digital_signature=not signs_certificates,
            key_cert_sign=signs_certificates,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            crl_sign=False,
            encipher_only=False,
            decipher_only=False,
        )

    authority_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    authority_id = x509.SubjectKeyIdentifier.from_public_key(authority_key.public_key())
    issuer = name("watchbill-local-ca")
    base = x509.CertificateBuilder(issuer_name=issuer).not_valid_before(now - BACKDATED).not_valid_after(now + LIFETIME)
    authority = (
        base.subject_name(issuer)
        .serial_number(x509.random_serial_number())
        .public_key(authority_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage(signs_certificates=True), critical=True)
        .add_extension(authority_id, critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    names = [x509.DNSName("localhost"), *(x509.IPAddress(ip_address(text)) for text in ("127.0.0.1", "::1"))]
    certificate = (
        base.subject_name(name("watchbill-local"))
        .serial_number(x509.random_serial_number())
        .public_key(key.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(authority_id), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return (secret + certificate.public_bytes(pem) + authority.public_bytes(pem)).decode("ascii")
