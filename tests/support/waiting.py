"""Waiting for a fact instead of sleeping: poll a question until it says yes or the time is over."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

PATIENCE_SECONDS = 90.0  #: what a slow machine may take for anything that happens; each test has two minutes


def wait_for(question: Callable[[], T], what: str, seconds: float = PATIENCE_SECONDS, every: float = 0.05) -> T:
    """Ask until the answer is true and return it; fail with `what` when the time is over."""
    until = time.monotonic() + seconds
    while not (answer := question()):
        if time.monotonic() > until:
            raise AssertionError(f"after {seconds:.0f} s still not: {what}")
        time.sleep(every)
    return answer
