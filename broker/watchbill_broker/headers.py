"""Which header fields cross the broker, each way.

Owns the list of what an agent may send and what it may get back. Invariant: a request that goes out has exactly one
credential, the broker's, and no field that the list does not name; framing is the broker's own. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable

from watchbill_broker.credentials import Credential

Fields = list[tuple[bytes, bytes]]

ALLOWED = frozenset({b"accept", b"anthropic-beta", b"anthropic-version", b"content-type", b"user-agent", b"x-app"})
ALLOWED_BEGINNINGS = (b"anthropic-dangerous-", b"x-stainless-", b"x-claude-", b"x-amzn-bedrock-")
HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
NEVER_BACK = frozenset({b"set-cookie", b"alt-svc", b"strict-transport-security"})


def build_request_fields(sent: Iterable[tuple[bytes, bytes]], authority: str, credential: Credential) -> Fields:
    """What goes out: the allowed fields, our host, the credential. The caller adds the framing."""
    fields: Fields = [(b"host", authority.encode("ascii"))]
    betas: list[bytes] = []
    for name, value in sent:
        if name == b"anthropic-beta":
            betas.append(value)
        elif name in ALLOWED or name.startswith(ALLOWED_BEGINNINGS):
            fields.append((name, value))
    if credential.beta and not any(credential.beta in value for value in betas):
        betas.append(credential.beta)
    if betas:
        fields.append((b"anthropic-beta", b",".join(betas)))
    fields.append((b"accept-encoding", b"identity"))  # usage is read out of the answer
    fields.append((credential.header, credential.value))
    return fields


def build_answer_fields(received: Iterable[tuple[bytes, bytes]], credential: Credential) -> Fields:
    """What goes back: all but the hop's own fields, cookies, and whatever repeats the credential."""
    listed = list(received)
    dropped = set(HOP_BY_HOP | NEVER_BACK)
    for name, value in listed:
        if name == b"connection":
            dropped.update(part.strip().lower() for part in value.split(b","))
    return [(name, value) for name, value in listed if name not in dropped and credential.mask(value) == value]


def find_field(fields: Iterable[tuple[bytes, bytes]], name: bytes) -> bytes | None:
    """The first value of a field."""
    return next((value for key, value in fields if key == name), None)


def is_ambiguous(fields: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether two readers could see two different ends of the body: the beginning of request smuggling."""
    names = [name for name, _ in fields]
    lengths = {value for name, value in fields if name == b"content-length"}
    encodings = names.count(b"transfer-encoding")
    return bool(lengths and encodings) or len(lengths) > 1 or encodings > 1
