"""The node's hold on the launcher and on running containers.

Owns the launcher process (started when needed, started again if it died) and one `ContainerProcess` for each container:
its socket, whether it started, how it ended. Invariant: `ended` is set exactly once, and only when no process of the
container is left, or its init was killed (exit code 137). Never decides when to start or stop.

Owns also the end of left-overs: processes whose initial environment carries this data directory's cookie, or one
container's mark, which begins with it. When `kill_leftovers` returns, none is alive, so no container ever runs twice. A
process is signalled through a pidfd opened before its environment was read, so a reused pid is never hit.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import pickle
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from watchbill_local.node.launch import Launch

COOKIE = "WATCHBILL_NODE"  #: environment variable that marks every process of one node's data directory
BOOT = (
    "import socket, sys; sys.path.insert(0, sys.argv[2]); from watchbill_local.node.launcher import serve_launches; "
    "serve_launches(socket.socket(fileno=int(sys.argv[1])))"
)
EXEC_BYTES = 100_000  #: longest command of a probe, hook or exec
KILLED = 128 + signal.SIGKILL


class StartError(Exception):
    """The container's program could not be started; the text says why. Ask the pod's author, do not retry at once."""


class ContainerProcess:
    """One container that was asked to start. `ended` gives its exit code, as a shell would: 128 + signal if killed."""

    def __init__(self, control: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        self.started: asyncio.Future[int] = loop.create_future()
        self.ended: asyncio.Future[int] = loop.create_future()
        self.was_lost = False  #: its init was killed, so nothing has seen to the rest of its processes
        self._control = control
        self._killer: asyncio.TimerHandle | None = None
        self._execs: dict[int, asyncio.Future[int]] = {}
        self._numbers = itertools.count()
        control.setblocking(False)
        loop.add_reader(control, self._receive)

    def signal(self, number: int) -> None:
        """Signal the container's program, not its children: what the kubelet does."""
        self._send({"signal": number})

    def kill(self) -> None:
        """End every process of the container now."""
        self._send({"kill": True})

    def kill_at(self, at: float) -> None:
        """Do so at loop time `at` instead of when it was asked for before."""
        if self._killer:
            self._killer.cancel()
        self._killer = asyncio.get_running_loop().call_at(at, self.kill)

    async def execute(self, argv: list[str]) -> int:
        """Run `argv` inside the container as its user, without its output. Returns the exit code.

        A container that ends meanwhile answers 137. Cancelling kills the program.
        """
        if self.ended.done() or sum(map(len, argv)) > EXEC_BYTES:
            return KILLED
        number = next(self._numbers)
        self._execs[number] = asyncio.get_running_loop().create_future()
        self._send({"exec": number, "argv": argv})
        try:
            return await self._execs[number]
        except asyncio.CancelledError:
            self._send({"cancel": number})
            raise

    def _send(self, message: dict[str, Any]) -> None:
        with contextlib.suppress(OSError):
            self._control.send(json.dumps(message).encode())

    def _receive(self) -> None:
        data = b""
        with contextlib.suppress(ConnectionError):
            data = self._control.recv(65536)
        message: dict[str, Any] = json.loads(data) if data else {}
        if "started" in message:
            self.started.set_result(message["started"])
        elif "failed" in message:
            self.started.set_exception(StartError(message["failed"]))
        elif "exec" in message:
            answer = self._execs.pop(message["exec"], None)
            if answer and not answer.done():
                answer.set_result(message["code"])
        else:
            self.was_lost = not message
            self._end(message.get("code", KILLED))

    def _end(self, code: int) -> None:
        asyncio.get_running_loop().remove_reader(self._control)
        if self._killer:
            self._killer.cancel()
        self._control.close()
        if not self.started.done():
            self.started.set_exception(StartError("the container's first process was killed"))
        self.ended.set_result(code)
        for answer in self._execs.values():
            if not answer.done():
                answer.set_result(KILLED)


class Launcher:
    """Starts containers through the launcher process."""

    def __init__(self, cookie: str) -> None:
        self._cookie = cookie
        self._process: subprocess.Popen[bytes] | None = None
        self._requests: socket.socket | None = None

    def start(self, launch: Launch, stdout: int, stderr: int) -> ContainerProcess:
        """Ask for a container; its output goes to the two descriptors, which are closed here."""
        mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        plan = os.memfd_create("launch", os.MFD_CLOEXEC)
        with theirs, os.fdopen(plan, "wb") as file:
            pickle.dump(launch, file)
            file.flush()
            os.lseek(plan, 0, os.SEEK_SET)
            descriptors = [theirs.fileno(), plan, stdout, stderr]
            try:
                socket.send_fds(self._connect(), [b"launch"], descriptors)
            except OSError:  # the launcher died since the last launch; a fresh one takes its place
                self.close()
                socket.send_fds(self._connect(), [b"launch"], descriptors)
            finally:
                os.close(stdout)
                os.close(stderr)
        return ContainerProcess(mine)

    def close(self) -> None:
        """End the launcher; containers that run are not touched."""
        if self._requests:
            self._requests.close()
        if self._process:
            self._process.wait(timeout=10)
        self._requests = self._process = None

    def _connect(self) -> socket.socket:
        if self._requests is None:
            self._requests, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            package_parent = str(Path(__file__).resolve().parents[2])
            with theirs:
                self._process = subprocess.Popen(
                    [sys.executable, "-I", "-S", "-c", BOOT, str(theirs.fileno()), package_parent],
                    pass_fds=[theirs.fileno()],
                    env={COOKIE: self._cookie},
                    stdin=subprocess.DEVNULL,
                    cwd="/",
                    start_new_session=True,
                )
        return self._requests


def kill_leftovers(cookie: str, *, seconds: float = 10.0) -> int:
    """Kill every process whose mark begins with `cookie` and wait for their end; returns how many there were.

    Raises TimeoutError if one is still there after `seconds`: starting containers would not be safe.
    """
    mark, deadline, killed = f"{COOKIE}={cookie}".encode(), time.monotonic() + seconds, 0
    while found := [pid for entry in os.listdir("/proc") if entry.isdigit() and _kill(pid := int(entry), mark)]:
        killed += len(found)
        if time.monotonic() > deadline:
            raise TimeoutError(f"processes of an earlier node do not end after SIGKILL: {found}")
    return killed


def _kill(pid: int, mark: bytes) -> bool:
    """Kill a process if its environment holds `mark`, and wait a moment for its end; whether it was one."""
    if pid == os.getpid():
        return False
    with contextlib.suppress(OSError), os.fdopen(os.pidfd_open(pid), "rb") as pidfd:
        if any(entry.startswith(mark) for entry in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")):
            signal.pidfd_send_signal(pidfd.fileno(), signal.SIGKILL)
            select.select([pidfd], [], [], 1.0)
            return True
    return False
