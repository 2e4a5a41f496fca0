"""Files that their owner alone may read, written in one step.

Invariant: whoever opens such a file finds the whole old text or the whole new one, and nobody but the owner can open
it, not even while it is being written.
"""

from __future__ import annotations

import os


def write_private(path: str, text: str) -> None:
    """Put `text` at `path` with mode 0600. Raises OSError."""
    beside = f"{path}.{os.getpid()}.new"
    with open(
        os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "w", encoding="utf-8"
    ) as new:
        new.write(text)
    os.replace(beside, path)
