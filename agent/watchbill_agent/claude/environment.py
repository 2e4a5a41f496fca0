"""The environment of Claude Code: what it inherits, and what it never does.

Owns the names of its variables. Invariant: nothing of the agent's environment that steers Claude Code or holds a
credential of a model's provider reaches it by accident; where there is a broker, no credential reaches it at all.
What the pod's own template sets for tools passes, and so do the few settings in TUNABLES. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path

from watchbill_agent.claude.settings import ClaudeSettings

PLACEHOLDER = "watchbill-broker"  #: where a key is expected; the broker drops it and adds the real one
BROKER_URL = "http://broker.internal"  #: any name does: requests go to the socket
STEERING = (
    "ANTHROPIC_", "CLAUDE", "AWS_", "GOOGLE_", "GCLOUD_", "CLOUDSDK_", "CLOUD_ML_", "VERTEX_", "AZURE_",
    "DISABLE_", "ENABLE_", "MCP_", "OTEL_", "BUN_", "NODE_", "MAX_THINKING_TOKENS", "API_TIMEOUT_MS", "BASH_",
    "USE_BUILTIN_RIPGREP", "IS_SANDBOX", "WATCHBILL_CREDENTIAL",
)  # fmt: skip
TUNABLES = frozenset({
    "API_TIMEOUT_MS", "BASH_DEFAULT_TIMEOUT_MS", "BASH_MAX_OUTPUT_LENGTH", "BASH_MAX_TIMEOUT_MS",
    "CLAUDE_BYTE_STREAM_IDLE_TIMEOUT_MS", "CLAUDE_CODE_MAX_OUTPUT_TOKENS", "CLAUDE_CODE_MAX_RETRIES",
    "MAX_THINKING_TOKENS", "MCP_TOOL_TIMEOUT", "NODE_EXTRA_CA_CERTS",
})  # fmt: skip
REGIONS = frozenset({"AWS_REGION", "AWS_DEFAULT_REGION", "CLOUD_ML_REGION", "ANTHROPIC_VERTEX_PROJECT_ID"})
PROVIDER_PREFIXES = ("ANTHROPIC_", "AWS_", "GOOGLE_", "GCLOUD_", "CLOUDSDK_", "CLOUD_ML_", "VERTEX_")
CREDENTIALS = frozenset({"CLAUDE_CODE_OAUTH_TOKEN"})
LOOPBACK = "127.0.0.1,localhost"
KEPT_BY_THE_AGENT = frozenset({"PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "PYTHONPATH", "SSL_CERT_FILE"})

QUIET: Mapping[str, str] = {
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "DISABLE_AUTOUPDATER": "1",
    "DISABLE_TELEMETRY": "1",
    "DISABLE_ERROR_REPORTING": "1",
}
DEFAULTS: Mapping[str, str] = {
    "CLAUDE_CODE_MAX_RETRIES": "2",  # blips; long waits are the scheduler's
    "API_TIMEOUT_MS": "120000",  # for the headers of an answer
    "CLAUDE_ENABLE_BYTE_WATCHDOG": "1",
    "CLAUDE_BYTE_STREAM_IDLE_TIMEOUT_MS": "60000",  # a stream that stalls
    "CLAUDE_CODE_DISABLE_BACKGROUND_TASKS": "1",  # else one prompt can have two results
    "CLAUDE_CODE_DISABLE_AUTO_MEMORY": "1",
    "ENABLE_TOOL_SEARCH": "false",  # else our own tools are not in the request
    "MCP_TOOL_TIMEOUT": "120000",
}
PROVIDER_PATH: Mapping[str, str] = {"vertex": "/v1"}  #: that its base URL ends with
PROVIDER_SWITCH: Mapping[str, tuple[str, str, str]] = {  # switch, base URL, "the broker signs"
    "bedrock": ("CLAUDE_CODE_USE_BEDROCK", "ANTHROPIC_BEDROCK_BASE_URL", "CLAUDE_CODE_SKIP_BEDROCK_AUTH"),
    "vertex": ("CLAUDE_CODE_USE_VERTEX", "ANTHROPIC_VERTEX_BASE_URL", "CLAUDE_CODE_SKIP_VERTEX_AUTH"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Homes:
    """The folders of an attempt's Claude Code, and of its user."""

    config: Path
    home: Path
    temporary: Path


def build_cli_environment(
    inherited: Mapping[str, str], settings: ClaudeSettings, homes: Homes, *, socket: str
) -> dict[str, str]:
    """Return the whole environment of Claude Code. `socket` is the broker's; empty without one."""
    environment = {name: value for name, value in inherited.items() if not name.startswith(STEERING)}
    environment |= DEFAULTS
    environment |= {name: value for name, value in inherited.items() if _passes(name, settings)}
    environment |= QUIET
    environment |= _reach_model(settings, socket)
    environment["NO_PROXY"] = environment["no_proxy"] = _extend_no_proxy(inherited)
    return environment | {
        "CLAUDE_CONFIG_DIR": str(homes.config),
        "HOME": str(homes.home),
        "TMPDIR": str(homes.temporary),
    }


def forget_environment(environment: MutableMapping[str, str]) -> None:
    """Empty the agent's own environment but for what it needs: the SDK hands it on to Claude Code."""
    for name in [name for name in environment if name not in KEPT_BY_THE_AGENT]:
        del environment[name]


def _passes(name: str, settings: ClaudeSettings) -> bool:
    """Whether a variable that steers Claude Code is the user's to set."""
    if name in TUNABLES:
        return True
    if settings.broker:
        return settings.provider != "anthropic" and name in REGIONS
    return name in CREDENTIALS or name.startswith(PROVIDER_PREFIXES)


def _reach_model(settings: ClaudeSettings, socket: str) -> dict[str, str]:
    """Return the variables that say where the model's API is."""
    address = BROKER_URL + PROVIDER_PATH.get(settings.provider, "") if settings.broker else settings.base_url
    names = PROVIDER_SWITCH.get(settings.provider)
    reach = {} if names is None else {names[0]: "1"}
    if address:
        reach["ANTHROPIC_BASE_URL" if names is None else names[1]] = address
    if settings.broker:
        reach |= {"ANTHROPIC_UNIX_SOCKET": socket, "ANTHROPIC_API_KEY": PLACEHOLDER}
        reach |= {} if names is None else {names[2]: "1"}
    return reach


def _extend_no_proxy(inherited: Mapping[str, str]) -> str:
    known = inherited.get("NO_PROXY") or inherited.get("no_proxy") or ""
    return f"{known},{LOOPBACK}" if known else LOOPBACK
