"""What it takes to start one container: the message from the node to its launcher.

Owns the three isolation levels and the shape of a launch. Values only. Invariant: a Launch is complete; whoever
executes it reads no configuration, no API object and no environment of its own. Both sides of the launcher's socket
import this module, so it imports next to nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How far containers are kept apart, best first."""

    NAMESPACES = "namespaces"
    USER_NAMESPACES = "user-namespaces"
    PROCESSES = "processes"


@dataclass(frozen=True, slots=True)
class Mount:
    """`source` on the host appears at `target` in the container."""

    source: str
    target: str
    read_only: bool = False
    subpath: str = ""  #: below `source`, followed without symbolic links


@dataclass(frozen=True, slots=True)
class Identity:
    """Who the container's processes are. Capabilities are numbers of capability.h that stay in the bounding set."""

    uid: int
    gid: int
    groups: tuple[int, ...] = ()
    capabilities: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Root:
    """The root directory to build for levels with namespaces."""

    scratch: str  #: an empty directory; the new root is mounted on it
    readable: tuple[str, ...] = ()  #: host paths that stay readable at their own place
    links: tuple[tuple[str, str], ...] = ()  #: symbolic links (place, target) that lead to them
    hidden: tuple[str, ...] = ()  #: host paths that are never visible, even below a readable one
    read_only: bool = False
    hostname: str = ""


@dataclass(frozen=True, slots=True)
class Launch:
    """One container, ready to start."""

    argv: tuple[str, ...]
    environment: dict[str, str]
    directory: str
    level: Level
    mounts: tuple[Mount, ...] = ()
    identity: Identity | None = None  #: None: the node's own user, as in plain processes
    root: Root | None = None  #: None exactly where the level is PROCESSES
