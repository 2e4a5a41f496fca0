"""What a hostile command in an agent's pod tries, to reach what is not its own.

A program of its own, sent into the agent under test as a Task's command: its text, and a last line that calls
`intrude`. It knows no more than every agent does, besides the mark that others' secrets bear. It prints one line of
JSON: which attempts succeeded (`done`), why the others did not (`refused`), where it found the mark, and how it sees
itself. An attempt that raises OSError was refused; one that returns was not.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import ssl
import stat
import struct
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWUSER, CLONE_NEWNS = 0x10000000, 0x20000
MS_REMOUNT, MS_BIND = 0x20, 0x1000
PTRACE_ATTACH = 16
SYS_OPEN_BY_HANDLE_AT, SYS_INIT_MODULE, SYS_CAPSET = 304, 175, 126  #: numbers of x86-64
EXT4_ROOT_INODE = 2
ROOM = "/watchbill"
OWN = ("work", "state", "outbox")  #: of its mounts those that it may write to
TOO_LARGE = 4 * 1024 * 1024
SKIPPED = ("/proc", "/sys", "/dev", "/usr/lib", "/usr/share", "/opt")
SECONDS = 2.0  #: for whoever does not answer

Attempt = Callable[[], Any]


def intrude(mark: str, neighbour: str) -> None:
    """Try everything and tell. `mark` is spelled backwards, so that this program does not find itself."""
    tries: dict[str, Attempt] = {
        **find_ways_to_root(),
        **find_ways_to_mounts(),
        **find_ways_to_files(neighbour),
        **find_ways_to_links(neighbour),
        **find_ways_to_the_machine(),
    }
    write(f"{ROOM}/state/control", mark[::-1])
    done, refused = {}, {}
    for name, attempt in tries.items():
        try:
            done[name] = repr(attempt())[:200]
        except OSError as error:
            refused[name] = str(error)[:200]
    report = {
        "done": done,
        "refused": refused,
        "found": sorted(search(mark[::-1].encode())),
        "processes": sorted({line for line in map(read_command_line, list_pids()) if line}),
        "answers": dict(ask_the_network()),
        "self": describe_self(),
    }
    sys.stdout.write(json.dumps(report) + "\n")
    sys.stdout.flush()


def call(function: str, *arguments: Any) -> int:
    """Call a function of the C library; raises OSError where it fails."""
    answer = getattr(LIBC, function)(*arguments)
    if answer < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return int(answer)


def in_child(attempt: Attempt) -> None:
    """Try what would change this process in a child of it; raises OSError where it fails there."""
    child = os.fork()
    if child == 0:
        code = 0
        try:
            attempt()
        except OSError as error:
            code = error.errno or 1
        os._exit(code)
    if code := os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
        raise OSError(code, os.strerror(code) if code > 0 else f"ended by signal {-code}")


def find_ways_to_root() -> dict[str, Attempt]:
    """More rights than it has."""
    return {
        "become root": lambda: in_child(lambda: os.setuid(0)),
        "become root by setresuid": lambda: in_child(lambda: os.setresuid(0, 0, 0)),
        "become the operator": lambda: in_child(lambda: os.setuid(65532)),
        "join root's group": lambda: in_child(lambda: os.setgroups([0])),
        "take all capabilities": take_capabilities,
        "be root in a user namespace": lambda: in_child(lambda: call("unshare", CLONE_NEWUSER)),
        "have a mount namespace": lambda: in_child(lambda: call("unshare", CLONE_NEWNS)),
        "enter the node's pid namespace": lambda: in_child(lambda: call("setns", os.open("/proc/1/ns/pid", 0), 0)),
        "keep rights of a setuid program": run_setuid_programs,
        "change its root": lambda: in_child(lambda: os.chroot("/tmp")),
    }


def find_ways_to_mounts() -> dict[str, Attempt]:
    """What of the volume is mounted, and how."""
    ways: dict[str, Attempt] = {
        "mount proc": lambda: call("mount", b"proc", b"/tmp", b"proc", 0, None),
        "make a device": lambda: os.mknod("/tmp/disk", 0o600 | stat.S_IFBLK, find_volume_device()),
        "unmount the inbox": lambda: call("umount2", f"{ROOM}/inbox".encode(), 2),
        "open the volume's root by its handle": open_volume_by_handle,
    }
    for name in ("inbox", "shared-context"):
        path = f"{ROOM}/{name}"
        ways |= {
            f"make {name} writable": lambda p=path: call("mount", None, p.encode(), None, MS_REMOUNT | MS_BIND, None),
            f"write a file in {name}": lambda p=path: write(f"{p}/planted"),
            f"make a folder in {name}": lambda p=path: os.mkdir(f"{p}/planted"),
            f"put a file into {name} by rename": lambda p=path: rename_into(p),
            f"link a file into {name}": lambda p=path: link_into(p),
            f"change the mode of {name}": lambda p=path: os.chmod(p, 0o777),
        }
    context = f"{ROOM}/shared-context"
    ways["remove what lies in shared-context"] = lambda: os.unlink(find_file(context))
    ways["write to what lies in shared-context"] = lambda: write(find_file(context))
    return ways


def find_ways_to_files(neighbour: str) -> dict[str, Attempt]:
    """Where its neighbour's folders and the operator's could be."""
    ways: dict[str, Attempt] = {
        f"write {folder}": lambda p=folder: write(f"{p}/planted")
        for folder in ("/", "/etc", "/usr/bin", "/var", "/run", "/opt", ROOM)
    }
    guesses = ("coordination", "orchestration", "agent-workspaces", "orchestration/event-log.jsonl")
    for top in (ROOM, f"{ROOM}/work/..", f"{ROOM}/work/../..", f"{ROOM}/shared-context/..", "/proc/1/root", "/mnt"):
        ways |= {f"read {top}/{guess}": lambda p=f"{top}/{guess}": os.stat(p) for guess in guesses}
    ways[f"read {neighbour} beside its own"] = lambda: os.listdir(f"{ROOM}/work/../../{neighbour}/work")
    ways["read the kubelet's folders"] = lambda: os.listdir("/var/lib/kubelet")
    ways["read a service account's token"] = lambda: os.listdir("/var/run/secrets/kubernetes.io/serviceaccount")
    ways["speak to the container engine"] = speak_to_the_engine
    return ways


def find_ways_to_links(neighbour: str) -> dict[str, Attempt]:
    """Another thing in the place of a folder that the kubelet mounts, and files of others under names of its own."""
    ways: dict[str, Attempt] = {}
    for name in OWN:
        ways[f"put a link in the place of {name}"] = lambda p=name: replace_by_link(f"{ROOM}/{p}", neighbour)
        ways[f"remove {name}"] = lambda p=name: os.rmdir(f"{ROOM}/{p}")
    ways["give a shared file a second name"] = lambda: os.link(find_file(f"{ROOM}/shared-context"), f"{ROOM}/work/2nd")
    ways["give a file of the image a second name"] = lambda: os.link("/etc/passwd", f"{ROOM}/work/passwd")
    ways["give the outbox away"] = lambda: os.chown(f"{ROOM}/outbox", 65532, 65532)
    ways["give a file to root"] = lambda: give_away(0)
    return ways


def find_ways_to_the_machine() -> dict[str, Attempt]:
    """The node's kernel, and processes that are not its own."""
    return {
        "write a kernel setting": lambda: write("/proc/sys/kernel/core_pattern"),
        "write sysrq": lambda: write("/proc/sysrq-trigger"),
        "read the kernel's memory": lambda: os.open("/proc/kcore", os.O_RDONLY),
        "read the kernel's log": lambda: call("klogctl", 3, ctypes.create_string_buffer(64), 64),
        "load a module": lambda: call("syscall", SYS_INIT_MODULE, None, 0, b""),
        "make a control group": lambda: os.mkdir("/sys/fs/cgroup/memory/planted"),
        "lift its memory limit": lambda: write("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
        "set the clock": lambda: call("settimeofday", struct.pack("qq", 1, 0), None),
        "set the host's name": lambda: call("sethostname", b"planted", 7),
        "signal all that it sees and does not own": signal_others,
        "attach to a process that it does not own": attach_to_others,
    }


def take_capabilities() -> None:
    """Ask for all of them."""
    header, data = struct.pack("Ii", 0x20080522, 0), struct.pack("6I", *(0xFFFFFFFF,) * 6)
    call("syscall", SYS_CAPSET, header, data)


def run_setuid_programs() -> None:
    """Run the image's setuid programs; one of them would have to keep root's rights."""
    with open("/proc/self/status") as status:
        if "NoNewPrivs:\t1" in status.read():
            raise PermissionError("no program gets new privileges")


def find_volume_device() -> int:
    """The device that the volume lies on."""
    return os.stat(f"{ROOM}/work").st_dev


def open_volume_by_handle() -> int:
    """Name a folder by its number on the disk, past all mounts."""
    handle = struct.pack("IiII", 8, 1, EXT4_ROOT_INODE, 0)
    return call("syscall", SYS_OPEN_BY_HANDLE_AT, os.open(f"{ROOM}/work", os.O_RDONLY), handle, os.O_RDONLY)


def write(path: str, text: str = "planted") -> None:
    """Append something to a file."""
    with open(path, "a") as file:
        file.write(text)


def rename_into(folder: str) -> None:
    """Make a file in a folder of its own and rename it into another."""
    write(f"{ROOM}/state/planted")
    os.rename(f"{ROOM}/state/planted", f"{folder}/planted")


def link_into(folder: str) -> None:
    """Make a file in a folder of its own and link it into another."""
    write(f"{ROOM}/state/planted")
    os.link(f"{ROOM}/state/planted", f"{folder}/planted")


def find_file(folder: str) -> str:
    """Any file below a folder; FileNotFoundError where there is none."""
    for inner, _, files in os.walk(folder):
        for name in files:
            return f"{inner}/{name}"
    raise FileNotFoundError(folder)


def replace_by_link(path: str, neighbour: str) -> None:
    """Move a folder away and leave a link to the neighbour's."""
    os.rename(path, f"{path}-moved")
    os.symlink(f"../{neighbour}/{os.path.basename(path)}", path)


def give_away(uid: int) -> None:
    """Make a setuid program and give it to somebody else."""
    path = f"{ROOM}/work/gift"
    write(path)
    os.chmod(path, 0o4755)
    os.chown(path, uid, uid)


def speak_to_the_engine() -> None:
    """Connect to the container engine where it listens."""
    with socket.socket(socket.AF_UNIX) as engine:
        engine.connect("/run/containerd/containerd.sock")


def list_pids() -> list[int]:
    """The processes that it sees."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def list_others() -> list[int]:
    """Of these, those of other users; PermissionError where there are none to touch."""
    others = []
    for pid in list_pids():
        with suppress(OSError):
            if os.stat(f"/proc/{pid}").st_uid != os.getuid():
                others.append(pid)
    if not others:
        raise PermissionError("it sees no process but its own")
    return others


def signal_others() -> None:
    """Signal others' processes."""
    for pid in list_others():
        os.kill(pid, signal.SIGCONT)


def attach_to_others() -> None:
    """Attach to others' processes."""
    for pid in list_others():
        call("ptrace", PTRACE_ATTACH, pid, None, None)


def read_command_line(pid: int) -> str:
    """A process's command line without the text of programs."""
    with suppress(OSError), open(f"/proc/{pid}/cmdline", "rb") as file:
        return " ".join(word.decode(errors="replace") for word in file.read().split(b"\0") if len(word) < 200).strip()
    return ""


def search(mark: bytes) -> Iterator[str]:
    """Where the mark can be read: files, and what other processes show."""
    for folder, names, files in os.walk("/"):
        names[:] = [name for name in names if not os.path.join(folder, name).startswith(SKIPPED)]
        yield from (path for name in files if holds(path := os.path.join(folder, name), mark))
    for pid in list_pids():
        yield from (path for name in ("environ", "cmdline") if holds(path := f"/proc/{pid}/{name}", mark))
    yield from (name for name, value in os.environ.items() if mark in value.encode())


def holds(path: str, mark: bytes) -> bool:
    """Whether a file that it may read holds the mark."""
    with suppress(OSError):
        if stat.S_ISREG(os.lstat(path).st_mode):
            with open(path, "rb") as file:
                return mark in file.read(TOO_LARGE)
    return False


def ask_the_network() -> Iterator[tuple[str, str]]:
    """What those say who can be reached without a credential, which it has none of."""
    node = find_gateway()
    api = os.environ.get("KUBERNETES_SERVICE_HOST", node)
    yield "secrets", ask(api, 443, "/api/v1/secrets")
    yield "tasks", ask(api, 443, "/apis/watchbill.dev/v1alpha1/tasks")
    yield "kubelet", ask(node, 10250, "/pods")
    yield "kubelet without TLS", ask(node, 10255, "/pods", secure=False)
    yield "etcd", ask(node, 2379, "/v3/kv/range")
    yield "controllers", ask(node, 10257, "/configz")


def find_gateway() -> str:
    """The node, as a pod sees it."""
    with open("/proc/net/route") as routes:
        for line in routes:
            words = line.split()
            if words[1] == "00000000":
                return socket.inet_ntoa(struct.pack("<I", int(words[2], 16)))
    return "127.0.0.1"


def ask(host: str, port: int, path: str, *, secure: bool = True) -> str:
    """The status of an answer, or why there was none."""
    try:
        with socket.create_connection((host, port), SECONDS) as plain:
            plain.settimeout(SECONDS)
            context = ssl._create_unverified_context()
            with context.wrap_socket(plain) if secure else plain as connection:
                connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
                words = connection.recv(4096).decode(errors="replace").split(maxsplit=2)
                return words[1] if len(words) > 1 else "nothing"
    except OSError as error:
        return type(error).__name__


def describe_self() -> Mapping[str, Any]:
    """How the kernel sees it."""
    with open("/proc/self/status") as file:
        status = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
    return {
        "uid": os.getuid(),
        "gid": os.getgid(),
        "groups": os.getgroups(),
        "capabilities": [int(status[kind], 16) for kind in ("CapEff", "CapPrm", "CapBnd", "CapAmb")],
        "seccomp": status["Seccomp"],
        "room": sorted(os.listdir(ROOM)),
        "mounts": dict(list_mounts()),
    }


def list_mounts() -> Iterator[tuple[str, str]]:
    """Each of its mounts below its room, and what it is a part of."""
    with open("/proc/self/mountinfo") as file:
        for words in map(str.split, file):
            if words[4].startswith(ROOM):
                yield words[4], f"{words[5].split(',')[0]} {words[3]}"
