"""Who shows a token: the owner of this server, or a service account that was given one.

Owns the two kinds of token. The server's own is the owner's; tokens of service accounts are JWTs of the form that
Kubernetes issues, signed with the server's token, so they need no store and die with it, at their time, or with
their account. There is no RBAC here: whoever is let in may do everything, and the name only tells who it was.

Pure but for the table of living uids that it is given; never logs a token.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from watchbill_local.server.values import Obj

AUDIENCE = "https://kubernetes.default.svc"
_HEAD = {"alg": "HS256", "typ": "JWT"}


@dataclass(frozen=True, slots=True)
class User:
    """Who sends a request."""

    name: str
    uid: str
    groups: tuple[str, ...]


OWNER = User("admin", "admin", ("system:masters", "system:authenticated"))


class Tokens:
    """Tells users by their tokens; `key` is the server's own token, `uids` are those of the objects that live."""

    def __init__(self, key: str, uids: Container[str]) -> None:
        self._key = key.encode()
        self._uids = uids

    def identify(self, header: str, now: float) -> User | None:
        """Return who shows an Authorization header at `now` (seconds since the epoch), None for nobody known."""
        scheme, _, shown = header.partition(" ")
        raw = shown.strip().encode("utf-8", "surrogateescape")
        if scheme.lower() != "bearer":
            return None
        return OWNER if hmac.compare_digest(raw, self._key) else self._identify_account(raw, now)

    def issue(self, account: Obj, audiences: Sequence[str], now: float, seconds: int) -> str:
        """Return a token of a service account, given by its metadata, that is good from `now` for some seconds."""
        name, namespace, begins = account["name"], account["namespace"], int(now)
        claims = {
            "aud": list(audiences),
            "exp": begins + seconds,
            "iat": begins,
            "iss": AUDIENCE,
            "kubernetes.io": {"namespace": namespace, "serviceaccount": {"name": name, "uid": account["uid"]}},
            "nbf": begins,
            "sub": f"system:serviceaccount:{namespace}:{name}",
        }
        signed = b".".join([_encode(orjson.dumps(_HEAD)), _encode(orjson.dumps(claims))])
        return b".".join([signed, self._sign(signed)]).decode("ascii")

    def _identify_account(self, raw: bytes, now: float) -> User | None:
        signed, _, signature = raw.rpartition(b".")
        if not hmac.compare_digest(signature, self._sign(signed)):
            return None
        claims = _decode(signed.partition(b".")[2])
        namespace, account = (claims["kubernetes.io"][key] for key in ("namespace", "serviceaccount"))
        if claims["exp"] <= now or AUDIENCE not in claims["aud"] or account["uid"] not in self._uids:
            return None
        groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated")
        return User(claims["sub"], account["uid"], groups)

    def _sign(self, signed: bytes) -> bytes:
        return _encode(hmac.digest(self._key, signed, hashlib.sha256))


def _encode(raw: bytes) -> bytes:
    return base64.urlsafe_b64encode(raw).rstrip(b"=")


def _decode(text: bytes) -> Any:
    return orjson.loads(base64.urlsafe_b64decode(text + b"=" * (-len(text) % 4)))
