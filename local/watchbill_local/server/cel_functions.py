"""The functions that Kubernetes adds to CEL: strings, lists, quantities, URLs, addresses, formats.

Owns the table from a function's name to its Python form. Receiver style `x.f(y)` and call style `f(x, y)` are the same
call. A function that fails raises ValueError or TypeError, which the rule's evaluation reports.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any
from urllib.parse import urlparse

from watchbill_local.server.cel_engine import cel, stdlib
from watchbill_local.server.schema_formats import is_readable
from watchbill_local.server.values import format_json

_QUANTITY = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))([KMGTPE]i|[numkMGTPE]|[eE][+-]?\d+)?")
_FACTORS = {unit: Decimal(10) ** (3 * power) for power, unit in enumerate(("n", "u", "m", "", *"kMGTPE"), start=-3)}
_FACTORS |= {f"{unit}i": Decimal(1024) ** power for power, unit in enumerate("KMGTPE", start=1)}


def parse_quantity(text: str) -> float:
    """Return the number that a Kubernetes quantity such as `100m`, `1.5Gi` or `2e3` stands for."""
    match = _QUANTITY.fullmatch(text)
    if match is None:
        raise ValueError("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")
    number, suffix = Decimal(match[1]), match[2] or ""
    return float(number * (_FACTORS[suffix] if suffix in _FACTORS else Decimal(10) ** int(suffix[1:])))


def _compare(left: Any, right: Any) -> int:
    return int(left > right) - int(left < right)


def _is_url(text: str) -> bool:
    parts = urlparse(text)
    return bool(parts.scheme and (parts.netloc or parts.path))


def _find(text: str, pattern: str) -> str:
    match = re.search(pattern, text)
    return match[0] if match else ""


def _find_all(text: str, pattern: str, limit: int = -1) -> list[str]:
    found = [match[0] for match in re.finditer(pattern, text)]
    return found if limit < 0 else found[:limit]


def _index_of(where: Any, what: Any, *start: int) -> int:
    if isinstance(where, str):
        return where.find(what, *start)
    return where.index(what) if what in where else -1


def _contains(network: str, other: str) -> bool:
    """Whether an IPv4 or IPv6 network holds an address or another network."""
    inner, outer = (ipaddress.ip_network(text, strict=False) for text in (other, network))
    return inner.network_address in outer and inner.broadcast_address in outer


_VERB = re.compile(r"%(?:%|(?:\.(\d+))?([sdfexXob]))")


def _format(text: str, values: list[Any]) -> str:
    """Return `text` with its verbs (%s %d %.2f %e %x %o %b) replaced by the values, in order."""
    rest = iter(values)

    def put(match: re.Match[str]) -> str:
        if match[0] == "%%":
            return "%"
        value, verb = next(rest), match[2]
        if verb == "s":
            return value if isinstance(value, str) else format_json(value)
        return format(value, f".{match[1] or 6}{verb}" if verb in "fe" else verb)

    return _VERB.sub(put, text)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    **dict(stdlib.STDLIB_FUNCTIONS),
    "quantity": parse_quantity,
    "isQuantity": is_readable(parse_quantity),
    "isGreaterThan": lambda left, right: left > right,
    "isLessThan": lambda left, right: left < right,
    "compareTo": _compare,
    "add": lambda left, right: left + right,
    "sub": lambda left, right: left - right,
    "sign": lambda number: _compare(number, 0),
    "asInteger": int,
    "asApproximateFloat": float,
    "isInteger": lambda number: float(number).is_integer(),
    "isURL": _is_url,
    "url": str,
    "getHost": lambda text: urlparse(text).netloc,
    "getHostname": lambda text: urlparse(text).hostname or "",
    "getScheme": lambda text: urlparse(text).scheme,
    "getPort": lambda text: str(urlparse(text).port or ""),
    "getEscapedPath": lambda text: urlparse(text).path,
    "isIP": is_readable(ipaddress.ip_address),
    "ip": lambda text: str(ipaddress.ip_address(text)),
    "isCIDR": is_readable(ipaddress.ip_network),
    "cidr": lambda text: str(ipaddress.ip_network(text)),
    "containsIP": _contains,
    "containsCIDR": _contains,
    "isSorted": lambda items: sorted(items) == list(items),
    "find": _find,
    "findAll": _find_all,
    "indexOf": _index_of,
    "format": _format,
}


def pick_functions(program: cel.Program) -> dict[str, Callable[..., Any]]:
    """Return the functions that a program names: a context that holds all of them costs more than most rules."""
    return {name: FUNCTIONS[name] for name in program.functions() if name in FUNCTIONS}
