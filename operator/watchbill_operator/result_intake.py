"""Taking over the results of attempts that succeeded.

Owns the step from an agent's work folder, or an inline text, to shared-context/results/<uid>/. Invariants: a result
lies there, durable or inline, before its command is handed on; it gets its name only while its attempt is current and
nobody else leads. Nothing is awaited between that look and the rename, so that the result of an attempt that was lost
does not replace an accepted one; what a process can still do that is paused just there is told at `publish_result`.
Never changes the state.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar, TypeVarTuple

from watchbill_coordination.core.commands import FinishAttempt
from watchbill_coordination.core.state import State
from watchbill_coordination.storage.layout import Layout
from watchbill_coordination.storage.results import (
    ResultCopied,
    ResultRefused,
    copy_inline_result,
    copy_result,
    discard_result,
    publish_result,
    sync_results,
)
from watchbill_operator.mail import accept_result

COPIES = 8  #: results copied at once

Given = TypeVarTuple("Given")
Answer = TypeVar("Answer")


class DeposedError(Exception):
    """Another process leads: what is in the outbox is for that one to deal with."""


class ResultIntake:
    """Takes results over. `is_deposed` looks up whether another process leads by now; it may raise OSError."""

    def __init__(self, layout: Layout, state: State, is_deposed: Callable[[], bool]) -> None:
        self._layout = layout
        self._state = state
        self._is_deposed = is_deposed
        self._copiers = ThreadPoolExecutor(COPIES, thread_name_prefix="results")

    def is_winner(self, command: FinishAttempt) -> bool:
        """Whether this is a success of the attempt that is current: only that one's result is taken.

        An attempt that is not current once never is again.
        """
        task = self._state.tasks.get(command.task)
        return (
            command.outcome == "Succeeded"
            and task is not None
            and not task.phase.is_terminal
            and (task.agent, task.attempt, task.incarnation) == (command.agent, command.attempt, command.incarnation)
        )

    async def take(self, command: FinishAttempt) -> FinishAttempt:
        """The command with what was taken over, or as a failure where the result is not acceptable.

        Raises OSError when it could not be copied for our own reasons, DeposedError when it is not ours to take.
        """
        copied = await self._copy(command)
        if isinstance(copied, ResultRefused):
            return accept_result(command, copied)
        if not self.is_winner(command):  # lost while its result was copied: the rules refuse it
            await self._run(discard_result, copied)
            return command
        try:  # nothing is awaited from the look at the state to the rename
            has_replaced = publish_result(self._layout, command.task, copied, self._check_fence)
        except (OSError, DeposedError):
            await self._run(discard_result, copied)
            raise
        if has_replaced:
            await self._run(discard_result, copied)
        if not command.inline:
            await self._run(sync_results, self._layout)
        return accept_result(command, copied)

    def shut(self) -> None:
        """Stop copying."""
        self._copiers.shutdown(wait=False, cancel_futures=True)

    async def _copy(self, command: FinishAttempt) -> ResultCopied | ResultRefused:
        """The attempt's result under a hidden name. Raises OSError."""
        if command.inline:  # the record will hold all of it: no walk, no sync, no thread
            return copy_inline_result(self._layout, command.task, command.attempt, command.result)
        return await self._run(copy_result, self._layout, command.agent, command.task, command.attempt)

    async def _run(self, work: Callable[[*Given], Answer], *given: *Given) -> Answer:
        """Do this in a thread: a slow volume does not hold the loop."""
        return await asyncio.get_running_loop().run_in_executor(self._copiers, work, *given)

    def _check_fence(self) -> None:
        """Raise DeposedError where another process leads; OSError where that cannot be told."""
        if self._is_deposed():
            raise DeposedError
