"""What every agent pod has in common: the operator's settings for pods, and the names that their parts share.

Owns `PodSettings`, the coordination volume's name, the mount root and the restricted security context. Values only;
`pods`, `claude_pod` and the rules of podTemplates build on them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from watchbill_operator.config import Config

COORDINATION_VOLUME = "coordination"
COORDINATION_CLAIM = "watchbill-coordination"  #: unless the configuration names another
MOUNT_ROOT = "/watchbill"

RESTRICTED_CONTAINER: Mapping[str, Any] = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PodSettings:
    """What the operator's configuration says about pods."""

    namespace: str
    image: str
    broker_image: str = ""  #: empty: that of the agent's container
    claim: str = COORDINATION_CLAIM  #: name of the PersistentVolumeClaim of the coordination volume
    command: tuple[str, ...] = ("python", "-m", "watchbill_agent")
    broker_command: tuple[str, ...] = ("python", "-m", "watchbill_broker")
    log_level: str = "INFO"
    models: Mapping[str, str] = field(default_factory=dict)  #: aliases that go before those of `core.models`
    prices: str = ""  #: JSON: prices by model that go before the broker's own; empty: none
    local_volume: bool = True  #: False: other hosts write to the volume, so that changes are not notified


def build_pod_settings(config: Config) -> PodSettings:
    """The part of the configuration that decides pods."""
    return PodSettings(
        namespace=config.namespace,
        image=config.agent_image,
        broker_image=config.broker_image,
        claim=config.claim,
        log_level=config.log_level,
        models=config.models,
        prices=json.dumps(config.prices, sort_keys=True, separators=(",", ":")) if config.prices else "",
        local_volume=config.local_volume,
    )
