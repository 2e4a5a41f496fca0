"""The root directory of a container in its own mount namespace.

Owns what a container can see: an allow list of host directories (read-only), the Python environment of the node
(read-only, at its own paths even where they lie below a closed home directory), private /proc, /dev and /tmp, and the
volumes at their mount paths. Invariant: everything else of the host, other containers' directories and the node's own
data among it, is not hidden but absent: the old root is unmounted before the first instruction of the container runs.

Runs in the container's init process only, as root of the mount namespace. Sources are opened before the root changes
and targets are resolved after it, so a symbolic link planted in a volume cannot lead to the host.
"""

from __future__ import annotations

import contextlib
import os
import stat

from watchbill_local.node import syscalls
from watchbill_local.node.launch import Mount, Root
from watchbill_local.node.subpath import open_beneath

HOST_DIRECTORIES = (
    "/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc", "/opt", "/nix", "/gnu", "/sys",
)  # fmt: skip
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
DEVICE_LINKS = {
    "fd": "/proc/self/fd",
    "stdin": "/proc/self/fd/0",
    "stdout": "/proc/self/fd/1",
    "stderr": "/proc/self/fd/2",
}
PROC_READ_ONLY = ("/proc/sys", "/proc/sysrq-trigger", "/proc/irq", "/proc/bus", "/proc/fs")
NO_DEVICES = syscalls.MS_NOSUID | syscalls.MS_NODEV
ROOT_OPTIONS = "mode=755,size=64m"
_OLD = "/.host"
_TEMPORARY = "/tmp"  # noqa: S108 - the container's own


def enter_root(root: Root, mounts: tuple[Mount, ...]) -> None:
    """Build the container's root directory and make it this process's. Raises OSError naming the step that failed."""
    syscalls.mount("none", "/", flags=syscalls.MS_REC | syscalls.MS_PRIVATE)
    links = [(path, os.readlink(path)) for path in HOST_DIRECTORIES if os.path.islink(path)]
    readable = [path for path in HOST_DIRECTORIES if os.path.isdir(path) and not os.path.islink(path)]
    readable += [path for path in root.readable if not _is_below(path, readable)]
    host = [(_open_source(path), path) for path in readable]
    devices = [(_open_source(f"/dev/{name}"), f"/dev/{name}") for name in DEVICES]
    volumes = [(_open_volume(mount), mount) for mount in sorted(mounts, key=lambda m: m.target)]

    syscalls.mount("tmpfs", root.scratch, kind="tmpfs", flags=NO_DEVICES, options=ROOT_OPTIONS)
    os.mkdir(root.scratch + _OLD, 0o700)
    syscalls.pivot_root(root.scratch, root.scratch + _OLD)
    os.chdir("/")
    _mount_proc()
    covers = [_TEMPORARY, *(mount.target for mount in mounts)]
    for source, path in host:
        if not _is_below(path, covers):
            _bind(source, path, read_only=True)
    for place, target in (*links, *root.links):
        _link(place, target)
    _make_devices(devices)
    for path in root.hidden:
        _hide(path)
    _make_temporary(_TEMPORARY)
    for source, mount in volumes:
        _bind(source, mount.target, read_only=mount.read_only)
    for source, path in host:
        if _is_below(path, covers):  # such as a checkout below /tmp, which the container's own /tmp covers
            _bind(source, path, read_only=True)
    _protect_proc()
    syscalls.detach_mount(_OLD)
    os.rmdir(_OLD)
    if root.read_only:
        syscalls.restrict_mount("/", read_only=True, recursive=False)
    if root.hostname:
        syscalls.name_host(root.hostname)


def _open_source(path: str) -> int:
    return os.open(path, os.O_PATH | os.O_CLOEXEC)


def _open_volume(mount: Mount) -> int:
    if not mount.subpath:
        return _open_source(mount.source)
    return open_beneath(mount.source, mount.subpath)


def _is_below(path: str, parents: list[str]) -> bool:
    return any(path == parent or path.startswith(parent + "/") for parent in parents)


def _bind(source: int, target: str, *, read_only: bool) -> None:
    """Bind an opened file or directory at `target`, which is made if it is absent."""
    if stat.S_ISDIR(os.fstat(source).st_mode):
        os.makedirs(target, exist_ok=True)
    elif not os.path.exists(target):
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o644))
    syscalls.mount(f"/proc/self/fd/{source}", target, flags=syscalls.MS_BIND | syscalls.MS_REC)
    os.close(source)
    syscalls.restrict_mount(target, read_only=read_only)


def _link(place: str, target: str) -> None:
    if not os.path.lexists(place):
        os.makedirs(os.path.dirname(place), exist_ok=True)
        os.symlink(target, place)


def _mount_proc() -> None:
    os.mkdir("/proc", 0o555)
    syscalls.mount("proc", "/proc", kind="proc", flags=NO_DEVICES | syscalls.MS_NOEXEC)


def _protect_proc() -> None:
    """Root in a container may not turn the kernel's knobs; last, since a read-only /proc/sys is no use to us either."""
    for path in PROC_READ_ONLY:
        if os.path.exists(path):
            syscalls.mount(path, path, flags=syscalls.MS_BIND | syscalls.MS_REC)
            syscalls.restrict_mount(path, read_only=True)


def _make_devices(devices: list[tuple[int, str]]) -> None:
    os.mkdir("/dev", 0o755)
    for source, path in devices:
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o666))
        syscalls.mount(f"/proc/self/fd/{source}", path, flags=syscalls.MS_BIND)
        os.close(source)
    for name, target in DEVICE_LINKS.items():
        os.symlink(target, f"/dev/{name}")
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
