"""The launcher, and the first process of each container that it forks.

The launcher is a small single-threaded process, so that the node's event loop never forks itself. The node sends it one
packet for each container, with four descriptors: the container's control socket, a memory file with its Launch, stdout
and stderr. From then on node and container talk directly; the launcher only reaps. It holds nothing that a container
needs, so it may die and be replaced at any time, and it ends when the node's end of the socket closes. As subreaper it
kills what a killed init left behind. Forking here costs 1 to 3 ms, where a new Python would take 30 ms.

The init builds the container's world, starts its program, reaps and forwards. It is process 1 of the container's pid
namespace or, in plain processes, the subreaper of all that the container starts. It talks to the node by JSON messages,
one a packet:

    node to init   {"signal": 15}   {"kill": true}   {"exec": 7, "argv": [...]}   {"cancel": 7}
    init to node   {"started": pid} or {"failed": sentence}, then {"exec": 7, "code": 0} ..., last {"code": 0}

Invariant: when the program ends, when the node says kill, or when the node is gone (end of file on the socket), every
process of the container is dead before its init ends. Never talks to the API and never writes a log.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import pickle
import select
import signal
import socket
import subprocess
from typing import Any, NoReturn

from watchbill_local.node import syscalls
from watchbill_local.node.launch import Identity, Launch, Level
from watchbill_local.node.rootfs import enter_root

NAMESPACES = syscalls.CLONE_NEWNS | syscalls.CLONE_NEWPID | syscalls.CLONE_NEWIPC | syscalls.CLONE_NEWUTS
DESCRIPTORS = 4  #: control, launch, stdout, stderr
MESSAGE_BYTES = 200_000  #: largest packet on the socket; a longer exec command is refused by the node
LAST_CAPABILITY = 40
IGNORED_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE)
NOT_STARTED = 127
Streams = tuple[int, int]  #: descriptors of stdout and stderr


def serve_launches(requests: socket.socket) -> None:
    """Fork a container for each packet until the node closes the socket."""
    syscalls.control_process(syscalls.PR_SET_CHILD_SUBREAPER, 1)
    bell = Bell(requests)
    gc.freeze()
    inits: set[int] = set()  #: of plain processes: the others end all that is theirs with their pid namespace
    while True:
        has_ended, has_message = bell.wait()
        if has_ended:
            _reap(inits)
        if has_message:
            data, descriptors, _, _ = socket.recv_fds(requests, 16, DESCRIPTORS)
            if not data:
                return
            _fork_init(requests, descriptors, inits)


def _reap(inits: set[int]) -> None:
    """Collect what ended; where an init of plain processes did, kill what it was killed before it could end itself."""
    before = len(inits)
    with contextlib.suppress(ChildProcessError):
        while (pid := os.waitpid(-1, os.WNOHANG)[0]) != 0:
            inits.discard(pid)
    if before:
        kill_descendants(os.getpid(), spared=inits)


def _fork_init(requests: socket.socket, descriptors: list[int], inits: set[int]) -> None:
    """Fork the init of one container."""
    control, plan, stdout, stderr = descriptors
    with os.fdopen(plan, "rb") as file:
        launch: Launch = pickle.load(file)  # noqa: S301 - what our own node wrote into a memory file
    child = os.fork()
    if child == 0:
        requests.close()
        run_init(launch, socket.socket(fileno=control), (stdout, stderr))
    if launch.level is Level.PROCESSES:
        inits.add(child)
    for descriptor in (control, stdout, stderr):
        os.close(descriptor)


def run_init(launch: Launch, control: socket.socket, streams: Streams) -> NoReturn:
    """Be the container's first process until all of it has ended. Leaves only by ending this process."""
    init = _Init(launch, control)
    try:
        _enter_namespaces(launch)
        init.prepare()
        main = init.start(list(launch.argv), streams)
    except (OSError, ValueError) as error:
        init.send({"failed": str(error)})
        os._exit(1)
    for stream in streams:
        os.close(stream)
    try:
        init.send({"started": main})
        init.serve(main)
    finally:
        os._exit(0)


def _enter_namespaces(launch: Launch) -> None:
    """Leave the host's namespaces as the level asks; a pid namespace begins with a second fork, whose parent ends."""
    os.setsid()
    if launch.level is Level.PROCESSES:
        return
    user, group = os.getuid(), os.getgid()
    alone = launch.level is Level.USER_NAMESPACES
    syscalls.unshare(NAMESPACES | (syscalls.CLONE_NEWUSER if alone else 0))
    if alone and launch.identity:
        _write_own("setgroups", "deny")
        _write_own("uid_map", f"{launch.identity.uid} {user} 1")
        _write_own("gid_map", f"{launch.identity.gid} {group} 1")
    if os.fork():
        os._exit(0)


def _write_own(name: str, text: str) -> None:
    with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
        file.write(text)


