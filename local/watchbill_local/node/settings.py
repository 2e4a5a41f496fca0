"""What a node is told at its start, and the parts that its pods share.

Owns no behaviour. Invariant: nothing here changes once the node runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from watchbill_local.node.api import ApiClient
from watchbill_local.node.events import EventRecorder
from watchbill_local.node.isolation import DEFAULT_IMAGES
from watchbill_local.node.launch import Level
from watchbill_local.node.processes import Launcher


@dataclass(frozen=True, slots=True)
class Settings:
    """The command line, in types."""

    data: Path  #: the node's directory: pods, volumes
    kubeconfig: Path
    name: str = "watchbill-local"
    isolation: str = "auto"
    volumes: Mapping[str, Path] = field(default_factory=dict)  #: claim name to directory
    images: Mapping[str, str] = field(default_factory=lambda: dict(DEFAULT_IMAGES))
    readable: tuple[Path, ...] = ()  #: further host directories that containers may read
    fast: bool = False  #: at SIGTERM, containers get at most FAST_SECONDS
    backoff: float = 10.0  #: seconds before a container's second restart; doubles up to 300
    address: str = "127.0.0.1"
    port: int = 0  #: of the kubelet endpoint; 0 takes a free one
    certificate: tuple[Path, Path] | None = None  #: certificate and key of the kubelet endpoint; None serves plain HTTP


@dataclass(frozen=True, slots=True)
class Shared:
    """What every pod of a running node uses."""

    settings: Settings
    level: Level
    api: ApiClient
    launcher: Launcher
    events: EventRecorder
    probing: aiohttp.ClientSession  #: apart from the API's: it carries no credentials
    cookie: str
