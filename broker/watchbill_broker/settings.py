"""What the pod tells the broker, parsed once.

Owns the names of the environment variables that start a broker. Invariant: settings are whole and of the right types,
or `SettingsError` says in one sentence which variable is wrong. Pure: reads the mapping that it is given and no file.
Never holds a credential: those are files, read anew whenever they change.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

Provider = Literal["anthropic", "bedrock", "vertex"]
PROVIDERS: tuple[Provider, ...] = ("anthropic", "bedrock", "vertex")
DEFAULT_PORTS = {"http": 80, "https": 443}
NO_PROXY_AT_ALL = "*"


class SettingsError(Exception):
    """The environment cannot start a broker; starting again will not help."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where requests go: `scheme://host:port`, and a prefix of every path."""

    scheme: Literal["http", "https"]
    host: str
    port: int
    prefix: str = ""  #: begins with `/` or is empty, never ends with one

    @property
    def authority(self) -> str:
        """The `Host` that the other side expects."""
        name = f"[{self.host}]" if ":" in self.host else self.host
        return name if self.port == DEFAULT_PORTS[self.scheme] else f"{name}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The broker's environment. Folders are absolute."""

    sockets: Path
    grants: Path
    ledger: Path
    credentials: Path
    provider: Provider = "anthropic"
    upstream: Endpoint | None = None  #: None: the provider's own
    region: str = ""  #: of Bedrock or Vertex, where the Secret names none
    proxy: Endpoint | None = None  #: for https upstreams
    no_proxy: tuple[str, ...] = ()  #: hosts, and beginnings of domains, that are reached without it
    secret: str = "watchbill-credentials"  #: name of the Secret, for error texts  # noqa: S105
    prices: Mapping[str, Any] = field(default_factory=dict)  #: overrides of the table, by model
    notify: str = "inotify"  #: or poll, where changes of other hosts are not notified
    log_level: str = "INFO"


def parse_settings(environment: Mapping[str, str]) -> Settings:
    """Read the environment of a broker. Raises SettingsError."""
    provider = environment.get("WATCHBILL_PROVIDER") or "anthropic"
    if provider not in PROVIDERS:
        raise SettingsError(f"WATCHBILL_PROVIDER is {provider!r}, not one of {', '.join(PROVIDERS)}")
    upstream = environment.get("WATCHBILL_UPSTREAM") or ""
    proxy = environment.get("HTTPS_PROXY") or environment.get("https_proxy") or ""
    no_proxy = environment.get("NO_PROXY") or environment.get("no_proxy") or ""
    return Settings(
        sockets=_parse_folder(environment, "WATCHBILL_SOCKETS"),
        grants=_parse_folder(environment, "WATCHBILL_GRANTS"),
        ledger=_parse_folder(environment, "WATCHBILL_LEDGER"),
        credentials=_parse_folder(environment, "WATCHBILL_CREDENTIALS"),
        provider=provider,
        upstream=parse_endpoint(upstream, "WATCHBILL_UPSTREAM") if upstream else None,
        region=environment.get("AWS_REGION") or environment.get("CLOUD_ML_REGION") or "",
        proxy=parse_endpoint(proxy, "HTTPS_PROXY") if proxy else None,
        no_proxy=tuple(part.strip().lstrip(".").lower() for part in no_proxy.split(",") if part.strip()),
        secret=environment.get("WATCHBILL_SECRET_NAME") or "watchbill-credentials",
        prices=_parse_prices(environment.get("WATCHBILL_PRICES") or "{}"),
        notify="poll" if environment.get("WATCHBILL_NOTIFY") == "poll" else "inotify",
        log_level=(environment.get("WATCHBILL_LOG_LEVEL") or "INFO").upper(),
    )


def parse_endpoint(url: str, name: str) -> Endpoint:
    """Read an http or https address without a user, query or fragment. Raises SettingsError; never repeats the address,
    which may hold a password."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise SettingsError(f"{name} is not a URL") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise SettingsError(f"{name} does not begin with http:// or https:// and a host")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise SettingsError(f"{name} has a user, a query or a fragment; credentials belong into the Secret")
    if not url.isascii() or not url.isprintable() or " " in url:
        raise SettingsError(f"{name} holds characters that a URL may not have")
    scheme: Literal["http", "https"] = "https" if parts.scheme == "https" else "http"
    return Endpoint(scheme, parts.hostname, port or DEFAULT_PORTS[scheme], parts.path.rstrip("/"))


def find_proxy(settings: Settings, endpoint: Endpoint) -> Endpoint | None:
    """The proxy by which an endpoint is reached, or None for directly. Plain http is never sent to a proxy."""
    if settings.proxy is None or endpoint.scheme == "http":
        return None
    for entry in settings.no_proxy:
        if entry == NO_PROXY_AT_ALL or endpoint.host == entry or endpoint.host.endswith(f".{entry}"):
            return None
    return settings.proxy


def _parse_folder(environment: Mapping[str, str], name: str) -> Path:
    text = environment.get(name, "")
    if not text:
        raise SettingsError(f"{name} is not set")
    if not Path(text).is_absolute():
        raise SettingsError(f"{name} is {text!r}, which is not an absolute path")
    return Path(text)


def _parse_prices(text: str) -> Mapping[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise SettingsError(f"WATCHBILL_PRICES is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise SettingsError("WATCHBILL_PRICES is not a JSON object")
    return value
