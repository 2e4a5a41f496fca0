"""What `runner.claude` adds to an agent pod: the settings of its sessions, and the broker that keeps the credential.

Owns the broker's container, its volumes and the names reserved for them. Pure. Invariant: where the broker is on, no
container but the broker's mounts the credential's Secret, the grants or the ledger, and the agent's sees of the broker
a read-only folder of sockets alone; where it is off, the Secret's keys are environment of the agent's container.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from watchbill_coordination.core.models import MODEL_ALIASES, resolve_model
from watchbill_coordination.core.specs import MODEL_BY_ROLE, AgentName, ReplicaName
from watchbill_operator.pod_settings import COORDINATION_VOLUME, MOUNT_ROOT, RESTRICTED_CONTAINER, PodSettings
from watchbill_operator.pod_users import build_broker_user_id

BROKER_LABEL = "watchbill.dev/broker"  #: on pods that have one: a NetworkPolicy opens the way to the model for these
BROKER = "broker"  #: name of the container, and of the volume with its sockets
CREDENTIALS = "credentials"  #: name of the volume with the Secret
BROKER_TMP = "broker-tmp"
BROKER_VOLUMES = frozenset({BROKER, CREDENTIALS, BROKER_TMP})
DEFAULT_SECRET = "watchbill-credentials"  # noqa: S105  # a name
DEFAULT_MODEL = "sonnet"  #: of roles that bring none
ANTHROPIC = "anthropic"
PART_CHARACTERS = 30_000  #: of one variable; the kernel takes 131,072 bytes, and a character may have four
PROXY_VARIABLES = frozenset({"HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy"})
BROKER_RESOURCES: Mapping[str, Any] = {
    "requests": {"cpu": "10m", "memory": "32Mi"},
    "limits": {"cpu": "1", "memory": "128Mi"},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaudeRunner:
    """An Agent's `runner.claude`."""

    broker: bool = True
    secret: str = DEFAULT_SECRET
    provider: str = ANTHROPIC
    base_url: str = ""
    max_turns: int = 100
    tools: list[str] | None = None
    allowed_tools: list[str] | None = None
    setting_sources: list[str] | None = None


def parse_claude_runner(spec: Mapping[str, Any]) -> ClaudeRunner | None:
    """Read it from an Agent's spec in its API form; None where a command runs the tasks."""
    raw = (spec.get("runner") or {}).get("claude")
    if raw is None:
        return None
    return ClaudeRunner(
        broker=bool(raw.get("broker", True)),
        secret=raw.get("credentialSecret") or DEFAULT_SECRET,
        provider=raw.get("provider") or ANTHROPIC,
        base_url=raw.get("baseURL") or "",
        max_turns=int(raw.get("maxTurns", 100)),
        tools=raw.get("tools"),
        allowed_tools=raw.get("allowedTools"),
        setting_sources=raw.get("settingSources"),
    )


def find_broker_secret(spec: Mapping[str, Any]) -> str:
    """The Secret that nobody but the Agent's broker may see; empty where it has no broker."""
    runner = parse_claude_runner(spec)
    return runner.secret if runner is not None and runner.broker else ""


def build_agent_variables(spec: Mapping[str, Any], runner: ClaudeRunner, settings: PodSettings) -> dict[str, str]:
    """The reserved environment of the agent's container; a text that is long for one variable goes on in the next."""
    aliases = MODEL_ALIASES if runner.provider == ANTHROPIC else {}  # others have ids of their own for the same models
    model = spec.get("model") or MODEL_BY_ROLE.get(spec.get("role") or "", DEFAULT_MODEL)
    document = {
        "model": resolve_model(model, settings.models, aliases),
        "fallbackModel": resolve_model(spec.get("fallbackModel") or "", settings.models, aliases),
        "systemPrompt": spec.get("systemPrompt") or "",
        "maxTurns": runner.max_turns,
        "tools": runner.tools,
        "allowedTools": runner.allowed_tools,
        "settingSources": runner.setting_sources or [],
        "broker": runner.broker,
        "provider": runner.provider,
        "baseURL": "" if runner.broker else runner.base_url,
    }
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    parts = [text[place : place + PART_CHARACTERS] for place in range(0, len(text), PART_CHARACTERS)]
    names = ["WATCHBILL_CLAUDE", *(f"WATCHBILL_CLAUDE_{number}" for number in range(1, len(parts)))]
    sockets = {"WATCHBILL_SOCKETS": f"{MOUNT_ROOT}/{BROKER}"} if runner.broker else {}
    return {"WATCHBILL_RUNNER": "claude", **dict(zip(names, parts, strict=True)), **sockets}


