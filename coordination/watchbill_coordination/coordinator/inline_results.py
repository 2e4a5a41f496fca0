"""Accepted results that follow from the log.

Owns which results were written without a sync because their record holds all of them, and writing them again where a
power cut took them. Invariant: after `restore` every inline result that somebody can ask for lies in shared-context as
it was accepted, but for those that could not be written, each of which the operator's log names. Nothing is synced here
either: what a second power cut takes comes back in the same way. Never touches a result that was copied from an agent's
folder: those were durable before their record.
"""

from __future__ import annotations

import logging

from watchbill_coordination.core.events import Recorded, TaskDeleted, TaskSucceeded
from watchbill_coordination.core.specs import TaskUid
from watchbill_coordination.core.state import State
from watchbill_coordination.storage.layout import Layout
from watchbill_coordination.storage.results import restore_inline_result

_logger = logging.getLogger(__name__)


class InlineResults:
    """Gathered while the log is read; the texts are those of the state, not copies."""

    def __init__(self) -> None:
        self._texts: dict[TaskUid, str] = {}

    def note(self, recorded: Recorded, state: State) -> None:
        """Take a record in; `state` is the one after it."""
        event = recorded.event
        if isinstance(event, TaskSucceeded) and event.inline:
            self._texts[event.task] = event.result
        elif isinstance(event, TaskDeleted) and event.task not in state.outcomes:
            self._texts.pop(event.task, None)

    def restore(self, layout: Layout, state: State) -> int:
        """Write what is missing or not as it was; how many. One that cannot be written waits for another start."""
        restored = 0
        for task, text in self._texts.items():
            if task not in state.tasks and task not in state.outcomes:
                continue
            try:
                restored += restore_inline_result(layout, task, text)
            except OSError as error:
                _logger.error("the result of task %s cannot be restored: %s", task, error)  # noqa: TRY400  # expected
        if restored:
            _logger.warning("%d results were missing and were written again from the log", restored)
        return restored
