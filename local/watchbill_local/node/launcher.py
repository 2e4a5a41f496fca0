"""A small single-threaded process that forks containers, so that the node's event loop never forks itself.

Owns the fork of each container's first process. The node sends one packet for each container, with four descriptors:
the container's control socket, a memory file with its Launch, stdout and stderr. From then on node and container talk
directly; the launcher only reaps. Invariant: it holds nothing that a container needs, so it may die and be replaced at
any time. It ends when the node's end of the socket closes. As subreaper it kills what a killed init left behind.

Forking here costs 1 to 3 ms, where a new Python would take 30 ms; memory pages stay shared.
"""

from __future__ import annotations

import contextlib
import gc
import os
import pickle
import socket

from watchbill_local.node import syscalls
from watchbill_local.node.container_init import Bell, kill_descendants, run_init
from watchbill_local.node.launch import Launch, Level

DESCRIPTORS = 4  #: control, launch, stdout, stderr


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
