"""What can go wrong with the volume, sorted by what the caller should do about it.

Owns the exceptions of storage. Each message is one sentence for a person, with file, offset and seq where there are
any; each class is one course of action. Expected refusals are values, never exceptions.
"""

from __future__ import annotations

from pathlib import Path


class StorageFault(Exception):
    """Anything below that keeps the log from being used."""


class Fenced(StorageFault):
    """Another writer claimed a higher epoch: what was staged is not committed. Stop; do not restart as leader."""


class LogPoisoned(StorageFault):
    """A write or sync failed, and the kernel may have dropped pages. Exit, restart, recover; never sync again."""


class VolumeFull(StorageFault):
    """No space before the sync: the batch is kept in memory. Hold new work, and commit again later."""


class WriterAlive(StorageFault):
    """A process on this host has the log open. Leave it alone, or stop it first."""


class LogCorrupt(StorageFault):
    """Bytes of the log are wrong or gone. Stop, write nothing; `repair` decides."""

    def __init__(self, reason: str, *, file: Path, offset: int = 0, seq: int = 0) -> None:
        super().__init__(f"{file}: offset {offset}, seq {seq}: {reason}")
        self.reason = reason
        self.file = file
        self.offset = offset  #: bytes from the start of the file
        self.seq = seq  #: that was expected there


class AcknowledgedLost(LogCorrupt):
    """Records that were acknowledged are gone or damaged at the end of the log."""
