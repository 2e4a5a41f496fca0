"""What the operator is told at its start: one value, read once, checked at once.

Owns the names of environment variables and of the members of the configuration file. Invariant: a `Config` that
exists is usable; whatever is wrong is a `ConfigError` with one sentence that names the variable, or the file with
line and column. Nobody else in this package reads the environment.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError

from watchbill_operator.config_error import ConfigError as ConfigError  # for those who read configurations
from watchbill_operator.model_tables import TABLES, parse_table

SERVICE_ACCOUNT_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
OBJECT_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Settings of one operator process. Each member can stand in the file; the environment goes before it."""

    root: Path  #: the coordination volume
    namespace: str = "default"  #: the one that is served
    kubeconfig: Path | None = None  #: None: in-cluster service account
    pod_name: str = ""
    pod_uid: str = ""  #: empty outside a cluster
    http_host: str = "127.0.0.1"  #: where /healthz, /readyz and /metrics listen
    http_port: int = 0  #: 0: any free one, told in the status file
    status_file: Path | None = None  #: JSON for whoever started this process: pid, address, epoch
    agent_image: str = "watchbill:latest"  #: for Agents that name none
    broker_image: str = ""  #: of the container that keeps the credential; empty: that of the agent's container
    claim: str = "watchbill-coordination"  #: the PersistentVolumeClaim of the coordination volume, which agents mount
    log_level: str = "INFO"
    reconcile_seconds: float = 60.0  #: between full comparisons of log and API
    lease_seconds: float = 15.0  #: a leader that did not renew for so long is replaced
    local_volume: bool = True  #: False: other hosts write to the volume too, so outboxes are polled
    require_restricted: bool = False  #: wait until the namespace enforces the restricted Pod Security standard
    models: Mapping[str, str] = field(default_factory=dict)  #: alias → id, before the built-in ones
    prices: Mapping[str, Mapping[str, float]] = field(default_factory=dict)  #: model → USD per million tokens by kind


ENVIRONMENT: Mapping[str, str] = {
    "WATCHBILL_ROOT": "root",
    "WATCHBILL_NAMESPACE": "namespace",
    "KUBECONFIG": "kubeconfig",
    "WATCHBILL_POD_NAME": "pod_name",
    "WATCHBILL_POD_UID": "pod_uid",
    "WATCHBILL_STATUS_FILE": "status_file",
    "WATCHBILL_AGENT_IMAGE": "agent_image",
    "WATCHBILL_BROKER_IMAGE": "broker_image",
    "WATCHBILL_CLAIM": "claim",
    "WATCHBILL_LOG_LEVEL": "log_level",
    "WATCHBILL_RECONCILE_SECONDS": "reconcile_seconds",
    "WATCHBILL_LEASE_SECONDS": "lease_seconds",
    "WATCHBILL_LOCAL_VOLUME": "local_volume",
    "WATCHBILL_REQUIRE_RESTRICTED": "require_restricted",
}


def parse_config(environ: Mapping[str, str], text: str = "", source: str = "") -> Config:
    """Build the settings from the environment and the text of a configuration file called `source`.

    Raises:
        ConfigError: a member is unknown, a value is not of its kind, or the root is missing.
    """
    values = _parse_file(text, source) if text.strip() else {}
    for variable, member in ENVIRONMENT.items():
        if raw := environ.get(variable, ""):
            values[member] = _parse_value(member, raw, variable)
    if http := environ.get("WATCHBILL_HTTP", ""):
        values |= _parse_address(http)
    if "root" not in values:
        raise ConfigError("set WATCHBILL_ROOT to the directory of the coordination volume")
    return Config(**values)


def load_config(environ: Mapping[str, str], path: Path | None) -> Config:
    """Read the file, if one is named, and the namespace of the service account where nothing else names one.

    Raises:
        ConfigError: the file cannot be read, or what `parse_config` raises.
    """
    try:
        text = path.read_text(encoding="utf-8") if path else ""
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the configuration file {path}: {error}") from error
    if "WATCHBILL_NAMESPACE" not in environ and SERVICE_ACCOUNT_NAMESPACE.is_file():
        environ = {**environ, "WATCHBILL_NAMESPACE": SERVICE_ACCOUNT_NAMESPACE.read_text(encoding="utf-8").strip()}
    return parse_config(environ, text, str(path))


def _parse_file(text: str, source: str) -> dict[str, Any]:
    """Members of a YAML mapping, each of its kind; errors name line and column, counted from 1."""
    try:
        document = YAML(typ="rt").load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark
        place = f"{source}:{mark.line + 1}:{mark.column + 1}" if mark else source
        raise ConfigError(f"{place}: {error.problem or 'not YAML'}") from error
    if not isinstance(document, dict):
        raise ConfigError(f"{source}:1:1: a mapping is wanted")
    values = {}
    known = {each.name for each in fields(Config)}
    for member, value in document.items():
        line, column = document.lc.key(member)  # type: ignore[attr-defined]  # ruamel's CommentedMap, untyped
        place = f"{source}:{line + 1}:{column + 1}: {member}"
        if member not in known:
            raise ConfigError(f"{place} is not a setting; there are {', '.join(sorted(known))}")
        if member in TABLES:
            values[member] = parse_table(member, value, source, place)
        else:
            values[member] = _parse_value(member, value, place)
    return values


def _parse_value(member: str, raw: object, place: str) -> Any:
    """One value of the kind that its member wants."""
    try:
        return PARSERS.get(member, _parse_text)(raw)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{place}: {error}") from error


def _parse_address(raw: str) -> dict[str, Any]:
    host, colon, port = raw.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535:
        raise ConfigError(f"WATCHBILL_HTTP: {raw!r} is not HOST:PORT")
    return {"http_host": host.strip("[]") or "127.0.0.1", "http_port": int(port)}


def _parse_text(raw: object) -> str:
    if not isinstance(raw, str) or not raw:
        raise ValueError(f"{raw!r} is not a text")
    return raw


def _parse_claim(raw: object) -> str:
    text = _parse_text(raw)
    if len(text) > 253 or not OBJECT_NAME.fullmatch(text):
        raise ValueError(f"{text!r} is not the name of a claim: small letters, digits, dots and hyphens")
    return text


def _parse_path(raw: object) -> Path:
    return Path(_parse_text(raw)).absolute()


def _parse_port(raw: object) -> int:
    if isinstance(raw, bool) or not isinstance(raw, int) or not 0 <= raw <= 65535:
        raise ValueError(f"{raw!r} is not a port")
    return raw


def _parse_seconds(raw: object) -> float:
    seconds = float(raw) if isinstance(raw, int | float | str) else 0.0
    if not 0 < seconds <= 86400:
        raise ValueError(f"{raw!r} is not a number of seconds above 0 and up to a day")
    return seconds


def _parse_flag(raw: object) -> bool:
    if raw in (True, "true", "1"):
        return True
    if raw in (False, "false", "0"):
        return False
    raise ValueError(f"{raw!r} is neither true nor false")


def _parse_level(raw: object) -> str:
    if raw not in LEVELS:
        raise ValueError(f"{raw!r} is not one of {', '.join(LEVELS)}")
    return str(raw)


PARSERS: Mapping[str, Callable[[object], Any]] = {
    "root": _parse_path,
    "claim": _parse_claim,
    "kubeconfig": _parse_path,
    "status_file": _parse_path,
    "http_port": _parse_port,
    "reconcile_seconds": _parse_seconds,
    "lease_seconds": _parse_seconds,
    "local_volume": _parse_flag,
    "require_restricted": _parse_flag,
    "log_level": _parse_level,
}
