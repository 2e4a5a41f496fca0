"""What may be asked of the model's API, and where each provider lives.

Owns the list of methods and paths that an agent needs; everything else (files, batches, organisations, administration)
is not there. Invariant: a route's target is what the client sent, byte for byte, and matches one pattern as a whole:
no escapes but those of Bedrock's model names, no dots that climb, no absolute form. Pure.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from watchbill_broker.settings import Endpoint, Provider

MAX_TARGET_BYTES = 4096
QUERY = rb"(?:\?[A-Za-z0-9=&_.,:-]*)?"
NAME = rb"[A-Za-z0-9][A-Za-z0-9._@:-]{0,200}"
ESCAPED_NAME = rb"[A-Za-z0-9](?:[A-Za-z0-9._:-]|%3[Aa]|%2[Ff]){0,400}"
REGION = re.compile(r"[a-z]{2}[a-z0-9-]{1,30}|global|us|eu")


@dataclass(frozen=True, slots=True)
class Route:
    """One request that may be passed on."""

    target: bytes  #: path and query, to be put behind the upstream's prefix
    is_paid: bool
    model: str = ""  #: where the path names it


@dataclass(frozen=True, slots=True)
class _Pattern:
    methods: tuple[bytes, ...]
    target: re.Pattern[bytes]
    is_paid: bool = False


PATTERNS: dict[Provider, tuple[_Pattern, ...]] = {
    "anthropic": (
        _Pattern((b"POST",), re.compile(rb"/v1/messages" + QUERY), is_paid=True),
        _Pattern((b"POST",), re.compile(rb"/v1/messages/count_tokens" + QUERY)),
        _Pattern((b"GET", b"HEAD"), re.compile(rb"/v1/models(?:/" + NAME + rb")?" + QUERY)),
    ),
    "bedrock": (
        _Pattern(
            (b"POST",),
            re.compile(rb"/model/(?P<model>" + ESCAPED_NAME + rb")/invoke(?:-with-response-stream)?" + QUERY),
            is_paid=True,
        ),
        _Pattern((b"POST",), re.compile(rb"/model/" + ESCAPED_NAME + rb"/count-tokens" + QUERY)),
    ),
    "vertex": (
        _Pattern(
            (b"POST",),
            re.compile(
                rb"/v1/projects/(?P<project>[a-z][a-z0-9:.-]{1,100})/locations/[a-z0-9-]{1,40}"
                rb"/publishers/anthropic/models/(?!count-tokens)(?P<model>"
                + NAME
                + rb"?):(?:streamR|r)awPredict"
                + QUERY
            ),
            is_paid=True,
        ),
        _Pattern(
            (b"POST",),
            re.compile(
                rb"/v1/projects/[a-z][a-z0-9:.-]{1,100}/locations/[a-z0-9-]{1,40}"
                rb"/publishers/anthropic/models/count-tokens:rawPredict" + QUERY
            ),
        ),
    ),
}


def find_route(provider: Provider, method: bytes, target: bytes) -> Route | None:
    """The route of a request line, or None where the API that an agent needs has no such path."""
    if len(target) > MAX_TARGET_BYTES or b".." in unquote_to_bytes(target):
        return None
    for pattern in PATTERNS[provider]:
        match = pattern.target.fullmatch(target)
        if match and method in pattern.methods:
            model = match.groupdict().get("model") or b""
            return Route(target, pattern.is_paid, unquote_to_bytes(model).decode("ascii"))
    return None


def find_own_endpoint(provider: Provider, region: str) -> Endpoint | None:
    """The provider's own address, or None where it needs a region and there is none that looks like one."""
    if provider == "anthropic":
        return Endpoint("https", "api.anthropic.com", 443)
    if not REGION.fullmatch(region):
        return None
    if provider == "bedrock":
        return Endpoint("https", f"bedrock-runtime.{region}.amazonaws.com", 443)
    host = "aiplatform.googleapis.com" if region == "global" else f"{region}-aiplatform.googleapis.com"
    return Endpoint("https", host, 443)
