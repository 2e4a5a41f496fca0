"""What an attempt used of its model.

Owns the shape of that and how it adds up. Pure. Figures come from the broker's ledger (tokens as the model's API
reports them, priced by the broker's table) or, where there is no broker, from the runner.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Use of a model. Tokens are counts; `cost_usd` US dollars; `seconds` the duration of its sessions."""

    input_tokens: int = 0  #: not read from a cache
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    cost_usd: float = 0.0
    requests: int = 0  #: answers of the model that were paid for
    turns: int = 0
    seconds: float = 0.0


def add_up(parts: Iterable[Usage]) -> Usage:
    """The sum of several."""
    listed = list(parts)
    return Usage(
        input_tokens=sum(part.input_tokens for part in listed),
        output_tokens=sum(part.output_tokens for part in listed),
        cache_read_tokens=sum(part.cache_read_tokens for part in listed),
        cache_write_tokens=sum(part.cache_write_tokens for part in listed),
        cost_usd=round(sum(part.cost_usd for part in listed), 6),
        requests=sum(part.requests for part in listed),
        turns=sum(part.turns for part in listed),
        seconds=round(sum(part.seconds for part in listed), 3),
    )
