"""Space kept for the last records of a full volume.

Owns `orchestration/.reserve`: 4 MiB that are allocated while there is room and given back when there is none, so that
running work can still be recorded as ended. A volume that cannot allocate simply has no reserve.
"""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path

from watchbill_coordination.storage.layout import Layout

RESERVE = 4 << 20  #: bytes

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def reserve_path(layout: Layout) -> Path:
    """Return where it lies."""
    return layout.orchestration / ".reserve"


def try_reserve(layout: Layout) -> OSError | None:
    """Allocate the reserve if it is missing; None if it is there afterwards, else why it is not."""
    path = reserve_path(layout)
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if os.fstat(fd).st_size < RESERVE:
                os.posix_fallocate(fd, 0, RESERVE)
        finally:
            os.close(fd)
    except OSError as error:
        release_reserve(layout)
        return error
    return None


def is_full_error(error: OSError | None) -> bool:
    """Whether it says that there is no space, by volume, quota or limit."""
    return error is not None and error.errno in FULL


def release_reserve(layout: Layout) -> bool:
    """Give the space back; whether there was any."""
    with contextlib.suppress(OSError):
        os.unlink(reserve_path(layout))
        return True
    return False
