"""Who may write: the fence on the volume.

Owns `epochs/`: one file a claim, named by a number, created by link(2), which fails if the name is there. Invariant:
each number has one owner for ever, and the highest number is the writer. A writer looks for a higher number after
each sync and before it acknowledges; a claimant claims first and reads the log afterwards; so whatever was
acknowledged is read by the successor. No clock is involved. Never decides who should lead: that is the Lease's work.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path

from watchbill_coordination.storage.atomic import make_directories, sync_directory, write_all
from watchbill_coordination.storage.faults import Fenced, StorageFault
from watchbill_coordination.storage.layout import Layout

MAX_CLAIMS = 16  #: tries against other claimants before giving up
KEPT_EPOCHS = 64  #: older claims are removed; the fence needs the highest alone


@dataclass(frozen=True, slots=True)
class Holder:
    """A process that claimed an epoch, told so that a person or a successor can find out whether it lives."""

    name: str
    host: str = ""
    boot_id: str = ""
    pid: int = 0
    start_time: int = 0  #: clock ticks after boot, from /proc/<pid>/stat
    pod_uid: str = ""

    def __str__(self) -> str:
        return f"{self.name} (process {self.pid} on {self.host})"


def load_own_holder(name: str, pod_uid: str = "") -> Holder:
    """Describe this process."""
    pid = os.getpid()
    return Holder(name, socket.gethostname(), load_boot_id(), pid, load_start_time(pid), pod_uid)


def load_highest_epoch(layout: Layout) -> int:
    """Return the highest claimed number, 0 if there is none. Raises OSError."""
    try:
        return max((int(name) for name in os.listdir(layout.epochs) if name.isdecimal()), default=0)
    except FileNotFoundError:
        return 0


def load_holder(layout: Layout, epoch: int) -> Holder | None:
    """Read who claimed that epoch; None where the file is missing or unreadable."""
    try:
        members = json.loads((layout.epochs / str(epoch)).read_bytes())
        return Holder(**{name: members[name] for name in Holder.__slots__ if name in members})
    except (OSError, ValueError, TypeError):
        return None


def load_boot_id() -> str:
    """Return the id of the kernel's present life; empty where it cannot be read."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def load_start_time(pid: int) -> int:
    """Return when a process began, in clock ticks after boot; 0 if there is none of that number."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0
    return int(stat.rpartition(")")[2].split()[19])


@dataclass(frozen=True, slots=True)
class Claim:
    """An epoch of ours. Its file stays locked until `release`, so that others on this host can see that we live."""

    epoch: int
    fd: int

    def release(self) -> None:
        """Let the lock go. The epoch stays ours for ever."""
        os.close(self.fd)


def acquire_epoch(layout: Layout, holder: Holder, floor: int = 0) -> Claim:
    """Claim max(highest on the volume, floor) + 1; durable when it returns.

    `floor` is the highest epoch known from elsewhere (Lease, status of objects). Raises Fenced if others were faster
    MAX_CLAIMS times, StorageFault where the volume refuses hard links.
    """
    make_directories(layout.epochs)
    claim = layout.epochs / f".claim-{uuid.uuid4().hex}"
    with contextlib.ExitStack() as stack:
        fd = _write_claim(claim, json.dumps(asdict(holder), sort_keys=True).encode() + b"\n")
        unlocking = stack.enter_context(contextlib.ExitStack())
        unlocking.callback(os.close, fd)
        stack.callback(os.unlink, claim)
        for _ in range(MAX_CLAIMS):
            epoch = max(load_highest_epoch(layout), floor) + 1
            if _link_claim(claim, layout.epochs / str(epoch)):
                sync_directory(layout.epochs)
                _remove_old(layout, epoch)
                unlocking.pop_all()
                return Claim(epoch, fd)
        raise Fenced(f"{layout.epochs}: other processes claimed {MAX_CLAIMS} epochs meanwhile")


def check_fence(layout: Layout, epoch: int) -> None:
    """Look up whether `epoch` is still the highest. Raises Fenced, naming the holder of a higher one."""
    highest = load_highest_epoch(layout)
    if highest > epoch:
        holder = load_holder(layout, highest) or "another process"
        raise Fenced(f"epoch {highest} was claimed by {holder}; ours is {epoch}")
    if highest < epoch:
        raise Fenced(f"{layout.epochs / str(epoch)}: somebody removed our claim, so a successor could not be seen")


def _link_claim(claim: Path, target: Path) -> bool:
    """Whether the number is ours. A lost reply of the server shows as EEXIST with two links of our own file."""
    try:
        os.link(claim, target)
    except FileExistsError:
        return os.stat(claim).st_nlink == 2
    except OSError as error:
        raise StorageFault(
            f"{target}: the volume refuses hard links ({error.strerror}), which the fence needs"
        ) from error
    return True


def _remove_old(layout: Layout, epoch: int) -> None:
    for name in os.listdir(layout.epochs):
        if name.isdecimal() and int(name) <= epoch - KEPT_EPOCHS:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(layout.epochs / name)


def _write_claim(path: Path, content: bytes) -> int:
    """Write and sync the file, lock it where locks are supported, and return its descriptor."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    try:
        write_all(fd, content, 0)
        os.fsync(fd)
    except OSError:
        os.close(fd)
        raise
    with contextlib.suppress(OSError):
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return fd
