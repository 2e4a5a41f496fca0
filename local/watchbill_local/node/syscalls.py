"""The Linux system calls that a container needs and the standard library of Python 3.11 lacks.

Owns the numbers and flags of mount(2), mount_setattr(2), pivot_root(2), unshare(2) and prctl(2), and turns each
failure into an OSError that names the call and its target. Invariant: nothing here decides; a call is made exactly
as asked. Never called by the node's event loop, only by the launcher and what it forks: most of these calls change the
process that makes them.
"""

from __future__ import annotations

import ctypes
import os
import struct

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x20000, 0x4000000, 0x8000000
CLONE_NEWUSER, CLONE_NEWPID = 0x10000000, 0x20000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_BIND, MS_REC, MS_PRIVATE = 1, 2, 4, 8, 0x1000, 0x4000, 0x40000
PR_SET_PDEATHSIG, PR_CAPBSET_DROP, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 1, 24, 36, 38

_MNT_DETACH = 2
_AT_FDCWD, _AT_EMPTY_PATH, _AT_RECURSIVE = -100, 0x1000, 0x8000
_OPEN_TREE_CLONE, _MOVE_MOUNT_F_EMPTY_PATH = 1, 4
_MOUNT_ATTR_RDONLY, _MOUNT_ATTR_NOSUID, _MOUNT_ATTR_NODEV = 1, 2, 4
_NUMBERS = {"open_tree": 428, "move_mount": 429, "mount_setattr": 442}  # the same on every architecture

_libc = ctypes.CDLL(None, use_errno=True)


def unshare(flags: int) -> None:
    """Leave the parent's namespaces that `flags` (CLONE_NEW*) name; a new pid namespace begins with the next fork."""
    _check(_libc.unshare(ctypes.c_int(flags)), "unshare", hex(flags))


def mount(source: str, target: str, *, kind: str = "", flags: int = 0, options: str = "") -> None:
    """Mount `source` at `target`: a file system of `kind`, or with MS_BIND a directory or file."""
    names = (os.fsencode(source), os.fsencode(target), kind.encode() or None)
    _check(_libc.mount(*names, ctypes.c_ulong(flags), options.encode() or None), f"mount {kind or 'bind'}", target)


def clone_mount(source: int) -> int:
    """A copy of the mount tree at the descriptor `source`, attached nowhere; goes away with its descriptor."""
    return _call(
        "open_tree", str(source), source, b"", _OPEN_TREE_CLONE | os.O_CLOEXEC | _AT_EMPTY_PATH | _AT_RECURSIVE
    )


def attach_mount(tree: int, target: str) -> None:
    """Attach a cloned mount tree at `target`."""
    _call("move_mount", target, tree, b"", _AT_FDCWD, os.fsencode(target), _MOVE_MOUNT_F_EMPTY_PATH)


def restrict_mount(target: str, *, read_only: bool, recursive: bool = True) -> None:
    """Forbid set-uid programs and devices below `target`, and with `read_only` every write (Linux 5.12 or later)."""
    wanted = _MOUNT_ATTR_NOSUID | _MOUNT_ATTR_NODEV | (_MOUNT_ATTR_RDONLY if read_only else 0)
    attributes = struct.pack("QQQQ", wanted, 0, 0, 0)  # struct mount_attr: set, clear, propagation, user namespace
    flags = _AT_RECURSIVE if recursive else 0
    _call("mount_setattr", target, _AT_FDCWD, os.fsencode(target), flags, attributes, len(attributes))


def detach_mount(target: str) -> None:
    """Take the mount at `target` and all below it out of this mount namespace."""
    _check(_libc.umount2(os.fsencode(target), ctypes.c_int(_MNT_DETACH)), "umount", target)


def pivot_root(new_root: str, old_root: str) -> None:
    """Make `new_root` the root directory and put the old one at `old_root`, a directory below it."""
    _check(_libc.pivot_root(os.fsencode(new_root), os.fsencode(old_root)), "pivot_root", new_root)


def control_process(option: int, value: int) -> None:
    """prctl(2) with one argument, for the PR_* options above."""
    zero = ctypes.c_ulong(0)
    _check(_libc.prctl(ctypes.c_int(option), ctypes.c_ulong(value), zero, zero, zero), "prctl", str(option))


def name_host(name: str) -> None:
    """Set the host name of this UTS namespace."""
    _check(_libc.sethostname(name.encode(), ctypes.c_size_t(len(name.encode()))), "sethostname", name)


def _call(name: str, target: str, *arguments: int | bytes) -> int:
    """A system call without a wrapper in every C library."""
    words = [ctypes.c_long(word) if isinstance(word, int) else ctypes.c_char_p(word) for word in arguments]
    return _check(_libc.syscall(ctypes.c_long(_NUMBERS[name]), *words), name, target)


def _check(result: int, call: str, target: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{call}: {os.strerror(number)}", target)
    return result