def build_labels(runner: ClaudeRunner) -> dict[str, str]:
    """What tells the pods that have a broker from those that do not."""
    return {BROKER_LABEL: "true"} if runner.broker else {}


def build_agent_sources(runner: ClaudeRunner) -> list[dict[str, Any]]:
    """Where the agent's container has its environment from besides: the credential, if no broker keeps it."""
    return [] if runner.broker else [{"secretRef": {"name": runner.secret, "optional": True}}]


def build_agent_mounts(runner: ClaudeRunner) -> list[dict[str, Any]]:
    """What the agent's container sees of the broker: the folder of its sockets, which it cannot change."""
    mount = {"name": BROKER, "mountPath": f"{MOUNT_ROOT}/{BROKER}", "readOnly": True}
    return [mount] if runner.broker else []


def build_volumes(runner: ClaudeRunner) -> list[dict[str, Any]]:
    """The volumes that the broker brings. Its Secret may come later; files are readable for the broker's uid."""
    if not runner.broker:
        return []
    secret = {"secretName": runner.secret, "optional": True, "defaultMode": 0o444}
    return [
        {"name": BROKER, "emptyDir": {}},
        {"name": CREDENTIALS, "secret": secret},
        {"name": BROKER_TMP, "emptyDir": {"sizeLimit": "16Mi"}},
    ]


def build_brokers(
    agent: Mapping[str, Any], ordinal: int, runner: ClaudeRunner, settings: PodSettings
) -> list[dict[str, Any]]:
    """The broker's container, or none where it is off."""
    if not runner.broker:
        return []
    name = AgentName(agent["metadata"]["name"])
    uid = build_broker_user_id(settings.namespace, name, ordinal)
    variables = _build_broker_variables(agent["spec"], runner, settings)
    return [
        {
            "name": BROKER,
            "image": settings.broker_image or agent["spec"].get("image") or settings.image,
            "command": list(settings.broker_command),
            "env": [{"name": key, "value": value.replace("$", "$$")} for key, value in variables.items()],
            "volumeMounts": _build_broker_mounts(ReplicaName(f"{name}-{ordinal}")),
            "securityContext": {**RESTRICTED_CONTAINER, "runAsUser": uid, "runAsGroup": uid},
            "resources": BROKER_RESOURCES,
            "terminationMessagePolicy": "FallbackToLogsOnError",
        }
    ]


def _build_broker_variables(spec: Mapping[str, Any], runner: ClaudeRunner, settings: PodSettings) -> dict[str, str]:
    """Where its folders are and whom it speaks to; the way out is the Agent's, where that names a proxy."""
    proxies = {item["name"]: item.get("value", "") for item in spec.get("env") or () if item["name"] in PROXY_VARIABLES}
    folders = {"SOCKETS": BROKER, "GRANTS": "grants", "LEDGER": "ledger", "CREDENTIALS": CREDENTIALS}
    return {
        "HOME": "/tmp",  # noqa: S108 - an emptyDir of its own
        "TMPDIR": "/tmp",  # noqa: S108
        **proxies,
        **{f"WATCHBILL_{key}": f"{MOUNT_ROOT}/{folder}" for key, folder in folders.items()},
        "WATCHBILL_PROVIDER": runner.provider,
        "WATCHBILL_UPSTREAM": runner.base_url,
        "WATCHBILL_SECRET_NAME": runner.secret,
        "WATCHBILL_PRICES": settings.prices,
        "WATCHBILL_NOTIFY": "inotify" if settings.local_volume else "poll",
        "WATCHBILL_LOG_LEVEL": settings.log_level,
    }


def _build_broker_mounts(replica: ReplicaName) -> list[dict[str, Any]]:
    own = f"agent-workspaces/{replica}"
    return [
        {"name": BROKER, "mountPath": f"{MOUNT_ROOT}/{BROKER}"},
        {
            "name": COORDINATION_VOLUME,
            "mountPath": f"{MOUNT_ROOT}/grants",
            "subPath": f"{own}/grants",
            "readOnly": True,
        },
        {"name": COORDINATION_VOLUME, "mountPath": f"{MOUNT_ROOT}/ledger", "subPath": f"{own}/ledger"},
        {"name": CREDENTIALS, "mountPath": f"{MOUNT_ROOT}/{CREDENTIALS}", "readOnly": True},
        {"name": BROKER_TMP, "mountPath": "/tmp"},  # noqa: S108 - inside the pod
    ]
