"""One request on its way, and what became of it.

Owns the state that forwarding and relaying share, and the rule by which an answer is charged. Invariant: what is
charged is at least what the answer told; a guess stands in only where the client or a revoked grant ended it, or it
was cut, before it had told.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import h11

from watchbill_broker import answers
from watchbill_broker.account import Ticket
from watchbill_broker.answers import Answer
from watchbill_broker.attempt import Attempt
from watchbill_broker.client import Client
from watchbill_broker.event_stream import FrameMeter
from watchbill_broker.headers import Fields, find_field
from watchbill_broker.ledger import Charge
from watchbill_broker.metering import DocumentMeter, EventMeter, Meter, Told
from watchbill_broker.prices import PriceTable
from watchbill_broker.prompts import guess_tokens, lies_elsewhere, parse_request, reaches_out
from watchbill_broker.routes import Route

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
        prompt = 0 if told.began else guess_tokens(self._parse(), self.sent_bytes)
        is_guessed = told.guess_missing(prompt, worked)
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

    def refuse_prompt(self) -> Answer | None:
        """Why the prompt may not go where money is counted, or None: what it costs must not depend on what others hold.

        A request that is not held whole is not read; its bytes alone are a guess of a quarter of a million tokens.
        """
        if self.attempt.account.budget is None or not self.is_whole:
            return None
        asked = self._parse()
        if asked is None:
            return answers.unreadable_prompt()
        return answers.prompt_elsewhere() if lies_elsewhere(asked) else None

    def _parse(self) -> dict[str, Any] | None:
        return parse_request(self.body) if self.is_whole else None

    def bound_cost(self) -> float:
        """The most that the answer can cost, USD; without bound where the request does not hold all that it costs."""
        asked = self._parse()
        if asked is None:
            return UNBOUNDED
        most = asked.get("max_tokens")
        if not isinstance(most, int) or most < 0 or reaches_out(asked):
            return UNBOUNDED
        model = self.route.model or str(asked.get("model") or "")
        return self.prices.bound(model=model, request_bytes=len(self.body), max_tokens=most)


def choose_meter(fields: Fields) -> Meter:
    """The meter for an answer's form."""
    form = find_field(fields, b"content-type") or b""
    if form.startswith(b"text/event-stream"):
        return EventMeter()
    if form.startswith(b"application/vnd.amazon.eventstream"):
        return FrameMeter()
    return DocumentMeter()
