"""String formats of structural schemas (`date-time`, `uuid`, `duration`, ...).

Owns the table from a format's name to its test. An unknown format says nothing about a value, as upstream has it.
"""

from __future__ import annotations

import base64
import ipaddress
import re
from collections.abc import Callable
from datetime import date
from urllib.parse import urlparse

from watchbill_local.server.names import check_label, check_subdomain
from watchbill_local.server.times import parse_time

Test = Callable[[str], bool]


def is_readable(parse: Callable[[str], object]) -> Test:
    """Return a test that is true for texts that `parse` takes without a ValueError."""

    def test(text: str) -> bool:
        try:
            parse(text)
        except ValueError:
            return False
        return True

    return test


def _matches(pattern: str) -> Test:
    form = re.compile(pattern)
    return lambda text: form.fullmatch(text) is not None


FORMATS: dict[str, Test] = {
    "date-time": lambda text: "T" in text.upper() and parse_time(text) is not None,
    "date": is_readable(date.fromisoformat),
    "byte": is_readable(lambda text: base64.b64decode(text, validate=True)),
    "ipv4": is_readable(ipaddress.IPv4Address),
    "ipv6": is_readable(ipaddress.IPv6Address),
    "cidr": is_readable(lambda text: ipaddress.ip_network(text, strict=False)),
    "uri": lambda text: bool(urlparse(text).scheme),
    "hostname": _matches(r"(?=.{1,253}$)([A-Za-z0-9_-]{1,63}\.?)+"),
    "email": _matches(r"[^@\s]+@[^@\s]+"),
    "uuid": _matches(r"(?i)[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}"),
    "duration": _matches(r"0|([-+]?(\d+(\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h))+"),
    "k8s-short-name": lambda text: not check_label(text),
    "k8s-long-name": lambda text: not check_subdomain(text),
}

INTEGER_RANGES = {"int32": (-(2**31), 2**31 - 1), "int64": (-(2**63), 2**63 - 1)}
KNOWN_FORMATS = {*FORMATS, *INTEGER_RANGES, "float", "double"}
