"""What the loop needs of whatever does the work of an attempt.

Owns the protocol that every runner keeps. Invariant of a runner: `run` returns exactly once, with an outcome, and when
it returns nothing of the attempt runs any more; what the program does is never an exception.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from watchbill_agent.exchange import Exchange
from watchbill_agent.outcome import Outcome
from watchbill_coordination.core.messages import Assign


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """An attempt, ready to begin: its folder is made, its environment complete."""

    assign: Assign  #: what the operator asked for
    exchange: Exchange  #: how the attempt asks the operator while it works
    directory: Path  #: working directory, fresh
    context: Path  #: shared-context, read-only
    stdin: Path | None  #: file to read from; None: nothing to read
    command: Mapping[str, Any]  #: args | shell
    environment: Mapping[str, str]
    timeout_seconds: float
    grace_seconds: float  #: between the polite request to stop and the end


class StopRequest:
    """Asks a running attempt to end. The first reason counts."""

    def __init__(self) -> None:
        self._asked = asyncio.Event()
        self.reason = ""

    def ask(self, reason: str) -> None:
        """Ask for the end of the attempt; asking again changes nothing."""
        if not self._asked.is_set():
            self.reason = reason
            self._asked.set()

    async def wait(self) -> str:
        """Wait until somebody asks; return the reason."""
        await self._asked.wait()
        return self.reason


class Runner(Protocol):
    """Does the work of one attempt."""

    async def run(self, order: Order, stop: StopRequest) -> Outcome:
        """Run the attempt to its end, which comes at the latest `grace_seconds` after its deadline or `stop`."""
        ...
