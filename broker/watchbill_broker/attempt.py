"""What the broker knows of one attempt, and tells it.

Owns the answer to `GET /watchbill/usage`: what was used, how the last request ended and why the broker refused, so
that the runner can tell a spent budget from a rate limit. Invariant: nothing in it comes from a header or a body other
than numbers. Never speaks to the network.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from watchbill_broker.account import Account
from watchbill_broker.answers import Answer, Refused
from watchbill_broker.grants import Grant
from watchbill_broker.headers import Fields
from watchbill_broker.retry_after import find_retry_after

USAGE_PATH = b"/watchbill/usage"


class Attempt:
    """One attempt that may use the model."""

    def __init__(self, grant: Grant, ledger: Path) -> None:
        """Continue the attempt's ledger."""
        self.name = grant.name
        self.account = Account(grant, ledger)
        self._last_status: int | None = None
        self._retry_until: float | None = None
        self._refused: Refused = ""

    def note_answer(self, status: int, fields: Fields) -> None:
        """Remember how the model's API answered."""
        self._last_status, self._refused = status, ""
        seconds = find_retry_after(status, fields, time.time())
        self._retry_until = None if seconds is None else time.monotonic() + seconds

    def note_refusal(self, answer: Answer) -> None:
        """Remember what the broker answered instead."""
        self._last_status, self._refused, self._retry_until = answer.status, answer.refused, None

    def describe_usage(self) -> Answer:
        """The answer to `GET /watchbill/usage`."""
        wait = None if self._retry_until is None else max(0.0, round(self._retry_until - time.monotonic(), 3))
        body: dict[str, Any] = {
            **self.account.sums.to_json(),
            "budgetUSD": self.account.budget,
            "lastStatus": self._last_status,
            "retryAfterSeconds": wait,
            "refused": self._refused,
        }
        return Answer(200, body)
