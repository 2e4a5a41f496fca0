"""What a request asks for: the path and the Accept header as values.

Pure. Knows the URL scheme of Kubernetes, no kind and no object; whether what is asked for exists is for the caller.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Literal

Shape = Literal["object", "table", "metadata", "refused"]

JSON = "application/json"
_ANY_JSON = frozenset({JSON, "*/*", "application/*", "text/plain", "text/html"})


@dataclass(frozen=True, slots=True)
class Target:
    """The resource, object or subresource that a path names."""

    group: str
    version: str
    plural: str
    namespace: str | None = None  #: None: all namespaces, or a cluster-wide kind
    name: str | None = None
    subresource: str = ""


@dataclass(frozen=True, slots=True)
class Form:
    """The form in which the client wants the answer; `version` is that of meta.k8s.io."""

    shape: Shape
    version: str = ""


def parse_target(path: str) -> Target | None:
    """Return what a path names, or None for paths of another kind (discovery, health)."""
    parts = path.strip("/").split("/")
    if parts[0] == "api" and len(parts) > 2:
        group, version, rest = "", parts[1], parts[2:]
    elif parts[0] == "apis" and len(parts) > 3:
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        return None
    namespace = None
    is_namespace_itself = group == "" and rest[2:] == ["status"]
    if rest[0] == "namespaces" and len(rest) > 2 and not is_namespace_itself:
        namespace, rest = rest[1], rest[2:]
    name = rest[1] if len(rest) > 1 else None
    return Target(group, version, rest[0], namespace, name, "/".join(rest[2:]))


@functools.lru_cache(maxsize=256)
def parse_accept(header: str) -> Form:
    """Return the first form of an Accept header that this server can give."""
    for part in (header or JSON).split(","):
        media, *rest = (piece.strip() for piece in part.split(";"))
        if media not in _ANY_JSON:
            continue
        parameters = dict(piece.split("=", 1) for piece in rest if "=" in piece)
        wanted = parameters.get("as", "")
        version = parameters.get("v", "v1")
        if not wanted:
            return Form("object")
        if wanted == "Table" and parameters.get("g") == "meta.k8s.io" and version in ("v1", "v1beta1"):
            return Form("table", version)
        if wanted.startswith("PartialObjectMetadata") and version in ("v1", "v1beta1"):
            return Form("metadata", version)
    return Form("refused")
