"""Space kept for the last records of a full volume.

Owns `orchestration/.reserve`: 4 MiB that are allocated while there is room and given back when there is none, so that
running work can still be recorded as ended. A volume that cannot allocate simply has no reserve.
"""

from __future__ import annotations

import contextlib
import logging
import os
from pathlib import Path

from watchbill_coordination.storage.layout import Layout

RESERVE = 4 << 20  #: bytes

_logger = logging.getLogger(__name__)


def reserve_path(layout: Layout) -> Path:
    """Return where it lies."""
    return layout.orchestration / ".reserve"


def make_reserve(layout: Layout) -> bool:
    """Allocate the reserve if it is missing; whether it is there afterwards."""
    path = reserve_path(layout)
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if os.fstat(fd).st_size < RESERVE:
                os.posix_fallocate(fd, 0, RESERVE)
        finally:
            os.close(fd)
    except OSError as error:
        _logger.warning("%s: no space is held in reserve: %s", path, error.strerror)
        release_reserve(layout)
        return False
    return True


def release_reserve(layout: Layout) -> bool:
    """Give the space back; whether there was any."""
    with contextlib.suppress(OSError):
        os.unlink(reserve_path(layout))
        return True
    return False
