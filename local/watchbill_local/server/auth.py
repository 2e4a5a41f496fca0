"""Who may talk to the server: the bearer token, the Host and Origin checks, and the kubeconfig that carries the token.

Creating a pod here runs a program on this machine, so the server is fenced against other users and against web pages
that the owner of this machine has open: a random token (readable by its owner alone), no answer under a foreign name
(DNS rebinding), no answer to anything that a browser sends across origins.

Invariant: token and kubeconfig are never readable by anybody else, not even for a moment. Neither is ever logged.
"""

from __future__ import annotations

import base64
import contextlib
import hmac
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from watchbill_local.server.errors import ApiError

#: Paths that tell a prober whether the server lives; they say nothing else and need no token.
FREE_PATHS = frozenset({"/healthz", "/livez", "/readyz"})

LOOPBACK_NAMES = frozenset({"127.0.0.1", "localhost", "::1"})

KUBECONFIG = """\
apiVersion: v1
kind: Config
current-context: watchbill-local
clusters:
- name: watchbill-local
  cluster:
    server: {url}
    certificate-authority-data: {authority}
contexts:
- name: watchbill-local
  context:
    cluster: watchbill-local
    user: watchbill-local
    namespace: default
users:
- name: watchbill-local
  user:
    token: {token}
"""


@dataclass(frozen=True, slots=True)
class Fence:
    """What a request must show to be let in."""

    token: str
    names: frozenset[str] = LOOPBACK_NAMES  #: names of this server, as a Host header may give them, without port

    def decide_refusal(self, path: str, headers: Mapping[str, str]) -> ApiError | None:
        """Return why a request is refused, or None to let it in. `headers` are looked up without regard to case."""
        host = headers.get("Host", "")
        if _name_of(host) not in self.names:
            return ApiError(403, "Forbidden", f'forbidden: this server does not answer to the name "{host}"')
        if "Origin" in headers:
            return ApiError(403, "Forbidden", "forbidden: this server does not answer to web pages (Origin header)")
        if path in FREE_PATHS:
            return None
        scheme, _, token = headers.get("Authorization", "").partition(" ")
        shown = token.strip().encode("utf-8", "surrogateescape")
        if scheme.lower() != "bearer" or not hmac.compare_digest(shown, self.token.encode()):
            return ApiError(401, "Unauthorized", "Unauthorized")
        return None


def load_token(path: str) -> str:
    """Return the token kept at `path`, made on first use. Raises OSError."""
    try:
        with open(path, encoding="ascii") as kept:
            token = kept.read().strip()
        if token:
            return token
    except FileNotFoundError:
        pass
    token = secrets.token_urlsafe(32)
    write_private(path, token + "\n")
    return token


def write_kubeconfig(path: str, *, url: str, token: str, authority: str) -> None:
    """Write the kubeconfig of a running server, atomically and with mode 0600. Raises OSError."""
    encoded = base64.b64encode(authority.encode()).decode()
    write_private(path, KUBECONFIG.format(url=url, token=token, authority=encoded))


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


def _name_of(host: str) -> str:
    """Return a Host header without its port; an IPv6 address without its brackets."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.rpartition(":")[0].lower() if ":" in host else host.lower()
