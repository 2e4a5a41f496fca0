"""Kubernetes quantities such as `100m`, `1.5Gi` or `2e3`: amounts of CPU, memory and other resources.

Owns their syntax and their value as a number; pods and the CEL rules of custom kinds compare them by it. Pure.
"""

from __future__ import annotations

import re
from decimal import ROUND_UP, Context, Decimal
from functools import lru_cache

_QUANTITY = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))([KMGTPE]i|[numkMGTPE]|[eE][+-]?\d+)?")
_FACTORS = {unit: Decimal(10) ** (3 * power) for power, unit in enumerate(("n", "u", "m", "", *"kMGTPE"), start=-3)}
_FACTORS |= {f"{unit}i": Decimal(1024) ** power for power, unit in enumerate("KMGTPE", start=1)}


#: Beyond this many figures a number is kept as it was sent.
_LONGEST = 40
_EXACT = Context(prec=2 * _LONGEST)


@lru_cache(maxsize=4096)
def format_quantity(text: str) -> str:
    """Return a quantity in the one form that upstream writes, in thousandths at the least: `1024Mi` is `1Gi`."""
    match = _QUANTITY.fullmatch(text)
    number, suffix = (Decimal(match[1]), match[2] or "") if match else (Decimal(0), "")
    factor = _FACTORS[suffix] if suffix in _FACTORS else Decimal(f"1{suffix}") if suffix else Decimal(1)
    if match is None or abs(number.adjusted()) > _LONGEST or abs(factor.adjusted()) > _LONGEST:
        return text
    value = _EXACT.multiply(number, factor).quantize(Decimal("0.001"), rounding=ROUND_UP, context=_EXACT)
    if suffix.endswith("i") and abs(value) >= 1024 and value == int(value):
        count, power = _divide_out(int(value), 1024, 6)
        return f"{count}{['', 'Ki', 'Mi', 'Gi', 'Ti', 'Pi', 'Ei'][power]}"
    count, power = _divide_out(int(value * 1000), 1000, 7)
    if suffix[:1] in ("e", "E") and len(suffix) > 1 and count:
        return f"{count}e{3 * power - 3}"
    return f"{count}{['m', '', *'kMGTPE'][power]}" if count else "0"


def _divide_out(count: int, base: int, most: int) -> tuple[int, int]:
    """Return a number without the powers of a base that it holds, and how many those are."""
    power = 0
    while count and count % base == 0 and power < most:
        count, power = count // base, power + 1
    return count, power


def is_quantity(text: str) -> bool:
    """Return whether a text is a quantity."""
    return _QUANTITY.fullmatch(text) is not None


def parse_quantity(text: str) -> float:
    """Return the number that a quantity stands for. Raises ValueError, in upstream's words, for what is none."""
    match = _QUANTITY.fullmatch(text)
    if match is None:
        raise ValueError("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")
    number, suffix = Decimal(match[1]), match[2] or ""
    return float(number * (_FACTORS[suffix] if suffix in _FACTORS else Decimal(10) ** int(suffix[1:])))
