"""The functions that Kubernetes adds to CEL: strings, lists, sets, URLs, addresses, quantities, versions, formats.

Owns the table of them and what the translation of rules (cel_source.py) calls. A name has a `_` before it, so that it
is none of the engine's, and `__` for a dot. The engine keeps only values of JSON, times, bytes and optionals between
two calls: so an address or URL goes on as its text, a quantity as its number, a version as the list of its parts.
Receiver style `x.f(y)` and call style `f(x, y)` are the same call. All but `_format` are what upstream's do; of that
only the verbs are checked. Pure.
"""

from __future__ import annotations

import ipaddress
import re
import sys
import types
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any
from urllib.parse import parse_qs, urlsplit
from zoneinfo import ZoneInfo

from watchbill_local.server.names import (
    check_dns1035,
    check_label,
    check_label_value,
    check_qualified_name,
    check_subdomain,
)
from watchbill_local.server.quantities import is_quantity, parse_quantity
from watchbill_local.server.values import format_json, load_table

# The engine's package imports its own command line, and with it a terminal toolkit that takes longer to load than all
# of this server (measured: 0.2 s of 0.56 s of CPU); an empty module in its place keeps it out.
sys.modules.setdefault("cel.cli", types.ModuleType("cel.cli"))
import cel  # noqa: E402 - after its command line is kept out
from cel import OptionalValue, stdlib  # noqa: E402 - likewise

__all__ = ["FUNCTIONS", "cel"]
_VERSION = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(?:-([0-9A-Za-z.-]+))?(?:\+[0-9A-Za-z.-]+)?")
_NETWORK = ipaddress.ip_network
_FORMATS: dict[str, Callable[[str], list[str]]] = {
    "dns1123Label": check_label,
    "dns1123Subdomain": check_subdomain,
    "dns1035Label": check_dns1035,
    "qualifiedName": check_qualified_name,
    "labelValue": check_label_value,
}


def _find_optional(value: Any, key: Any) -> OptionalValue:
    """Return a member or item that may be absent."""
    if isinstance(value, OptionalValue):
        return _find_optional(value.value(), key) if value.has_value() else value
    is_there = key in value if isinstance(value, dict) else 0 <= key < len(value)
    return OptionalValue.of(value[key]) if is_there else OptionalValue.none()


def _list_entries(value: Any) -> list[list[Any]]:
    """Return the entries that macros of two variables go through."""
    return [[key, item] for key, item in (value.items() if isinstance(value, dict) else enumerate(value))]


def _is(read: Callable[[str], Any]) -> Callable[[str], bool]:
    """Return the function that tells whether a text can be read."""

    def check(text: str) -> bool:
        try:
            return read(text) is not None
        except ValueError:
            return False

    return check


def _parse_url(text: str) -> str:
    parts = urlsplit(text)
    if not (parts.scheme or text.startswith("/")) or re.search(r"\s", text):
        raise ValueError("URL parse error during conversion from string")
    return text


def _parse_version(text: str) -> list[Any]:
    """Return the parts of a semantic version; those of a pre-release come before those of none."""
    match = _VERSION.fullmatch(text)
    if match is None:
        raise ValueError(f"invalid semantic version {text!r}")
    before = (match[4] or "").split(".") if match[4] else []
    tail = [[0, int(part), ""] if part.isdigit() else [1, 0, part] for part in before]
    return [*(int(match[place]) for place in (1, 2, 3)), [0, tail] if before else [1, []]]


def _move_to_zone(moment: datetime, zone: str) -> datetime:
    """Return a moment in a zone; the engine knows zones as their offset alone."""
    return moment.astimezone(timezone(moment.astimezone(ZoneInfo(zone)).utcoffset() or timedelta()))


def _format(form: str, values: list[Any]) -> str:
    """Return a text with its verbs filled in. Raises ValueError for a verb that is none."""
    left = iter(values)

    def fill(match: re.Match[str]) -> str:
        verb = match[2]
        if verb == "%":
            return "%"
        value = next(left, None)
        if verb == "s":
            return value if isinstance(value, str) else format_json(value)
        return format(value, verb) if verb == "b" else f"%{match[1]}{verb}" % value

    return re.sub(r"%((?:\.\d+)?)([sdfexXob%])", fill, form)


