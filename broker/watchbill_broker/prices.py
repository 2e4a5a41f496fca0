"""What an answer costs.

Owns the table of prices and the rule by which a model finds its row: the longest name that the model's id begins with,
followed by nothing but a date or a version. Invariant: no answer is cheaper than its model's known price, and a model
that no row knows is priced as the dearest known one, and said so. Pure, apart from loading the table of the package.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

from watchbill_broker.metering import Told

MILLION = 1_000_000
SUFFIX = re.compile(r"(?:[-@](?:\d{8}|latest))?(?:-v\d+(?::\d+)?)?(?:\[1m\])?")
NUMBERS = ("input", "output", "cacheWrite5m", "cacheWrite1h", "cacheRead")
US_FACTOR = 1.1  #: inference that has to stay in the US


class BadPrices(Exception):
    """A price table cannot be used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """USD per million tokens."""

    input: float
    output: float
    cache_write_5m: float
    cache_write_1h: float
    cache_read: float
    fast_factor: float = 1.0  #: of an answer at high speed
    long_prompt_above: float = math.inf  #: tokens of the prompt, above which `long_prompt` holds
    long_prompt: Price | None = None

    @property
    def rank(self) -> float:
        """Which of two is dearer."""
        return self.output + self.input


@dataclass(frozen=True, slots=True)
class Cost:
    """What an answer costs, and whether its model was known."""

    usd: float
    is_known: bool


class PriceTable:
    """Prices by the beginning of a model's id."""

    def __init__(self, models: Mapping[str, Price], *, web_search_usd: float, source: str, date: str) -> None:
        """Take a table with at least one row; `source` and `date` say where it is from."""
        self.source, self.date = source, date
        self._models = dict(sorted(models.items(), key=lambda row: -len(row[0])))
        self._dearest = max(models.values(), key=lambda price: price.rank)
        self._web_search_usd = web_search_usd

    def find(self, model: str) -> tuple[Price, bool]:
        """The price of a model, and whether it is its own."""
        whole = model.lower()
        names = [whole, whole[whole.find("claude-") :]] if "claude-" in whole else [whole]
        for name in names:  # as it is, for rows that an operator wrote; then without region and provider
            for prefix, price in self._models.items():
                if name.startswith(prefix) and SUFFIX.fullmatch(name, len(prefix)):
                    return price, True
        return self._dearest, False

    def price(self, told: Told, *, model: str) -> Cost:
        """The cost of an answer; `model` is what the request named, for answers that name none."""
        price, is_known = self.find(told.model or model)
        prompt = told.input_tokens + told.cache_read_tokens + told.cache_write_tokens
        if price.long_prompt is not None and prompt > price.long_prompt_above:
            price = price.long_prompt
        micro = (
            told.input_tokens * price.input
            + told.output_tokens * price.output
            + told.cache_read_tokens * price.cache_read
            + told.cache_write_5m_tokens * price.cache_write_5m
            + told.cache_write_1h_tokens * price.cache_write_1h
        )
        factor = (price.fast_factor if told.speed == "fast" else 1.0) * (US_FACTOR if told.geo == "us" else 1.0)
        return Cost(micro * factor / MILLION + told.web_searches * self._web_search_usd, is_known)

    def bound(self, *, model: str, request_bytes: int, max_tokens: int) -> float:
        """The most that an answer can cost whose prompt is all in the request: a byte is at most one token."""
        price, _ = self.find(model)
        price = price.long_prompt or price
        dearest_input = max(price.input, price.cache_write_5m, price.cache_write_1h, price.cache_read)
        return (request_bytes * dearest_input + max_tokens * price.output) * price.fast_factor * US_FACTOR / MILLION


def load_prices(overrides: Mapping[str, Any]) -> PriceTable:
    """The package's table with the operator's rows over it. Raises BadPrices."""
    document = json.loads(resources.files(__package__).joinpath("prices.json").read_text())
    rows = {**document["models"], **overrides}
    models = {name.lower(): parse_price(name, row) for name, row in rows.items()}
    search = float(document["webSearchUSD"])
    return PriceTable(models, web_search_usd=search, source=document["source"], date=document["date"])


def parse_price(name: str, row: object) -> Price:
    """Read one row; cache prices that are missing follow from the input's. Raises BadPrices."""
    if not isinstance(row, dict):
        raise BadPrices(f"the price of {name} is not an object")
    filled = {**_cache_prices(row), **row}
    for number in NUMBERS:
        value = filled.get(number)
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < math.inf:
            raise BadPrices(f"the price of {name} has {number} {value!r}, not USD per million tokens")
    longer = row.get("longPrompt")
    return Price(
        input=float(filled["input"]),
        output=float(filled["output"]),
        cache_write_5m=float(filled["cacheWrite5m"]),
        cache_write_1h=float(filled["cacheWrite1h"]),
        cache_read=float(filled["cacheRead"]),
        fast_factor=float(row.get("fastFactor", 1.0)),
        long_prompt_above=float(longer["above"]) if longer else math.inf,
        long_prompt=parse_price(name, {key: longer[key] for key in longer if key != "above"}) if longer else None,
    )


def _cache_prices(row: Mapping[str, Any]) -> dict[str, float]:
    """The usual relation of cache prices to the input's."""
    base = row.get("input")
    if not isinstance(base, int | float):
        return {}
    return {"cacheWrite5m": 1.25 * base, "cacheWrite1h": 2.0 * base, "cacheRead": 0.1 * base}