class Bell:
    """Waits for a message on a socket or the end of a child, whichever comes first."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._wake, wake_write = os.pipe()
        self._poll = select.poll()
        for end in (self._wake, wake_write):
            os.set_blocking(end, False)
        for source in (self._wake, control.fileno()):
            self._poll.register(source, select.POLLIN)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def wait(self) -> tuple[bool, bool]:
        """Whether a child may have ended, and whether a message is there."""
        ready = {descriptor for descriptor, _ in self._poll.poll()}
        if self._wake in ready:
            os.read(self._wake, 4096)
        return self._wake in ready, self._control.fileno() in ready


class _Init:
    """State of the init process: the socket, the bell, and which pid answers which exec."""

    def __init__(self, launch: Launch, control: socket.socket) -> None:
        self.launch = launch
        self.control = control
        self.execs: dict[int, int] = {}  #: pid to the number of the exec that it runs
        self.bell = Bell(control)
        for number in IGNORED_SIGNALS:
            signal.signal(number, signal.SIG_IGN)

    def prepare(self) -> None:
        """Enter the root directory, or become the subreaper where there is no pid namespace."""
        if self.launch.root:
            enter_root(self.launch.root, self.launch.mounts)
            os.makedirs(self.launch.directory, exist_ok=True)
        else:
            syscalls.control_process(syscalls.PR_SET_CHILD_SUBREAPER, 1)

    def start(self, argv: list[str], streams: Streams) -> int:
        """Fork and exec `argv`; returns its pid, raises OSError with a sentence if the program cannot be executed."""
        launch, (stdout, stderr) = self.launch, streams
        try:
            process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                cwd=launch.directory,
                env=launch.environment,
                umask=0o022,
                start_new_session=True,
                preexec_fn=self._become_program,  # safe: this process has one thread
            )
        except FileNotFoundError as error:
            raise OSError(f'exec: "{error.filename}": executable file not found in $PATH') from error
        except subprocess.SubprocessError as error:
            raise OSError(f"cannot take on the container's user: {error}") from error
        process.returncode = 0  # `reap` collects it, Popen shall not
        return process.pid

    def _become_program(self) -> None:
        for number in (signal.SIGCHLD, *IGNORED_SIGNALS):
            signal.signal(number, signal.SIG_DFL)
        if self.launch.identity:
            _become_user(self.launch.identity, alone=self.launch.level is Level.USER_NAMESPACES)
        syscalls.control_process(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)

    def serve(self, main: int) -> None:
        """Answer the node and reap until the program `main` has ended, then end everything and report its exit code."""
        code: int | None = None
        while code is None:
            has_ended, has_message = self.bell.wait()
            if has_ended:
                code = self.reap(main)
            if code is None and has_message and not self.obey(main):
                code = 128 + signal.SIGKILL
        self.end_all()
        self.send({"code": code})

    def reap(self, main: int) -> int | None:
        """Collect the children that ended; returns the exit code of `main` once it is among them."""
        found: int | None = None
        with contextlib.suppress(ChildProcessError):
            while (child := os.waitpid(-1, os.WNOHANG))[0]:
                code = os.waitstatus_to_exitcode(child[1])
                code = code if code >= 0 else 128 - code
                if child[0] == main:
                    found = code
                elif child[0] in self.execs:
                    self.send({"exec": self.execs.pop(child[0]), "code": code})
        return found

    def obey(self, main: int) -> bool:
        """Do what one message says. False: everything shall end now, as asked or because the node is gone."""
        try:
            data = self.control.recv(MESSAGE_BYTES)
        except ConnectionError:
            return False
        message: dict[str, Any] = json.loads(data) if data else {"kill": True}
        if "signal" in message:
            os.kill(main, message["signal"])
        elif "exec" in message:
            self._execute(message["exec"], message["argv"])
        elif "cancel" in message:
            for pid in [pid for pid, number in self.execs.items() if number == message["cancel"]]:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(pid, signal.SIGKILL)
        return "kill" not in message

    def _execute(self, number: int, argv: list[str]) -> None:
        sink = os.open(os.devnull, os.O_WRONLY)
        try:
            self.execs[self.start(argv, (sink, sink))] = number
        except OSError:
            self.send({"exec": number, "code": NOT_STARTED})
        finally:
            os.close(sink)

    def end_all(self) -> None:
        """Kill and reap every process of the container."""
        with contextlib.suppress(ChildProcessError):
            while True:
                kill_descendants(os.getpid())
                os.waitpid(-1, 0)

    def send(self, message: dict[str, Any]) -> None:
        """Tell the node; a node that is gone is not told."""
        with contextlib.suppress(OSError):
            self.control.send(json.dumps(message).encode())


def kill_descendants(pid: int, spared: set[int] | frozenset[int] = frozenset()) -> None:
    """SIGKILL to all that descends from `pid` but not through `spared` children; once, without waiting."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        for child in {int(word) for word in file.read().split()} - spared:
            kill_descendants(child)
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)


def _become_user(identity: Identity, *, alone: bool) -> None:
    """Take on user, groups and bounding set. `alone`: in a user namespace that maps one user, groups cannot be set."""
    for capability in set(range(LAST_CAPABILITY + 1)) - set(identity.capabilities):
        syscalls.control_process(syscalls.PR_CAPBSET_DROP, capability)
    if not alone:
        os.setgroups(identity.groups)
        os.setresgid(identity.gid, identity.gid, identity.gid)
        os.setresuid(identity.uid, identity.uid, identity.uid)
    syscalls.control_process(syscalls.PR_SET_NO_NEW_PRIVS, 1)
