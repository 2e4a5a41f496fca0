"""What a request can cost at most, before it is sent: the budget's promise stands on it."""

from __future__ import annotations

import json
from typing import Any

import h11
import pytest

from watchbill_broker.exchange import UNBOUNDED, Exchange
from watchbill_broker.prices import load_prices
from watchbill_broker.routes import Route

SMALL = {"model": "claude-opus-5-5", "max_tokens": 1000, "messages": []}


def bound(body: bytes, *, is_whole: bool = True) -> float:
    """USD that the answer to a body can cost."""
    request = h11.Request(method="POST", target="/v1/messages", headers=[("Host", "x")])
    nobody: Any = None  # a bound asks neither the client nor the attempt
    exchange = Exchange(nobody, nobody, request, Route(b"/v1/messages", is_paid=True), load_prices({}))
    exchange.body, exchange.is_whole = body, is_whole
    return exchange.bound_cost()


def test_a_plain_request_is_bounded_by_its_bytes_and_its_tokens() -> None:
    """Twice and a tenth, since an answer may be fast and bound to the US."""
    body = json.dumps(SMALL).encode()

    assert bound(body) == pytest.approx((len(body) * 8 + 1000 * 20) * 2 * 1.1 / 1e6)


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b'{"max_tokens": 1, "model": "claude-opus-5-5", "max_tokens": 128000}',
        b'{"max_tokens": 1, "messages": [{"content": 1, "content": 2}]}',
        b'{"max_tokens": -1, "model": "claude-opus-5-5"}',
        b'{"max_tokens": "1", "model": "claude-opus-5-5"}',
        b'{"model": "claude-opus-5-5"}',
        b'{"max_tokens": 1, "x": ' + b"1" * 5000 + b"}",
        b'{"max_tokens": 1, "x": ' + b"[" * 50_000 + b"]" * 50_000 + b"}",
        '{"max_tokens": 1}'.encode("utf-16"),
        b"[]",
    ],
    ids=range(10),
)
def test_a_request_that_two_readers_could_read_differently_has_no_bound(body: bytes) -> None:
    """The API decides what it means, and its reading may be the dearer one."""
    assert bound(body) == UNBOUNDED


def test_a_request_that_is_not_held_whole_has_no_bound() -> None:
    """Its end may say anything."""
    assert bound(json.dumps(SMALL).encode(), is_whole=False) == UNBOUNDED
