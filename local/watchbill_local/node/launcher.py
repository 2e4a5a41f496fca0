"""A small single-threaded process that forks containers, so that the node's event loop never forks itself.

Owns the fork into new namespaces. The node sends one packet for each container, with four descriptors: the container's
control socket, a memory file with its Launch, stdout and stderr. From then on node and container talk directly; the
launcher only reaps. Invariant: it holds nothing that a container needs, so it may die and be replaced at any time. It
ends when the node's end of the socket closes. As subreaper it kills what a killed init left behind.

Forking here costs 1 to 3 ms, where a new Python would take 30 ms; memory pages stay shared.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import pickle
import socket

from watchbill_local.node import syscalls
from watchbill_local.node.container_init import Bell, kill_descendants, run_init
from watchbill_local.node.launch import Launch, Level

NAMESPACES = syscalls.CLONE_NEWNS | syscalls.CLONE_NEWPID | syscalls.CLONE_NEWIPC | syscalls.CLONE_NEWUTS
DESCRIPTORS = 4  #: control, launch, stdout, stderr


def serve_launches(requests: socket.socket) -> None:
    """Fork a container for each packet until the node closes the socket."""
    syscalls.control_process(syscalls.PR_SET_CHILD_SUBREAPER, 1)
    bell = Bell(requests)
    gc.freeze()
    inits: set[int] = set()
    while True:
        has_ended, has_message = bell.wait()
        if has_ended:
            _reap(inits)
        if has_message:
            data, descriptors, _, _ = socket.recv_fds(requests, 16, DESCRIPTORS)
            if not data:
                return
            inits.add(_fork_init(requests, descriptors))


def _reap(inits: set[int]) -> None:
    """Collect ended inits, and kill orphans: processes whose init was killed before it could end them."""
    with contextlib.suppress(ChildProcessError):
        while (pid := os.waitpid(-1, os.WNOHANG)[0]) != 0:
            inits.discard(pid)
    kill_descendants(os.getpid(), spared=inits)


def _fork_init(requests: socket.socket, descriptors: list[int]) -> int:
    """Fork the init of one container and return its pid as seen here."""
    control, plan, stdout, stderr = descriptors
    with os.fdopen(plan, "rb") as file:
        launch: Launch = pickle.load(file)  # noqa: S301 - what our own node wrote into a memory file
    report_read, report_write = os.pipe()
    child = os.fork()
    if child == 0:
        requests.close()
        with socket.socket(fileno=control) as own:
            try:
                _enter_namespaces(launch, report_write)
                run_init(launch, own, (stdout, stderr))
            except OSError as error:
                own.send(json.dumps({"failed": f"namespaces: {error}"}).encode())
            finally:
                os._exit(1)
    for descriptor in (report_write, control, stdout, stderr):
        os.close(descriptor)
    with os.fdopen(report_read, "rb") as report:
        inner = report.read()
    if not inner:
        return child
    os.waitpid(child, 0)
    return int(inner)


def _enter_namespaces(launch: Launch, report: int) -> None:
    """Leave the host's namespaces as the level asks; a pid namespace needs a second fork, its pid goes to `report`."""
    os.setsid()
    if launch.level is not Level.PROCESSES:
        user, group = os.getuid(), os.getgid()
        alone = launch.level is Level.USER_NAMESPACES
        syscalls.unshare(NAMESPACES | (syscalls.CLONE_NEWUSER if alone else 0))
        if alone and launch.identity:
            _write_own("setgroups", "deny")
            _write_own("uid_map", f"{launch.identity.uid} {user} 1")
            _write_own("gid_map", f"{launch.identity.gid} {group} 1")
        if inner := os.fork():
            os.write(report, str(inner).encode())
            os._exit(0)
    os.close(report)


def _write_own(name: str, text: str) -> None:
    with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
        file.write(text)