def _validate(name: str, text: str) -> OptionalValue:
    wrong = _FORMATS[name](text)
    return OptionalValue.of(wrong) if wrong else OptionalValue.none()


def _name_format(name: str) -> Callable[[], str]:
    return lambda: name


_BY_NAME: dict[str, Callable[..., Any]] = {
    **{name: stdlib.STDLIB_FUNCTIONS[name] for name in load_table("cel.json")["standard"]},
    **{f"format.{name}": _name_format(name) for name in _FORMATS},
    "format.named": lambda name: OptionalValue.of(name) if name in _FORMATS else OptionalValue.none(),
    "validate": _validate,
    "format": _format,
    "size": len,
    "isSorted": lambda items: items == sorted(items),
    "find": lambda text, pattern: next((match[0] for match in re.finditer(pattern, text)), ""),
    "findAll": lambda text, pattern, most=-1: [match[0] for match in re.finditer(pattern, text)][: most % 2**31],
    "quantity": parse_quantity,
    "isQuantity": is_quantity,
    "add": lambda left, right: left + (parse_quantity(right) if isinstance(right, str) else right),
    "sub": lambda left, right: left - (parse_quantity(right) if isinstance(right, str) else right),
    "sign": lambda number: (number > 0) - (number < 0),
    "isInteger": lambda number: float(number).is_integer(),
    "asInteger": int,
    "asApproximateFloat": float,
    "isGreaterThan": lambda left, right: left > right,
    "isLessThan": lambda left, right: left < right,
    "compareTo": lambda left, right: int(left > right) - int(left < right),
    "url": _parse_url,
    "isURL": _is(_parse_url),
    "getScheme": lambda text: urlsplit(text).scheme,
    "getHost": lambda text: urlsplit(text).netloc.rpartition("@")[2],
    "getHostname": lambda text: urlsplit(text).hostname or "",
    "getPort": lambda text: str(urlsplit(text).port or ""),
    "getEscapedPath": lambda text: urlsplit(text).path,
    "getQuery": lambda text: parse_qs(urlsplit(text).query, keep_blank_values=True),
    "ip": lambda text: str(ipaddress.ip_address(text.partition("/")[0])),
    "isIP": _is(ipaddress.ip_address),
    "ip.isCanonical": lambda text: str(ipaddress.ip_address(text)) == text,
    "family": lambda text: ipaddress.ip_address(text).version,
    "isLoopback": lambda text: ipaddress.ip_address(text).is_loopback,
    "isUnspecified": lambda text: ipaddress.ip_address(text).is_unspecified,
    "cidr": lambda text: str(ipaddress.ip_interface(text)),
    "isCIDR": _is(lambda text: ipaddress.ip_interface(text) if "/" in text else None),
    "containsIP": lambda text, other: ipaddress.ip_address(other) in _NETWORK(text, strict=False),
    "containsCIDR": lambda text, other: _NETWORK(other, strict=False).subnet_of(_NETWORK(text, strict=False)),  # type: ignore[arg-type]  # both of one family
    "prefixLength": lambda text: ipaddress.ip_interface(text).network.prefixlen,
    "masked": lambda text: str(ipaddress.ip_interface(text).network),
    "semver": _parse_version,
    "isSemver": _is(_parse_version),
    "major": lambda parts: parts[0],
    "minor": lambda parts: parts[1],
    "patch": lambda parts: parts[2],
    "opt": _find_optional,
    "entries": _list_entries,
    "fromEntries": dict,
    "list": lambda value: [value.value()] if value.has_value() else [],
    "first": lambda items: OptionalValue.of(items[0]) if items else OptionalValue.none(),
    "inZone": _move_to_zone,
}
FUNCTIONS: dict[str, Callable[..., Any]] = {f"_{name.replace('.', '__')}": call for name, call in _BY_NAME.items()}
