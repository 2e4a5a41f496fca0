"""A volume with one replica's workspace, and what a hostile agent would put there."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

from watchbill_coordination.codec.messages import Header, encode_file
from watchbill_coordination.core.messages import Message, Released
from watchbill_coordination.core.specs import ReplicaName
from watchbill_coordination.storage.layout import WORKSPACE_PARTS, Layout

REPLICA = ReplicaName("blue-0")


def make_volume(root: Path) -> Layout:
    """Make the folders that the operator makes before it creates a pod."""
    layout = Layout(root)
    for part in WORKSPACE_PARTS:
        (layout.workspace(REPLICA) / part).mkdir(parents=True)
    layout.quarantine.mkdir(parents=True)
    layout.results.mkdir(parents=True)
    return layout


def put_message(layout: Layout, number: int, message: Message | None = None, *, read: int = 0) -> str:
    """Write an outbox file as an agent does; return its name."""
    header = Header(number=number, agent=REPLICA, read=read, incarnation="pod/1")
    name, data = encode_file(header, [message or Released(incarnation="pod/1")])
    (layout.workspace(REPLICA) / "outbox" / name).write_bytes(data)
    return name


def make_socket(path: Path) -> None:
    """Bind a Unix socket there; its path may be longer than a socket's may."""
    here = os.open(path.parent, os.O_RDONLY)
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(f"/proc/self/fd/{here}/{path.name}")
    finally:
        os.close(here)


def make_sparse(path: Path) -> None:
    """Make a file of 10 GiB that takes no room."""
    with path.open("wb") as file:
        file.truncate(10 * 2**30)


def make_hard_link(path: Path) -> None:
    """Give a second name to a file that lies elsewhere."""
    secret = path.parent.parent / "elsewhere"
    secret.write_text("secret")
    path.hardlink_to(secret)


TRAPS: dict[str, Callable[[Path], object]] = {
    "link": lambda path: path.symlink_to("/etc/passwd"),
    "dangling link": lambda path: path.symlink_to("/no/such/file"),
    "link to itself": lambda path: path.symlink_to(path.name),
    "FIFO": os.mkfifo,
    "socket": make_socket,
    "hard link": make_hard_link,
    "sparse file": make_sparse,
}
