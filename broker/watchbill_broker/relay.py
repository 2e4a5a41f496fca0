"""Sends one request to the model's API and passes the answer on as it comes.

Owns the conversation with the API: the request's fields, one repetition when the credential was rotated, the blanking
of error texts, and streaming. Invariant: what a paid answer uses is counted before the client has it; of a streamed
answer no more than one piece is held. Never decides whether a request may go.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass

import h11

from watchbill_broker import answers
from watchbill_broker.answers import Answer
from watchbill_broker.credentials import MAX_CREDENTIAL_BYTES, Credential, CredentialFiles
from watchbill_broker.exchange import Exchange, choose_meter
from watchbill_broker.headers import Fields, build_answer_fields, build_request_fields, find_field
from watchbill_broker.metering import Told
from watchbill_broker.upstream import Line, Unreachable, Upstream

MAX_ERROR_BYTES = 256 * 1024  #: of an error answer, which is read whole to blank the credential in it
MAX_ERROR_WORDS = 300
NOTHING, BEGUN, ENDED = range(3)  #: how much an answer has told


@dataclass(slots=True)
class Relay:
    """One request's conversation with the API."""

    exchange: Exchange
    upstream: Upstream
    credentials: CredentialFiles
    secret: str
    line: Line | None = None

    async def run(self, credential: Credential) -> None:
        """Send, answer. Raises Unreachable before the answer began or in its middle, and ClientGone."""
        try:
            response = await self._ask(credential)
            if response.status_code == 401 and (renewed := self._find_renewed(credential)):
                self._release()
                credential = renewed
                response = await self._ask(credential)
            await self._pass_on(response, credential)
        finally:
            self._release()

    def _find_renewed(self, refused: Credential) -> Credential | None:
        """Another credential than the one that was refused, for a request that can be sent again."""
        now = self.credentials.load()
        return now if isinstance(now, Credential) and now != refused and self.exchange.is_whole else None

    async def _ask(self, credential: Credential) -> h11.Response:
        """Send the request and wait for the answer's head."""
        self.line = await self.upstream.take()
        exchange = self.exchange
        endpoint = self.upstream.endpoint
        fields = build_request_fields(exchange.request.headers, endpoint.authority, credential)
        fields += _build_framing(exchange)
        target = endpoint.prefix.encode("ascii") + exchange.route.target
        head = h11.Request(method=exchange.request.method, target=target, headers=fields)
        try:
            await self._send(self.line, head)
        except Unreachable as error:
            return await self._read_early_answer(error)
        return await self._next_response()

    async def _send(self, line: Line, head: h11.Request) -> None:
        exchange = self.exchange
        parts: list[h11.Event] = [head]
        if exchange.body:
            parts.append(h11.Data(data=exchange.body))
        exchange.sent_bytes = len(exchange.body)
        if exchange.is_whole:
            parts.append(h11.EndOfMessage())
            exchange.sent_at = time.monotonic()  # from here on the API may have it, and charge for it
        await line.send(*parts)
        if exchange.is_whole:
            return
        while piece := await exchange.client.next_piece():
            exchange.sent_bytes += len(piece)
            await line.send(h11.Data(data=piece))
        exchange.sent_at = time.monotonic()
        await line.send(h11.EndOfMessage())

    async def _read_early_answer(self, error: Unreachable) -> h11.Response:
        """An API that refuses a body closes while it is being sent: its answer may be there."""
        try:
            return await self._next_response()
        except Unreachable:
            raise error from None

    async def _next_response(self) -> h11.Response:
        assert self.line is not None
        while True:
            event = await self.line.next_event()
            if isinstance(event, h11.Response):
                return event
            if not isinstance(event, h11.InformationalResponse):
                raise Unreachable("what came is not an answer")

    async def _pass_on(self, response: h11.Response, credential: Credential) -> None:
        exchange = self.exchange
        fields = build_answer_fields(response.headers, credential)
        exchange.status = response.status_code
        exchange.attempt.note_answer(response.status_code, fields)
        encoding = (find_field(fields, b"content-encoding") or b"identity").decode("ascii", "replace")
        if response.status_code >= 300:
            await self._pass_error(response.status_code, fields, credential)
        elif exchange.route.is_paid and encoding != "identity":
            exchange.attempt.note_refusal(refusal := answers.cannot_meter(encoding))
            await exchange.client.answer(refusal)
        else:
            await self._stream(response.status_code, fields)

    async def _stream(self, status: int, fields: Fields) -> None:
        """Pass the body on piece by piece."""
        assert self.line is not None
        exchange = self.exchange
        if exchange.route.is_paid:
            exchange.meter = choose_meter(fields)
        await exchange.client.begin(status, fields)
        while isinstance(event := await self.line.next_event(), h11.Data):
            piece = bytes(event.data)
            exchange.told_at = time.monotonic()
            before, after = _feed(exchange, piece)
            if after == ENDED and before != ENDED:
                exchange.note()  # first: whoever has the end of an answer may read the ledger
            await exchange.client.send(piece)
            if after == BEGUN and before != BEGUN:
                exchange.note()
        await exchange.client.end()

    async def _pass_error(self, status: int, fields: Fields, credential: Credential) -> None:
        """Pass an error or a redirection on whole, with the credential blanked wherever the API repeats it."""
        assert self.line is not None
        body = b""
        while isinstance(event := await self.line.next_event(), h11.Data):
            body = (body + bytes(event.data))[: MAX_ERROR_BYTES + 2 * MAX_CREDENTIAL_BYTES]
        body = credential.mask(body)[:MAX_ERROR_BYTES]  # in this order: half of a credential is not found
        if status == 401:
            await self.exchange.client.answer(self._explain_refusal(credential, body))
            return
        kept = [(name, value) for name, value in fields if name != b"content-length"]
        await self.exchange.client.begin(status, [*kept, (b"content-length", str(len(body)).encode())])
        await self.exchange.client.send(body)
        await self.exchange.client.end()

    def _explain_refusal(self, credential: Credential, body: bytes) -> Answer:
        try:
            words = str(json.loads(body)["error"]["message"])[:MAX_ERROR_WORDS]
        except (ValueError, KeyError, TypeError, RecursionError):
            words = ""
        return answers.credential_refused(self.secret, credential.file, words)

    def _release(self) -> None:
        line, self.line = self.line, None
        if line is not None:
            self.upstream.give_back(line)


def _build_framing(exchange: Exchange) -> Fields:
    """Where the body ends: its length where it is known."""
    length = find_field(exchange.request.headers, b"content-length")
    if exchange.is_whole:
        length = str(len(exchange.body)).encode() if exchange.body or length is not None else None
        return [(b"content-length", length)] if length is not None else []
    return [(b"content-length", length)] if length is not None else [(b"transfer-encoding", b"chunked")]


def _feed(exchange: Exchange, piece: bytes) -> tuple[int, int]:
    """Count a piece; returns how much had been told before it and after it."""
    if exchange.meter is None:
        return NOTHING, NOTHING
    before = _stage(exchange.meter.told)
    exchange.meter.feed(piece)
    return before, _stage(exchange.meter.told)


def _stage(told: Told) -> int:
    return ENDED if told.ended else BEGUN if told.began else NOTHING
