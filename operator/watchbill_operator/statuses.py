"""From a target of the patch queue to the status that it gets.

Owns which status was sent last, so that a patch that would tell nobody anything is not sent. Reads the committed state
and the observed fleet; builds through the pure status modules. Never talks to the API.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import Any

from watchbill_coordination.core.specs import AgentName, TaskUid
from watchbill_coordination.core.state import AgentState, Phase, State, TaskState
from watchbill_operator.agent_status import AGENT_STATUS_FIELDS, Held, add_held, build_agent_status
from watchbill_operator.api import AGENTS, TASKS
from watchbill_operator.conditions import Finding
from watchbill_operator.fleet import Fleet
from watchbill_operator.patching import Rank, Target
from watchbill_operator.task_status import (
    FENCE_FIELDS,
    TASK_STATUS_FIELDS,
    build_status_patch,
    build_task_status,
    is_same_status,
)

Mark = tuple[str, int]  #: version of the object, seq of the task's newest record


class Statuses:
    """Builds what is sent."""

    def __init__(self, state: State, fleet: Fleet, refused: Callable[[], Mapping[str, Finding]]) -> None:
        self._state = state
        self._fleet = fleet
        self._refused = refused  #: shared context that cannot be had, by path
        self._held: Held | None = None
        self._sent: dict[Target, int] = {}  #: a hash of what people read in it
        self._right: dict[Target, Mark] = {}  #: ended tasks whose status was compared and found right

    def hold(self, trouble: str) -> None:
        """From now on say that new work is held, and why; empty: it is not."""
        self._held = Held(trouble, time.time()) if trouble else None

    def build(self, target: Target) -> Mapping[str, Any] | None:
        """The merge patch's `status` for this object, or None where there is nothing (new) to say."""
        status = self._build_whole(target)
        if status is None:
            self.forget(target)
            return None
        digest = _digest(status)
        if self._sent.get(target) == digest:
            return None
        self._sent[target] = digest
        fields = TASK_STATUS_FIELDS if target.resource is TASKS else AGENT_STATUS_FIELDS
        patch: Mapping[str, Any] = build_status_patch(status, fields)["status"]
        return patch

    def forget(self, target: Target) -> None:
        """It is not known what the object's status is now: send the next one whatever it says."""
        self._sent.pop(target, None)
        self._right.pop(target, None)

    def differs(self, target: Target, body: Mapping[str, Any]) -> bool:
        """Whether the status of an observed object has to be mended.

        That of an ended task is compared once: it stays right while neither the object nor the task changes.
        """
        mark = self._mark(target, body)
        if mark is not None and self._right.get(target) == mark:
            return False
        status = self._build_whole(target)
        if status is None:
            return False
        if not is_same_status(body.get("status") or {}, status):
            self.forget(target)
            return True
        self._sent[target] = _digest(status)
        if mark is not None:
            self._right[target] = mark
        return False

    def _mark(self, target: Target, body: Mapping[str, Any]) -> Mark | None:
        """What an ended task's status is a function of; None where it is one of time or of other objects too."""
        task = self._state.tasks.get(TaskUid(target.uid))
        if task is None or not task.phase.is_terminal:
            return None
        return (str(body["metadata"].get("resourceVersion", "")), task.last_seq)

    def _build_whole(self, target: Target) -> Mapping[str, Any] | None:
        if target.resource is TASKS:
            task = self._state.tasks.get(TaskUid(target.uid))
            if task is None:
                return None
            held = self._held.message if self._held else ""
            return build_task_status(self._state, task, time.time(), self._refused(), held=held)
        name = AgentName(target.name)
        body = self._fleet.observed.agents.get(name)
        if body is None or body["metadata"]["uid"] != target.uid or name not in self._state.agents:
            return None
        pods = [pod for pod in self._fleet.observed.pods.values() if pod.agent == name]
        status = build_agent_status(body, self._state, pods, self._fleet.settings, self._fleet.findings.get(name, ()))
        return status if self._held is None else add_held(status, self._held)


def task_target(task: TaskState) -> Target:
    """The Task object of a task."""
    return Target(TASKS, task.name, task.uid)


def agent_target(agent: AgentState) -> Target:
    """The Agent object of a pool."""
    return Target(AGENTS, agent.name, agent.uid)


def rank_of(task: TaskState) -> Rank:
    """How urgent it is to tell of this task."""
    if task.phase.is_terminal:
        return Rank.ENDED
    return Rank.RUNNING if task.phase is Phase.RUNNING else Rank.WAITING


def _digest(status: Mapping[str, Any]) -> int:
    told = {name: value for name, value in status.items() if name not in FENCE_FIELDS}
    return hash(json.dumps(told, sort_keys=True))
