"""What a hostile process in an agent's container tries, to get at the key or to change what its broker relies on.

A program of its own, sent into the container under test: its text, and a last line that calls `steal`. It knows no
more than every agent does. It prints one line of JSON: where it read something that looks like the marked key, and
which of its attempts to change something succeeded. It leaves alone what is not its pod's: other processes are searched
only where it has a pid namespace, and files of the machine only below its own pod's folder.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import socket
import stat
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

MARKED = re.compile(rb"sk-ant-marke[d]-\d+")  #: does not match itself
TOO_LARGE = 4 * 1024 * 1024
SYSTEM = ("/usr", "/lib", "/lib64", "/lib32", "/bin", "/sbin", "/sys", "/proc", "/dev", "/opt")
CLONE_NEWUSER, CLONE_NEWNS = 0x10000000, 0x20000
MS_REMOUNT, MS_BIND = 0x20, 0x1000
PTRACE_ATTACH = 16


def steal(*, alone: bool) -> None:
    """Try everything and tell. `alone`: it has a root and a pid namespace, so that all that it sees is its own."""
    found = {*search_environment(), *(search_processes() if alone else ())}
    for top in find_tops(alone=alone):
        found.update(search_folder(top))
    report = {"read": sorted(found), "changed": change_broker() if alone else []}
    sys.stdout.write(json.dumps(report) + "\n")
    sys.stdout.flush()


def find_tops(*, alone: bool) -> list[str]:
    """The folders whose files it searches."""
    if alone:
        return [f"/{name}" for name in os.listdir("/") if f"/{name}" not in SYSTEM]
    return [str(Path(os.environ["TMPDIR"]).resolve().parents[1])]


def looks_like_the_key(path: str) -> bool:
    """Whether a file that can be read holds the key, plain."""
    with suppress(OSError):
        if stat.S_ISREG(os.stat(path).st_mode):  # a pipe of another process would be waited for
            with open(path, "rb") as file:
                return bool(MARKED.search(file.read(TOO_LARGE)))
    return False


def search_environment() -> Iterator[str]:
    """Its own variables."""
    for name, value in os.environb.items():
        if MARKED.search(value):
            yield f"variable {name.decode()}"


def search_processes() -> Iterator[str]:
    """Environment, command line, open files, root and memory of every process that it sees."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        if int(pid) != os.getpid():
            yield from search_process(pid)


def search_process(pid: str) -> Iterator[str]:
    """One of them; memory is the broker's alone worth the time."""
    for name in ("environ", "cmdline"):
        if looks_like_the_key(f"/proc/{pid}/{name}"):
            yield f"{name} of another process"
    for folder in ("fd", "root/watchbill/credentials", "cwd"):
        if any(looks_like_the_key(path) for path in list_paths(f"/proc/{pid}/{folder}")):
            yield f"{folder} of another process"
    if is_broker(pid) and any(MARKED.search(piece) for piece in read_memory(pid)):
        yield "memory of the broker"
    if is_broker(pid) and ctypes.CDLL(None, use_errno=True).ptrace(PTRACE_ATTACH, int(pid), None, None) == 0:
        yield "attached to the broker"


def list_paths(folder: str) -> list[str]:
    """What lies in a folder, as far as it can be read."""
    with suppress(OSError):
        return [f"{folder}/{name}" for name in os.listdir(folder)]
    return []


def is_broker(pid: str) -> bool:
    """Whether that process is a broker."""
    with suppress(OSError), open(f"/proc/{pid}/cmdline", "rb") as file:
        return b"watchbill_broker" in file.read()
    return False


def read_memory(pid: str) -> Iterator[bytes]:
    """Each of a process's mappings, as far as they can be read."""
    with suppress(OSError), open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as memory:
        for start, end in (line.split()[0].split("-") for line in maps):
            with suppress(OSError, OverflowError, ValueError):
                memory.seek(int(start, 16))
                yield memory.read(min(int(end, 16) - int(start, 16), TOO_LARGE))


def search_folder(top: str) -> Iterator[str]:
    """Every file below it but those of the system and of Python."""
    for folder, names, files in os.walk(top):
        names[:] = [name for name in names if not is_ours(f"{folder}/{name}")]
        for name in files:
            if looks_like_the_key(f"{folder}/{name}"):
                yield f"file {name}"


def is_ours(folder: str) -> bool:
    """Python's own folders: large, and everybody's."""
    return folder.startswith(SYSTEM) or any(part in (".venv", ".git", "site-packages") for part in folder.split("/"))


def change_broker() -> list[str]:
    """What it could change of what its broker relies on."""
    sockets = os.environ["WATCHBILL_SOCKETS"]
    tries = {
        "planted a socket": lambda: _bind(sockets),
        "removed a socket": lambda: os.unlink(next(path for path in list_paths(sockets) if path.endswith(".sock"))),
        "renamed the sockets": lambda: os.rename(sockets, f"{sockets}-old"),
        "wrote grants": lambda: _write(f"{os.path.dirname(sockets)}/grants/grants.json"),
        "wrote the ledger": lambda: _write(f"{os.path.dirname(sockets)}/ledger/planted"),
        "made the sockets' folder writable": lambda: _remount(sockets),
        "became another user": lambda: os.setuid(0) if os.getuid() else _fail(),
    }
    done = []
    for what, attempt in tries.items():
        with suppress(OSError, StopIteration, KeyError):
            attempt()
            done.append(what)
    return done


def _fail() -> None:
    raise PermissionError("it is root already")


def _bind(folder: str) -> None:
    os.chdir(folder)
    with socket.socket(socket.AF_UNIX) as planted:
        planted.bind("planted.sock")


def _write(path: str) -> None:
    with open(path, "a") as file:
        file.write("{}")


def _remount(path: str) -> None:
    """With a user namespace of its own it is root there; mounts that it inherited stay as they were."""
    libc = ctypes.CDLL(None, use_errno=True)
    child = os.fork()
    if child == 0:
        done = libc.unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0
        done = done and libc.mount(b"none", path.encode(), None, MS_REMOUNT | MS_BIND, None) == 0
        os._exit(0 if done else 1)
    if os.waitpid(child, 0)[1]:
        _fail()
