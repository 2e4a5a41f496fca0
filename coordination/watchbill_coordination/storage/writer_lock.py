"""Whether a writer is there, told within one host.

Owns `writer.lock`. The lock gives a clear message to a second process on the same host and is released by the kernel
with the process that holds it. It is never what makes the log safe: that is the epoch's work, also where file locks
are not supported or do not reach other hosts.
"""

from __future__ import annotations

import fcntl
import logging
import os
from dataclasses import dataclass

from watchbill_coordination.storage.epochs import Holder, is_alive, load_highest_epoch, load_holder
from watchbill_coordination.storage.faults import WriterAlive
from watchbill_coordination.storage.layout import Layout

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Writer:
    """Who claimed the highest epoch, and whether that process can still write."""

    epoch: int
    holder: Holder | None
    is_alive: bool | None  #: None: it ran on another host, so it cannot be told from here

    def __str__(self) -> str:
        return f"epoch {self.epoch}, {self.holder or 'an unknown process'}"


def load_writer(layout: Layout, *, is_sealed: bool) -> Writer | None:
    """Return the writer that came last, None if there never was one.

    `is_sealed` says whether the log ends with LogSealed, by which a writer says that it writes no more.
    """
    epoch = load_highest_epoch(layout)
    if not epoch:
        return None
    holder = load_holder(layout, epoch)
    if _is_locked(layout):
        return Writer(epoch, holder, True)
    if is_sealed:
        return Writer(epoch, holder, False)
    return Writer(epoch, holder, None if holder is None else is_alive(holder))


def acquire_lock(layout: Layout, *, is_exclusive: bool) -> int:
    """Take the lock and return its descriptor. If another process has it: go on without, or raise WriterAlive."""
    fd = os.open(lock_path(layout), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = load_holder(layout, load_highest_epoch(layout))
        if is_exclusive:
            os.close(fd)
            raise WriterAlive(f"{layout.orchestration}: {holder or 'another process'} has the log open") from error
        _logger.warning("%s: %s has the log open, and is deposed", layout.orchestration, holder)
    except OSError as error:
        _logger.debug("%s: no file locks here: %s", layout.orchestration, error.strerror)
    return fd


def lock_path(layout: Layout) -> str:
    """Return where the lock lies."""
    return os.fspath(layout.orchestration / "writer.lock")


def _is_locked(layout: Layout) -> bool:
    try:
        fd = os.open(lock_path(layout), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(fd)
    return False
