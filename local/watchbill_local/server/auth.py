"""Who may talk to the server, and how they know it: token, Host and Origin checks, kubeconfig.

Creating a pod here runs a program on this machine, so the server is fenced against other users and against web pages
that the owner of this machine has open: a random token (readable by its owner alone), no answer under a foreign name
(DNS rebinding), no answer to anything that a browser sends across origins.

Invariant: token and kubeconfig are never readable by anybody else, not even for a moment. None is ever logged. They
change only with the data directory.
"""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Mapping

from watchbill_local.certificate import load_or_make, write_private
from watchbill_local.server.errors import ApiError
from watchbill_local.server.tokens import User
from watchbill_local.server.values import Obj

#: Paths that tell a prober whether the server lives, and nothing else.
HEALTH_PATHS = frozenset({"healthz", "livez", "readyz"})
#: Paths that need no token.
FREE_PATHS = frozenset({"/version", *(f"/{path}" for path in HEALTH_PATHS)})

#: Names of this server, as a Host header may give them, without port.
LOOPBACK_NAMES = frozenset({"127.0.0.1", "localhost", "::1"})

NAME = "watchbill-local"  #: of the cluster in kubeconfigs


def decide_refusal(user: User | None, path: str, headers: Mapping[str, str]) -> ApiError | None:
    """Return why a request is refused, or None to let it in. `headers` are looked up without regard to case."""
    host = headers.get("Host", "")
    if _name_of(host) not in LOOPBACK_NAMES:
        return ApiError(403, "Forbidden", f'forbidden: this server does not answer to the name "{host}"')
    if "Origin" in headers:
        return ApiError(403, "Forbidden", "forbidden: this server does not answer to web pages (Origin header)")
    is_free = path in FREE_PATHS and not headers.get("Authorization")
    return None if user or is_free else ApiError(401, "Unauthorized", "Unauthorized")


def load_token(path: str) -> str:
    """Return the token kept at `path`, made on first use. Raises OSError."""
    return load_or_make(path, lambda: secrets.token_urlsafe(32) + "\n").strip()


def write_kubeconfig(path: str, *, url: str, token: str, authority: str) -> None:
    """Write the kubeconfig of a running server, atomically and with mode 0600. Raises OSError."""
    cluster = {"server": url, "certificate-authority-data": base64.b64encode(authority.encode()).decode()}
    context = {"cluster": NAME, "user": NAME, "namespace": "default"}
    config: Obj = {"apiVersion": "v1", "kind": "Config", "current-context": NAME}
    config["clusters"] = [{"name": NAME, "cluster": cluster}]
    config["contexts"] = [{"name": NAME, "context": context}]
    config["users"] = [{"name": NAME, "user": {"token": token}}]
    write_private(path, json.dumps(config, indent=2) + "\n")


def _name_of(host: str) -> str:
    """Return a Host header without its port; an IPv6 address without its brackets."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.rpartition(":")[0].lower() if ":" in host else host.lower()
