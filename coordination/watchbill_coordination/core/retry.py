"""When a failed attempt is followed by another.

Owns the backoff. Invariant: the delay is a function of the policy, the task and the attempt, so every replay and
every operator gets the same one; its jitter spreads tasks that failed together.
"""

from __future__ import annotations

import hashlib

from watchbill_coordination.core.specs import RetryPolicy, TaskUid

JITTER = 0.2  #: share of the delay, up or down


def build_delay(policy: RetryPolicy, task: TaskUid, *, attempt: int, retries: int) -> float:
    """Seconds until the next attempt: `initial · multiplier^retries`, bounded, then spread by ±20 %."""
    delay = policy.initial_delay_seconds
    for _ in range(retries):
        if delay >= policy.max_delay_seconds or delay <= 0:
            break
        delay *= policy.backoff_multiplier
    return max(0.0, min(delay, policy.max_delay_seconds)) * (1 + JITTER * spread(task, attempt))


def spread(task: TaskUid, attempt: int) -> float:
    """A number in [-1, 1) that looks random and is the same on every replay."""
    digest = hashlib.sha256(f"{task}/{attempt}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**63 - 1
