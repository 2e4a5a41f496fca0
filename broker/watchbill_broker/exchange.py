"""One request on its way, and what became of it.

Owns the state that forwarding and relaying share, and the rule by which an answer is charged. Invariant: what is
charged is at least what the answer told; a guess stands in only where the client or a revoked grant ended it, or it
was cut, before it had told. Does no I/O.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import h11

from watchbill_broker.attempt import Attempt
from watchbill_broker.client import Client
from watchbill_broker.event_stream import FrameMeter
from watchbill_broker.headers import Fields, find_field
from watchbill_broker.metering import DocumentMeter, EventMeter, Meter, Told
from watchbill_broker.prices import PriceTable
from watchbill_broker.routes import Route

SOURCES_WITHIN = frozenset(
    {"base64", "text", "content"}
)  #: of images and documents: all that they cost is in the request
UNBOUNDED = float("inf")


@dataclass(slots=True)
class Exchange:
    """A request that passed the first checks."""

    client: Client = field(repr=False)
    attempt: Attempt = field(repr=False)
    request: h11.Request = field(repr=False)
    route: Route
    body: bytes = field(repr=False)  #: whole where `client.body_is_whole` held when it was read, else its beginning
    is_whole: bool
    sent_bytes: int = 0
    is_sent: bool = False  #: the API has the whole request
    status: int | None = None  #: of the API's answer
    api_failed: bool = False  #: there is no answer, and the client is not to blame
    meter: Meter | None = field(default=None, repr=False)

    def find_told(self) -> tuple[Told | None, bool]:
        """What is to be charged, None for nothing, and whether a part of it is guessed."""
        if not self.is_sent or self.api_failed or (self.status is not None and self.status != 200):
            return None, False
        told = self.meter.told if self.meter is not None else Told()
        return told, told.guess_missing(self.sent_bytes)

    def bound_cost(self, prices: PriceTable) -> float:
        """The most that the answer can cost, USD; without bound where the request does not hold all that it costs."""
        if not self.is_whole:
            return UNBOUNDED
        try:
            asked = json.loads(self.body)
        except (ValueError, RecursionError):
            return 0.0  # the API will refuse it
        if not isinstance(asked, dict) or not isinstance(asked.get("max_tokens"), int) or reaches_out(asked):
            return UNBOUNDED
        model = self.route.model or str(asked.get("model") or "")
        return prices.bound(model=model, request_bytes=len(self.body), max_tokens=asked["max_tokens"])


def choose_meter(fields: Fields) -> Meter:
    """The meter for an answer's form."""
    form = find_field(fields, b"content-type") or b""
    if form.startswith(b"text/event-stream"):
        return EventMeter()
    if form.startswith(b"application/vnd.amazon.eventstream"):
        return FrameMeter()
    return DocumentMeter()


def reaches_out(asked: dict[str, object]) -> bool:
    """Whether the prompt is more than what the request holds: files, addresses, tools that run at the API."""
    tools = asked.get("tools")
    listed = tools if isinstance(tools, list) else []
    if any(isinstance(tool, dict) and tool.get("type") not in (None, "custom") for tool in listed):
        return True
    if asked.get("mcp_servers") or asked.get("container"):
        return True
    waiting: list[object] = [asked.get("messages"), asked.get("system")]
    while waiting:
        part = waiting.pop()
        if isinstance(part, list):
            waiting.extend(part)
        elif isinstance(part, dict):
            source = part.get("source")
            if isinstance(source, dict) and source.get("type") not in SOURCES_WITHIN:
                return True
            waiting.extend(value for value in part.values() if isinstance(value, list | dict))
    return False
