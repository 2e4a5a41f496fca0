"""What the API showed, and what it means.

Owns the step from an object to commands. Invariants: an observation older than what is known of its object yields
nothing, and an object that was seen deleted never comes back; an object that cannot be read yields nothing but a log
line. `Sightings` remembers versions; everything else is pure.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeGuard

from watchbill_coordination.codec.messages import is_task_uid
from watchbill_coordination.core.commands import (
    Command,
    DeclareAgent,
    RemoveAgent,
    RemoveTask,
    SubmitTask,
)
from watchbill_coordination.core.specs import AgentName, TaskUid, parse_agent_spec, parse_task_spec

logger = logging.getLogger(__name__)

#: What code raises on an object of a shape that nobody thought of; such an object must not stop the operator.
MISSHAPEN = (AttributeError, IndexError, KeyError, TypeError, ValueError)
PARENT_UID = "watchbill.dev/parent-uid"  #: annotation of a Task that an attempt asked for
REMEMBERED_DELETIONS = 20_000  #: uids of deleted objects; a late event is seconds old, not so many deletions


@dataclass(frozen=True, slots=True)
class Observation:
    """One object as the API showed it."""

    kind: str  #: Agent, Task, Pod or ConfigMap
    body: Mapping[str, Any]
    deleted: bool = False

    @property
    def name(self) -> str:
        """metadata.name."""
        return str(self.body["metadata"]["name"])

    @property
    def uid(self) -> str:
        """metadata.uid."""
        return str(self.body["metadata"]["uid"])

    @property
    def is_leaving(self) -> bool:
        """Gone, or marked for deletion and kept by somebody's finalizer."""
        return self.deleted or "deletionTimestamp" in self.body["metadata"]


def parse_observation(kind: str, body: Mapping[str, Any], *, deleted: bool = False) -> Observation | None:
    """Make an observation of an object that has what every object has, else None."""
    metadata = body.get("metadata")
    if isinstance(metadata, Mapping) and metadata.get("name") and metadata.get("uid"):
        return Observation(kind, body, deleted)
    logger.warning("a %s without name or uid was left out", kind)
    return None


@dataclass(slots=True)
class Sightings:
    """The newest version seen of each object, and the uids that are gone."""

    versions: dict[str, int] = field(default_factory=dict)  #: uid → resourceVersion
    removed: dict[str, None] = field(default_factory=dict)  #: oldest first

    def admit(self, observation: Observation) -> bool:
        """Whether it is news. An observation of the same version is: acting on it twice changes nothing."""
        uid = observation.uid
        if uid in self.removed:
            return False
        if observation.deleted:
            self.forget(uid)
            return True
        version = parse_version(observation.body["metadata"].get("resourceVersion", ""))
        if version < self.versions.get(uid, 0):
            return False
        self.versions[uid] = version
        return True

    def forget(self, uid: str) -> None:
        """The object is gone for good."""
        self.versions.pop(uid, None)
        self.removed[uid] = None
        if len(self.removed) > REMEMBERED_DELETIONS:
            del self.removed[next(iter(self.removed))]


def parse_version(raw: object) -> int:
    """A resourceVersion as a number; 0, older than all, where a server uses something else."""
    text = str(raw)
    return int(text) if text.isdecimal() else 0


def parse_agent(observation: Observation) -> list[Command]:
    """What an Agent object asks for."""
    name = AgentName(observation.name)
    if observation.is_leaving:
        return [RemoveAgent(agent=name, uid=observation.uid)]
    spec = observation.body.get("spec")
    if not _is_readable(spec, parse_agent_spec):
        logger.error("Agent %s has a spec that cannot be read and is left out", name)
        return []
    return [DeclareAgent(agent=name, uid=observation.uid, generation=_generation(observation), spec=spec)]


def parse_task(observation: Observation) -> list[Command]:
    """What a Task object asks for."""
    uid = TaskUid(observation.uid)
    if observation.is_leaving:
        return [RemoveTask(task=uid)]
    spec = observation.body.get("spec")
    if not _is_readable(spec, parse_task_spec):
        logger.error("Task %s has a spec that cannot be read and is left out", observation.name)
        return []
    parent = parse_parent(observation)
    return [SubmitTask(task=uid, name=observation.name, spec=spec, generation=_generation(observation), parent=parent)]


def parse_parent(observation: Observation) -> str:
    """Uid of the Task whose attempt asked for this one, by its annotation; empty: a user's."""
    annotations = observation.body["metadata"].get("annotations")
    uid = annotations.get(PARENT_UID) if isinstance(annotations, Mapping) else None
    return uid if isinstance(uid, str) and is_task_uid(uid) else ""


def _is_readable(spec: Any, parse: Callable[[Mapping[str, Any]], object]) -> TypeGuard[Mapping[str, Any]]:
    """Whether the core can read it. The schema sees to that; what got past it must not stop the operator."""
    if not isinstance(spec, Mapping):
        return False
    try:
        parse(spec)
    except MISSHAPEN:
        return False
    return True


def _generation(observation: Observation) -> int:
    generation = observation.body["metadata"].get("generation", 1)
    return generation if isinstance(generation, int) else 1
