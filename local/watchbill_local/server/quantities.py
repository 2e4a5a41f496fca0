"""Kubernetes quantities such as `100m`, `1.5Gi` or `2e3`: amounts of CPU, memory and other resources.

Owns their syntax and their value as a number; pods and the CEL rules of custom kinds compare them by it. Pure.
"""

from __future__ import annotations

import re
from decimal import Decimal

_QUANTITY = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))([KMGTPE]i|[numkMGTPE]|[eE][+-]?\d+)?")
_FACTORS = {unit: Decimal(10) ** (3 * power) for power, unit in enumerate(("n", "u", "m", "", *"kMGTPE"), start=-3)}
_FACTORS |= {f"{unit}i": Decimal(1024) ** power for power, unit in enumerate("KMGTPE", start=1)}


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
