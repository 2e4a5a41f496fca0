"""Whether a request may go, and that it is paid for.

Owns the order of things: path, size, credential, endpoint, budget, relay, settlement. Invariant: every paid request
that got leave is settled exactly once, however it ends: answered, cut, left by the client or revoked. Never logs a
header or a body.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

import h11

from watchbill_broker import answers
from watchbill_broker.answers import Answer
from watchbill_broker.attempt import USAGE_PATH, Attempt
from watchbill_broker.client import MAX_BODY_BYTES, BodyTooLarge, Client, ClientGone
from watchbill_broker.credentials import EXAMPLES, Credential, CredentialFiles, NoCredential
from watchbill_broker.exchange import Exchange
from watchbill_broker.headers import find_field, is_ambiguous
from watchbill_broker.ledger import Charge
from watchbill_broker.prices import PriceTable
from watchbill_broker.relay import Relay
from watchbill_broker.routes import Route, find_own_endpoint, find_route
from watchbill_broker.settings import Endpoint, Settings, find_proxy
from watchbill_broker.upstream import Unreachable, Upstream

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Leave:
    """All that a request needs to go."""

    credential: Credential
    upstream: Upstream


class Forwarder:
    """Passes requests on, with the credential."""

    def __init__(self, settings: Settings, prices: PriceTable) -> None:
        """Open nothing yet, but read the certificates of an endpoint that is known."""
        self._settings = settings
        self._prices = prices
        self._credentials = CredentialFiles(settings.credentials, settings.provider)
        self._upstreams: dict[Endpoint, Upstream] = {}
        self._find_upstream()

    def close(self) -> None:
        """Close kept connections."""
        for upstream in self._upstreams.values():
            upstream.close()

    async def handle(self, client: Client, attempt: Attempt, request: h11.Request) -> None:
        """Answer one request. Raises ClientGone, and h11.RemoteProtocolError where it is not HTTP."""
        route = self._check(attempt, request)
        try:
            body = await client.read_body()
            if isinstance(route, Answer):
                await client.answer(route)
                return
            exchange = Exchange(client, attempt, request, route, self._prices)
            exchange.body, exchange.is_whole = body, client.body_is_whole
            await self._run(exchange)
        except BodyTooLarge:
            if client.has_begun():
                raise ClientGone from None
            await client.answer(answers.too_large(MAX_BODY_BYTES))

    def _check(self, attempt: Attempt, request: h11.Request) -> Route | Answer:
        """What can be told from a request's head."""
        if is_ambiguous(request.headers):
            return answers.bad_request("the request has two lengths")
        if request.target == USAGE_PATH and request.method == b"GET":
            return attempt.describe_usage()
        route = find_route(self._settings.provider, request.method, request.target)
        if route is not None and int(find_field(request.headers, b"content-length") or 0) > MAX_BODY_BYTES:
            return answers.too_large(MAX_BODY_BYTES)
        return route or answers.not_here()

    async def _run(self, exchange: Exchange) -> None:
        """Serve, until the answer is whole or the client has gone."""
        serving = asyncio.ensure_future(self._serve(exchange))
        if exchange.is_whole:
            exchange.client.watch(serving.cancel)
        try:
            await serving
        except asyncio.CancelledError:
            if exchange.client.is_gone:
                raise ClientGone from None
            raise
        finally:
            await exchange.client.unwatch()

    async def _serve(self, exchange: Exchange) -> None:
        leave = await self._get_leave(exchange)
        if isinstance(leave, Answer):
            exchange.attempt.note_refusal(leave)
            await exchange.client.answer(leave)
            return
        relay = Relay(exchange, leave.upstream, self._credentials, self._settings.secret)
        try:
            await relay.run(leave.credential)
        except Unreachable as error:
            await _tell_unreachable(exchange, leave.upstream.endpoint.authority, str(error))
        finally:
            if charge := exchange.settle():
                _log_charge(exchange.attempt, charge)

    async def _get_leave(self, exchange: Exchange) -> _Leave | Answer:
        """Wait until the request may go, or say why it may not."""
        settings = self._settings
        credential = self._credentials.load()
        if isinstance(credential, NoCredential):
            return answers.no_credential(settings.secret, credential.problem, EXAMPLES[settings.provider])
        upstream = self._find_upstream()
        if upstream is None:
            return answers.no_endpoint(settings.provider)
        if not exchange.route.is_paid:
            return _Leave(credential, upstream)
        if refusal := exchange.refuse_prompt():
            return refusal
        ticket = await exchange.attempt.account.admit(exchange.bound_cost)
        if isinstance(ticket, Answer):
            return ticket
        exchange.ticket = ticket
        return _Leave(credential, upstream)

    def _find_upstream(self) -> Upstream | None:
        """The connections to the endpoint, None where the provider needs a region and there is none."""
        settings = self._settings
        endpoint = settings.upstream
        if endpoint is None:
            region = "" if settings.provider == "anthropic" else self._credentials.find_region() or settings.region
            endpoint = find_own_endpoint(settings.provider, region)
        if endpoint is None:
            return None
        if endpoint not in self._upstreams:
            self._upstreams[endpoint] = Upstream(endpoint, proxy=find_proxy(self._settings, endpoint))
        return self._upstreams[endpoint]


async def _tell_unreachable(exchange: Exchange, authority: str, why: str) -> None:
    """Answer for an API that did not, or cut what it had begun, as the API cut it."""
    if exchange.client.has_begun():
        exchange.client.abort()
        raise ClientGone
    exchange.api_failed = True
    answer = answers.unreachable(authority, why)
    exchange.attempt.note_refusal(answer)
    await exchange.client.answer(answer)


def _log_charge(attempt: Attempt, charge: Charge) -> None:
    """One line for each answer that was paid for."""
    counts = (charge.input_tokens, charge.cache_read_tokens, charge.cache_write_tokens, charge.output_tokens)
    logger.info(
        "%s: %r used %s in, %s read, %s written, %s out: $%.6f, $%.6f in all%s",
        *(attempt.name, charge.model, *counts, charge.usd, attempt.account.sums.cost_usd),
        " (in part a guess)" if charge.is_guessed else "",
    )
