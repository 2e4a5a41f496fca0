"""Whether a writer lives.

Owns the answer to "may I touch this log?", as far as it can be given from one host: a writer keeps its epoch's file
locked, and the kernel releases the lock with the process. It serves a clear message to people and `repair`; it is
never what makes the log safe: that is the epoch's work, also where file locks do not reach.
"""

from __future__ import annotations

import fcntl
import os
import socket
from dataclasses import dataclass

from watchbill_coordination.storage.epochs import (
    Holder,
    load_boot_id,
    load_highest_epoch,
    load_holder,
    load_start_time,
)
from watchbill_coordination.storage.faults import WriterAlive
from watchbill_coordination.storage.layout import Layout


@dataclass(frozen=True, slots=True)
class Writer:
    """Who claimed the highest epoch, and whether that process can still write."""

    epoch: int
    holder: Holder | None
    is_alive: bool | None  #: None: it ran on another host, so it cannot be told from here

    def __str__(self) -> str:
        return f"{self.holder or 'an unknown process'}, epoch {self.epoch},"


def load_writer(layout: Layout, *, is_sealed: bool = False) -> Writer | None:
    """Return the writer that came last, None if there never was one.

    `is_sealed` says whether the log ends with LogSealed, by which a writer says that it writes no more.
    """
    epoch = load_highest_epoch(layout)
    if not epoch:
        return None
    holder = load_holder(layout, epoch)
    is_locked = _is_locked(layout, epoch)
    if is_locked:
        return Writer(epoch, holder, True)
    if is_sealed or holder is None:
        return Writer(epoch, holder, False if is_sealed else None)
    if is_locked is False and holder.host == socket.gethostname():
        return Writer(epoch, holder, False)
    return Writer(epoch, holder, is_alive(holder))


def is_alive(holder: Holder) -> bool | None:
    """Whether that process still runs; None where it cannot be told from here, because it ran on another host."""
    if holder.host != socket.gethostname():
        return None
    if holder.boot_id != load_boot_id():
        return False
    return load_start_time(holder.pid) == holder.start_time != 0


def check_no_writer(layout: Layout) -> None:
    """Raise WriterAlive, naming it, if a process that can be seen from here has the log open."""
    writer = load_writer(layout)
    if writer is not None and writer.is_alive:
        raise WriterAlive(f"{layout.orchestration}: {writer} has the log open")


def _is_locked(layout: Layout, epoch: int) -> bool | None:
    """Whether the claim is locked; None where locks do not work."""
    try:
        fd = os.open(layout.epochs / str(epoch), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return None
    finally:
        os.close(fd)
    return False
