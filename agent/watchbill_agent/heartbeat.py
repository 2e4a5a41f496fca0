"""The sign of life.

Owns state/heartbeat.json. It is neither an event nor part of any projection: a reader compares the counter with what it
saw before, never the time with its own clock. Replaced whole, never synced.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from pathlib import Path

from watchbill_coordination.storage.atomic import write_atomic
from watchbill_coordination.storage.layout import HEARTBEAT

INTERVAL_SECONDS = 5.0


class Heartbeat:
    """Writes the sign of life of one incarnation."""

    def __init__(self, state: Path, incarnation: str) -> None:
        self._path = state / HEARTBEAT
        self._incarnation = incarnation
        self._counter = 0

    def beat(self, running: Iterable[str]) -> None:
        """Write the next one; `running` are `<task uid>/<attempt>`. Raises OSError."""
        self._counter += 1
        value = {
            "incarnation": self._incarnation,
            "counter": self._counter,
            "time": round(time.time(), 3),
            "running": sorted(running),
        }
        write_atomic(self._path, json.dumps(value).encode() + b"\n", sync=False)
