"""What a node is told at its start, and the parts that its pods share.

Owns the command line's meaning. Invariant: nothing here changes once the node runs.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from watchbill_local.node.isolation import DEFAULT_IMAGES
from watchbill_local.node.launch import Level

if TYPE_CHECKING:
    import aiohttp

    from watchbill_local.node.api import ApiClient
    from watchbill_local.node.processes import Launcher
    from watchbill_local.node.reports import EventRecorder


@dataclass(frozen=True, slots=True)
class Settings:
    """The command line, in types."""

    kubeconfig: Path
    data: Path  #: the node's directory: pods, volumes
    name: str
    namespace: str  #: whose pods are run; empty: all
    isolation: str  #: a Level, or auto
    volumes: Mapping[str, Path]  #: claim name to directory
    images: Mapping[str, str]  #: pattern of an image's name to the words before its command
    backoff: float  #: seconds before a container's second restart; doubles up to 300
    address: str = "127.0.0.1"


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


def parse_settings(arguments: list[str] | None) -> Settings:
    """The command line (None: this program's own) as Settings; exits with code 2 on wrong usage."""
    parser = argparse.ArgumentParser(prog="watchbill_local.node", description="Runs pods as processes of this machine.")
    add = parser.add_argument
    add("--kubeconfig", type=_absolute, required=True, help="its current context names server and user")
    add("--data", type=_absolute, required=True, help="directory for pods, logs and volumes")
    add("--name", default="watchbill-local", help="name of the Node object")
    add("--namespace", default="", help="run the pods of this namespace alone, so that several nodes share a server")
    add("--isolation", choices=["auto", *Level], default="auto", help="auto takes the best that works")
    add("--volume", dest="volumes", type=_pair, action="append", default=[], metavar="CLAIM=DIR", help="for a claim")
    add("--image", dest="images", type=_pair, action="append", default=[], metavar="NAME=PROGRAM", help="to run it by")
    add("--backoff", type=float, default=10.0, metavar="SECONDS", help="first pause of a crash loop")
    given = vars(parser.parse_args(arguments))
    volumes = {claim: _absolute(folder) for claim, folder in given.pop("volumes")}
    return Settings(**given | {"volumes": volumes, "images": {**dict(given["images"]), **DEFAULT_IMAGES}})


def _absolute(text: str) -> Path:
    return Path(text).absolute()


def _pair(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not sign:
        raise argparse.ArgumentTypeError(f"not NAME=VALUE: {text}")
    return name, value
