"""Waiting for a fact instead of sleeping: poll a question until it says yes or the time is over."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_for(question: Callable[[], T], what: str, seconds: float = 30.0, every: float = 0.05) -> T:
    """Ask until the answer is true and return it; fail with `what` when the time is over."""
    until = time.monotonic() + seconds
    while not (answer := question()):
        if time.monotonic() > until:
            raise AssertionError(f"after {seconds:.0f} s still not: {what}")
        time.sleep(every)
    return answer
