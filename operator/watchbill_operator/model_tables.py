"""The settings `models` and `prices`: tables that a person writes.

Owns their form and bounds. Invariant: a table that is returned is whole and its texts and numbers are usable as they
are; whatever is wrong is a `ConfigError` that names file, line and column. Pure.

    models: {haiku: claude-haiku-5-5, house: our-gateway/claude}
    prices: {our-gateway/claude: {input: 3, output: 15}}     # USD per million tokens
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from watchbill_operator.config_error import ConfigError

MAX_ROWS = 256
MAX_NAME = 128  #: characters of a model's name, as in an Agent's spec
NEEDED_PRICES = ("input", "output")
KINDS_OF_PRICES = (*NEEDED_PRICES, "cacheWrite5m", "cacheWrite1h", "cacheRead")
DEAREST = 1_000_000.0


def parse_table(member: str, value: Any, source: str, place: str) -> dict[str, Any]:
    """The table that stands in `member` of the file `source`; `place` is where the member is, with its name.

    Raises:
        ConfigError: it is no table, or has a row that cannot be used.
    """
    if not isinstance(value, dict):
        raise ConfigError(f"{place}: a mapping is wanted")
    if len(value) > MAX_ROWS:
        raise ConfigError(f"{place}: {len(value)} rows are more than {MAX_ROWS}")
    table = {}
    for name, row in value.items():
        where = f"{_tell_place(value, name, source, place)}: {member}.{name}"
        if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME:
            raise ConfigError(f"{where}: a name of 1 to {MAX_NAME} characters is wanted")
        try:
            table[name] = TABLES[member](row)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"{where}: {error}") from error
    return table


def _tell_place(table: Any, name: object, source: str, place: str) -> str:
    """Line and column of a row, counted from 1, where the parser kept them."""
    marks = getattr(table, "lc", None)
    if marks is None:
        return place
    line, column = marks.key(name)
    return f"{source}:{line + 1}:{column + 1}"


def _parse_model(row: object) -> str:
    if not isinstance(row, str) or not 0 < len(row) <= MAX_NAME or not row.isprintable():
        raise ValueError(f"{row!r} is not a model's id")
    return row


def _parse_prices(row: object) -> dict[str, float]:
    if not isinstance(row, dict):
        raise TypeError("a mapping of prices is wanted")
    for kind in row:
        if kind not in KINDS_OF_PRICES:
            raise ValueError(f"{kind!r} is not a price; there are {', '.join(KINDS_OF_PRICES)}")
    for kind in NEEDED_PRICES:
        if kind not in row:
            raise ValueError(f"{kind} is missing")
    return {kind: _parse_price(kind, value) for kind, value in row.items()}


def _parse_price(kind: str, value: object) -> float:
    """USD per million tokens."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{kind} {value!r} is not a number of USD per million tokens")
    if not 0 <= value <= DEAREST:
        raise ValueError(f"{kind} {value!r} is not from 0 to {DEAREST:,.0f} USD per million tokens")
    return float(value)


TABLES: Mapping[str, Callable[[object], Any]] = {"models": _parse_model, "prices": _parse_prices}
