"""The root directory of a container in its own mount namespace.

Owns what a container can see: an allow list of host directories (read-only), the Python environment of the node
(read-only, at its own paths even where they lie below a closed home directory), private /proc, /dev and /tmp, and the
volumes at their mount paths. Invariant: everything else of the host, other containers' directories and the node's own
data among it, is not hidden but absent: the old root is unmounted before the first instruction of the container runs.

All but `open_beneath` runs in the container's init process only, as root of the mount namespace. Sources are cloned
before the root changes; they are attached when the host is out of reach, so a symbolic link planted in a volume cannot
lead there. Needs Linux 5.12 or later.
"""

from __future__ import annotations

import contextlib
import os
import stat

from watchbill_local.node import syscalls
from watchbill_local.node.launch import Mount, Root

HOST_DIRECTORIES = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc", "/opt", "/nix", "/gnu", "/sys")
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
DEVICE_LINKS = {"fd": "fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2"}  #: below /proc/self
PROC_READ_ONLY = ("/proc/sys", "/proc/sysrq-trigger", "/proc/irq", "/proc/bus", "/proc/fs")
NO_DEVICES = syscalls.MS_NOSUID | syscalls.MS_NODEV
ROOT_OPTIONS = "mode=755,size=64m"
_OLD = "/.host"


def enter_root(root: Root, mounts: tuple[Mount, ...]) -> None:
    """Build the container's root directory and make it this process's. Raises OSError naming the step that failed."""
    syscalls.mount("none", "/", flags=syscalls.MS_REC | syscalls.MS_PRIVATE)
    links = [(path, os.readlink(path)) for path in HOST_DIRECTORIES if os.path.islink(path)]
    readable = [path for path in HOST_DIRECTORIES if os.path.isdir(path) and not os.path.islink(path)]
    readable += [path for path in root.readable if not _is_below(path, readable)]
    trees = [(path, True, _clone(path)) for path in readable]
    trees += [(mount.target, mount.read_only, _clone(mount.source, mount.subpath)) for mount in mounts]
    devices = [(f"/dev/{name}", _clone(f"/dev/{name}")) for name in DEVICES]

    syscalls.mount("tmpfs", root.scratch, kind="tmpfs", flags=NO_DEVICES, options=ROOT_OPTIONS)
    os.mkdir(root.scratch + _OLD, 0o700)
    syscalls.pivot_root(root.scratch, root.scratch + _OLD)
    os.chdir("/")
    os.mkdir("/proc", 0o555)
    syscalls.mount("proc", "/proc", kind="proc", flags=NO_DEVICES | syscalls.MS_NOEXEC)
    syscalls.detach_mount(_OLD)
    os.rmdir(_OLD)
    _make_devices(devices)
    _make_temporary("/tmp")  # noqa: S108 - the container's own
    for target, read_only, tree in sorted(trees):  # a directory before what lies below it, such as a checkout in /tmp
        _attach(tree, target)
        syscalls.restrict_mount(target, read_only=read_only)
    for place, target in (*links, *root.links):
        _link(place, target)
    for path in root.hidden:
        _hide(path)
    _protect_proc()
    if root.read_only:
        syscalls.restrict_mount("/", read_only=True, recursive=False)
    if root.hostname:
        syscalls.name_host(root.hostname)


def _clone(path: str, subpath: str = "") -> int:
    """A detached copy of the mount of `path`, or of `subpath` below it, to be attached in the new root."""
    source = open_beneath(path, subpath) if subpath else os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        return syscalls.clone_mount(source)
    finally:
        os.close(source)


def _is_below(path: str, parents: list[str]) -> bool:
    return any(path == parent or path.startswith(parent + "/") for parent in parents)


def _attach(tree: int, target: str) -> None:
    """Attach a cloned directory or file at `target`, which is made if it is absent."""
    if stat.S_ISDIR(os.fstat(tree).st_mode):
        os.makedirs(target, exist_ok=True)
    elif not os.path.exists(target):
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o644))
    syscalls.attach_mount(tree, target)
    os.close(tree)


def _link(place: str, target: str) -> None:
    if not os.path.lexists(place):
        os.makedirs(os.path.dirname(place), exist_ok=True)
        os.symlink(target, place)


def _protect_proc() -> None:
    """Root in a container may not turn the kernel's knobs; last, since a read-only /proc/sys is no use to us either."""
    for path in PROC_READ_ONLY:
        if os.path.exists(path):
            syscalls.mount(path, path, flags=syscalls.MS_BIND | syscalls.MS_REC)
            syscalls.restrict_mount(path, read_only=True)


def _make_devices(devices: list[tuple[str, int]]) -> None:
    for path, tree in devices:
        _attach(tree, path)
    for name, target in DEVICE_LINKS.items():
        os.symlink(f"/proc/self/{target}", f"/dev/{name}")
    _make_temporary("/dev/shm")  # noqa: S108 - the container's own
    os.mkdir("/dev/pts")
    with contextlib.suppress(OSError):  # pseudo-terminals are a comfort, not a promise
        syscalls.mount("devpts", "/dev/pts", kind="devpts", options="newinstance,ptmxmode=0666")
        os.symlink("pts/ptmx", "/dev/ptmx")


def _make_temporary(path: str) -> None:
    """A directory that any user of the container may write to, apart from the root's size limit."""
    os.makedirs(path, exist_ok=True)
    syscalls.mount("tmpfs", path, kind="tmpfs", flags=NO_DEVICES, options="mode=1777")


def _hide(path: str) -> None:
    """Cover `path` where a readable directory above it would show it."""
    if os.path.isdir(path):
        syscalls.mount("hidden", path, kind="tmpfs", flags=syscalls.MS_RDONLY, options="mode=555,size=4k")
    elif os.path.exists(path):
        syscalls.mount("/dev/null", path, flags=syscalls.MS_BIND)


def open_beneath(top: str, subpath: str, *, create: bool = False) -> int:
    """Open `subpath` below the directory `top` and return the descriptor (O_PATH, close-on-exec).

    Raises OSError where a component is missing (unless `create`), is a link, or is `..`.
    """
    parts = [part for part in subpath.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise OSError(f"subPath must not contain '..': {subpath}")
    here = os.open(top, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    for part in parts[:-1]:
        here = _step(here, part, create=create, flags=os.O_DIRECTORY)
    return _step(here, parts[-1], create=create, flags=0) if parts else here


def _step(parent: int, name: str, *, create: bool, flags: int) -> int:
    try:
        if create:
            with contextlib.suppress(FileExistsError):
                os.mkdir(name, 0o755, dir_fd=parent)
        found = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC | flags, dir_fd=parent)
    finally:
        os.close(parent)
    if stat.S_ISLNK(os.fstat(found).st_mode):
        os.close(found)
        raise OSError(f"subPath leads through a symbolic link: {name}")
    return found
