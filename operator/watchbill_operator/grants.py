"""Which attempts may use their model now: the one file that a broker obeys.

Owns `grants/grants.json` in the workspaces of replicas that work with a model. Invariants: it follows from committed
state alone and is written before the order to run the attempt is delivered; it is replaced whole; an attempt that ended
or is being stopped does not stand in it. Replicas without a broker cost nothing here. What could not be written is
told, and written by `mend`, which also puts right what somebody changed.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any

from watchbill_coordination.core.specs import ReplicaName
from watchbill_coordination.core.spending import remaining_budget
from watchbill_coordination.core.state import Attempt, ReplicaState, State
from watchbill_coordination.storage.atomic import write_atomic
from watchbill_coordination.storage.hostile import HostileFileError, open_directory, read_regular
from watchbill_coordination.storage.layout import GRANTS, Layout
from watchbill_operator.ledgers import runs_claude

logger = logging.getLogger(__name__)

VERSION = 1
FOLDER = "grants"  #: below a workspace
SIZE_LIMIT = 1024 * 1024  #: bytes that are looked at of what lies there


def plan_grants(state: State, replica: ReplicaState) -> dict[str, Any]:
    """The document for a replica's broker: the attempts that may use the model, each with what it may still spend."""
    granted = [attempt for attempt in replica.attempts.values() if attempt.task in state.tasks and not attempt.stopping]
    return {"v": VERSION, "attempts": [_build_grant(state, attempt) for attempt in granted]}


def _build_grant(state: State, attempt: Attempt) -> dict[str, Any]:
    budget = remaining_budget(state, state.tasks[attempt.task], attempt.attempt)
    return {"task": attempt.task, "attempt": attempt.attempt, "budgetUSD": budget}


def encode_grants(document: Mapping[str, Any]) -> bytes:
    """The document as it lies on the volume."""
    return json.dumps(document, separators=(",", ":")).encode() + b"\n"


class GrantsWriter:
    """Writes what has changed. Called from the event loop, between a commit and what follows from it."""

    def __init__(self, layout: Layout, state: State) -> None:
        self._layout = layout
        self._state = state
        self._written: dict[ReplicaName, bytes] = {}  #: in this life
        self._failed: set[ReplicaName] = set()  #: told already

    def update(self, name: ReplicaName) -> None:
        """Write this replica's grants, if it has a broker and they are not what was written last.

        It has one as well when its Agent was given another runner just now: the pod is the old one for a while.
        """
        replica = self._state.replicas.get(name)
        if replica is None or not (name in self._written or runs_claude(self._state, name)):
            return
        content = encode_grants(plan_grants(self._state, replica))
        if self._written.get(name) != content:
            self._write(name, content)

    def mend(self) -> None:
        """Compare all with what lies there, and write what differs; not for one that does not lead any more."""
        for name in self._written.keys() - self._state.replicas.keys():
            del self._written[name]
        for name, replica in list(self._state.replicas.items()):
            if name not in self._written:
                self.update(name)
                continue
            content = encode_grants(plan_grants(self._state, replica))
            if self._load(name) != content:
                self._write(name, content)

    def _write(self, name: ReplicaName, content: bytes) -> None:
        """Write one file. It is not synced: it follows from the log, and is written again at the next start."""
        try:
            write_atomic(self._layout.workspace(name) / FOLDER / GRANTS, content, sync=False)
        except OSError as error:
            self._written.pop(name, None)
            if name not in self._failed:
                logger.warning("the grants of %s were not written, so that its tasks get no model: %s", name, error)
                self._failed.add(name)
            return
        self._written[name] = content
        self._failed.discard(name)

    def _load(self, name: ReplicaName) -> bytes | None:
        """What lies there; None where nothing does."""
        try:
            with open_directory(self._layout.workspace(name), (FOLDER,)) as folder:
                return read_regular(folder, GRANTS, SIZE_LIMIT)
        except HostileFileError:
            return None
