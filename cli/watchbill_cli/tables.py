"""Plain tables and progress for a terminal; the same facts as lines where nobody looks.

Owns how values become text. Writes to the given stream only, and moves the cursor only on a terminal.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TextIO

QUIET_SECONDS = 2.0  #: how long nothing may be said where there is no terminal


def render_table(header: Sequence[str], rows: Iterable[Sequence[str]], width: int | None = None) -> str:
    """Columns padded to their widest cell; the last one is cut at the terminal's width."""
    table = [list(header), *[[" ".join(str(cell).split()) for cell in row] for row in rows]]
    widths = [max(len(row[column]) for row in table) for column in range(len(header))]
    room = width or shutil.get_terminal_size((120, 24)).columns
    lines = ["  ".join(cell.ljust(widths[column]) for column, cell in enumerate(row)).rstrip() for row in table]
    return "\n".join(line if len(line) <= room else line[: room - 1] + "…" for line in lines)


def task_row(task: Mapping[str, Any], seconds: Mapping[str, float]) -> list[str]:
    """Name, phase, agent, seconds by uid, and its result or the reason of its state."""
    status = task.get("status") or {}
    said = status.get("result") or status.get("message") or ""
    took = seconds.get(task["metadata"]["uid"])
    return [
        task["metadata"]["name"],
        status.get("phase", "Pending"),
        status.get("agent", "-"),
        "-" if took is None else f"{took:.2f}",
        said.splitlines()[0] if said else status.get("reason", ""),
    ]


class Progress:
    """One line that changes on a terminal; elsewhere a line whenever its text changed and 2 s have passed."""

    def __init__(self, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._clock = clock
        self._live = self._stream.isatty()
        self._said = ""
        self._said_at = clock()

    def say(self, text: str) -> None:
        """Show where things stand."""
        if text == self._said:
            return
        if self._live:
            room = shutil.get_terminal_size((120, 24)).columns
            self._stream.write(f"\r\x1b[K{text[: room - 1]}")
        elif self._clock() - self._said_at < QUIET_SECONDS:
            return
        else:
            self._stream.write(text + "\n")
        self._said, self._said_at = text, self._clock()
        self._stream.flush()

    def done(self, text: str = "") -> None:
        """End the line; `text` stays."""
        if self._live:
            self._stream.write("\r\x1b[K")
        if text:
            self._stream.write(text + "\n")
        self._stream.flush()
