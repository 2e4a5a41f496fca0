"""One request on its way, and what became of it.

Owns the state that forwarding and relaying share, and the rule by which an answer is charged. Invariant: what is
charged is at least what the answer told; a guess stands in only where the client or a revoked grant ended it, or it
was cut, before it had told.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field

import h11

from watchbill_broker.account import Ticket
from watchbill_broker.attempt import Attempt
from watchbill_broker.client import Client
from watchbill_broker.event_stream import FrameMeter
from watchbill_broker.headers import Fields, find_field
from watchbill_broker.ledger import Charge
from watchbill_broker.metering import DocumentMeter, EventMeter, Meter, Told
from watchbill_broker.prices import PriceTable
from watchbill_broker.routes import Route

#: of documents whose bytes bound what they cost; a picture of 500 bytes can have 3,000 tokens, a PDF far more
SOURCES_WITHIN = frozenset({"text", "content"})
UNBOUNDED = float("inf")


@dataclass(slots=True)
class Exchange:
    """A request that passed the first checks."""

    client: Client = field(repr=False)
    attempt: Attempt = field(repr=False)
    request: h11.Request = field(repr=False)
    route: Route
    prices: PriceTable = field(repr=False)
    body: bytes = field(default=b"", repr=False)  #: whole where `is_whole`, else its beginning
    is_whole: bool = False
    ticket: Ticket | None = None
    sent_bytes: int = 0
    sent_at: float | None = None  #: by the monotonic clock: since then the API has the whole request
    told_at: float | None = None  #: likewise, when it last said something
    status: int | None = None  #: of the API's answer
    api_failed: bool = False  #: there is no answer, and the client is not to blame
    meter: Meter | None = field(default=None, repr=False)

    def note(self) -> None:
        """Write down what the answer has told so far."""
        if self.ticket is not None and self.meter is not None:
            self.attempt.account.note(self.ticket, self._price(self.meter.told, is_guessed=not self.meter.told.ended))

    def settle(self) -> Charge | None:
        """The request is over: charge for it, and return the charge; None where it cost nothing."""
        if self.ticket is None:
            return None
        ticket, self.ticket = self.ticket, None
        charge = self._find_charge()
        self.attempt.account.settle(ticket, charge)
        return charge

    def _find_charge(self) -> Charge | None:
        if self.sent_at is None or self.api_failed or (self.status is not None and self.status != 200):
            return None
        told = self.meter.told if self.meter is not None else Told()
        worked = (self.told_at or time.monotonic()) - self.sent_at
        is_guessed = told.guess_missing(self.sent_bytes, worked)
        return self._price(told, is_guessed=is_guessed)

    def _price(self, told: Told, *, is_guessed: bool) -> Charge:
        cost = self.prices.price(told, model=self.route.model)
        return Charge(
            model=told.model or self.route.model,
            input_tokens=told.input_tokens,
            output_tokens=told.output_tokens,
            cache_read_tokens=told.cache_read_tokens,
            cache_write_tokens=told.cache_write_tokens,
            usd=cost.usd,
            is_known=cost.is_known,
            is_guessed=is_guessed,
        )

    def bound_cost(self) -> float:
        """The most that the answer can cost, USD; without bound where the request does not hold all that it costs."""
        if not self.is_whole:
            return UNBOUNDED
        try:
            asked = json.loads(self.body.decode(), object_pairs_hook=_build_object)
        except (ValueError, RecursionError):
            return UNBOUNDED  # the API may read what we do not
        most = asked.get("max_tokens") if isinstance(asked, dict) else None
        if not isinstance(most, int) or most < 0 or reaches_out(asked):
            return UNBOUNDED
        model = self.route.model or str(asked.get("model") or "")
        return self.prices.bound(model=model, request_bytes=len(self.body), max_tokens=most)


def _build_object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """An object whose names are all different: of two that are equal, the API might take the other one."""
    built = dict(pairs)
    if len(built) != len(pairs):
        raise ValueError("a name stands twice")
    return built


def choose_meter(fields: Fields) -> Meter:
    """The meter for an answer's form."""
    form = find_field(fields, b"content-type") or b""
    if form.startswith(b"text/event-stream"):
        return EventMeter()
    if form.startswith(b"application/vnd.amazon.eventstream"):
        return FrameMeter()
    return DocumentMeter()


def reaches_out(asked: dict[str, object]) -> bool:
    """Whether the prompt is more than the request's bytes: files, addresses, pictures, tools that run at the API."""
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
