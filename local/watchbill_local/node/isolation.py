"""From a pod's spec to a Launch, for each level of isolation; and which level this machine allows.

Owns images (names that stand for local programs: nothing is ever pulled), identities, the rewriting of paths in plain
processes, and the trial that picks a level. Invariant: a level is used only after a real container ran in it here.

What no level gives: networks apart, seccomp profiles, CPU limits. `no_new_privs` is always set in a namespace.
"""

from __future__ import annotations

import asyncio
import contextlib
import fnmatch
import hashlib
import os
import re
import shlex
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from watchbill_local.node.api import Json
from watchbill_local.node.environment import expand_references
from watchbill_local.node.launch import Identity, Launch, Level, Mount, Root
from watchbill_local.node.processes import Launcher, StartError

DEFAULT_IMAGES: Mapping[str, str] = {"watchbill": "", "watchbill/*": "", "*/watchbill/*": ""}
TRIAL_SECONDS = 20.0
#: What a root container keeps (numbers of linux/capability.h): the usual default without devices and raw sockets,
#: which this node has nothing to shield from.
DEFAULT_CAPABILITIES = {
    "CHOWN": 0, "DAC_OVERRIDE": 1, "FOWNER": 3, "FSETID": 4, "KILL": 5, "SETGID": 6, "SETUID": 7, "SETPCAP": 8,
    "NET_BIND_SERVICE": 10, "SYS_CHROOT": 18, "AUDIT_WRITE": 29, "SETFCAP": 31,
}  # fmt: skip
DESCRIPTION = {
    Level.NAMESPACES: "containers are apart: own mount and pid namespace, own user",
    Level.USER_NAMESPACES: "containers are apart: own mount and pid namespace in a user namespace",
    Level.PROCESSES: "containers are plain processes of one user: not isolated from each other, so that one can read "
    "the Secrets of all, nor from this machine",
}


class ImageUnknown(Exception):
    """No local program stands for the image: the pod waits until it is changed."""


class SpecRefused(Exception):
    """The container's spec cannot be carried out on this node: the pod waits until it is changed."""


def parse_image_name(image: str) -> str:
    """An image's name without tag and digest."""
    return re.sub(r"(:[^/:@]*)?(@.*)?$", "", image)


def build_argv(container: Json, images: Mapping[str, str], expand: Mapping[str, str]) -> tuple[str, ...]:
    """The program that a container means. `images` maps name patterns to the words that go before its command.

    Raises ImageUnknown or SpecRefused, each with a sentence for the pod's author.
    """
    image = container.get("image") or ""
    name = parse_image_name(image)
    prefix = next((images[pattern] for pattern in images if fnmatch.fnmatchcase(name, pattern)), None)
    if prefix is None:
        raise ImageUnknown(
            f'image "{image}" cannot be pulled: this node runs local programs instead of images, and none stands for '
            "that name (start the node with --image NAME=PROGRAM to give it one)"
        )
    words = [*(container.get("command") or ()), *(container.get("args") or ())]
    argv = (*shlex.split(prefix), *(expand_references(word, expand) for word in words))
    if not argv:
        raise SpecRefused(f"no command specified for container {container['name']}")
    return argv


def build_identity(container: Json, pod: Json) -> Identity:
    """User, groups and capabilities by the two securityContexts. SpecRefused for root where runAsNonRoot is set."""
    whole = pod["spec"].get("securityContext") or {}
    context = {**whole, **(container.get("securityContext") or {})}
    uid = context.get("runAsUser", 0)
    if context.get("runAsNonRoot") and uid == 0:
        raise SpecRefused("container has runAsNonRoot and image will run as root")
    group = whole.get("fsGroup")
    groups = (*(whole.get("supplementalGroups") or ()), *(() if group is None else (group,)))
    wanted = context.get("capabilities") or {}
    dropped = {str(name).removeprefix("CAP_") for name in wanted.get("drop") or ()}
    kept = {} if "ALL" in dropped else {k: v for k, v in DEFAULT_CAPABILITIES.items() if k not in dropped}
    kept |= {k: v for k, v in DEFAULT_CAPABILITIES.items() if k in (wanted.get("add") or ())}
    return Identity(uid, context.get("runAsGroup", 0), groups, tuple(sorted(kept.values())))


def build_root(container: Json, pod: Json, scratch: Path, hidden: Sequence[str]) -> Root:
    """The root directory for a container with namespaces."""
    readable, links = python_paths()
    read_only = bool((container.get("securityContext") or {}).get("readOnlyRootFilesystem"))
    hostname = pod["spec"].get("hostname") or pod["metadata"]["name"][:63]
    return Root(str(scratch), readable, links, tuple(hidden), read_only, hostname)


def python_paths() -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
    """What the node's own Python needs: directories, and the symbolic links from its name to its program."""
    here = os.getcwd()  # `python -m` puts it first in sys.path, though nobody meant to show it
    wanted = [sys.prefix, sys.base_prefix, sys.exec_prefix, *(path for path in sys.path if path and path != here)]
    places = {os.path.abspath(path) for path in wanted} | {os.path.realpath(path) for path in wanted}
    ordered = sorted(path for path in places if os.path.exists(path) and path != "/")
    tops = [path for path in ordered if not any(path.startswith(other + "/") for other in ordered if other != path)]
    links, here = [], sys.executable
    while os.path.islink(here):
        target = os.readlink(here)
        if not any(here.startswith(top + "/") for top in (*tops, "/usr", "/bin")):
            links.append((here, target))
        here = os.path.normpath(os.path.join(os.path.dirname(here), target))
    return tuple(tops), tuple(links)


def rewrite_paths(text: str, mounts: Sequence[Mount]) -> str:
    """Replace each path below a mountPath by the path behind it, longest mountPath first.

    A path begins where no letter, digit, dot, dash or slash stands before it and ends at a slash or the like, so
    `--in=/data/x:/data/y` is rewritten twice and `http://host/data` or `/database` not at all.
    """
    if not mounts:
        return text
    behind = {mount.target: f"{plain_path(mount.source)}/{mount.subpath}".rstrip("/") for mount in mounts}
    targets = "|".join(re.escape(target) for target in sorted(behind, key=len, reverse=True))
    return re.sub(rf"(?<![\w./-])({targets})(?=/|[^\w.-]|$)", lambda match: behind[match[1]], text)


def rewrite_launch(launch: Launch, base: Mapping[str, str], home: Path) -> Launch:
    """The same launch for plain processes: no mounts, paths rewritten, working below `home` by default.

    Entries of the environment that are `base`'s are this machine's own paths and stay, even where they lie below a
    mountPath, as those of a checkout below /tmp do.
    """

    def moved(text: str) -> str:
        return rewrite_paths(text, launch.mounts)

    environment = {k: v if v == base.get(k) else moved(v) for k, v in launch.environment.items()}
    if moved("/tmp") != "/tmp":  # noqa: S108 - a mountPath
        environment.setdefault("TMPDIR", moved("/tmp"))  # noqa: S108
    directory = moved(launch.directory) if launch.directory != "/" else str(home)
    return replace(launch, argv=tuple(map(moved, launch.argv)), environment=environment, directory=directory)


_links: set[str] = set()  #: what plain_path made, to be removed when no container can use it any more


def remove_links() -> None:
    """Remove the links that `plain_path` made."""
    for link in _links:
        with contextlib.suppress(OSError):
            os.unlink(link)
    _links.clear()


def plain_path(path: str) -> str:
    """A name for `path` that a shell takes as one word: itself, or one through a link in the temporary directory.

    The link stands for the deepest directory whose own name is no plain word, so one serves all that lies below it.
    Raises OSError if that link is there and leads elsewhere.
    """
    parts = path.split("/")
    odd = [number for number, part in enumerate(parts) if not re.fullmatch(r"[\w.@%+=:,-]*", part)]
    if not odd:
        return path
    top = "/".join(parts[: odd[-1] + 1])
    link = f"{tempfile.gettempdir()}/watchbill-{os.getuid()}-{hashlib.sha256(os.fsencode(top)).hexdigest()[:16]}"
    with contextlib.suppress(FileExistsError):
        os.symlink(top, link)
    if os.readlink(link) != top or os.lstat(link).st_uid != os.getuid():
        raise OSError(f"{link} is not the link that this node made: remove it")
    _links.add(link)
    return "/".join((link, *parts[odd[-1] + 1 :]))


async def choose_level(launcher: Launcher, wanted: str, scratch: Path) -> Level:
    """The level named by `wanted`, or for `auto` the best one in which a trial container runs here.

    Raises SpecRefused if a level was asked for by name and does not work.
    """
    failure = ""
    for level in Level if wanted == "auto" else [Level(wanted)]:
        if level is Level.PROCESSES or not (failure := await _try_level(launcher, level, scratch)):
            return level
    raise SpecRefused(f"isolation {wanted} does not work on this machine: {failure}")


async def _try_level(launcher: Launcher, level: Level, scratch: Path) -> str:
    """Run the node's own Python as another user at `level`; empty if it worked, else why not."""
    os.makedirs(scratch, exist_ok=True)
    readable, links = python_paths()
    root = Root(str(scratch), readable, links, read_only=True)
    program = (sys.executable, "-c", "import os, sys; sys.exit(os.path.exists('/proc/1/cmdline') - 1)")
    launch = Launch(program, {"PATH": os.defpath}, "/", level, identity=Identity(10001, 10001), root=root)
    try:
        container = launcher.start(launch, *(os.open(os.devnull, os.O_WRONLY) for _ in range(2)))
        await container.started
        code = await asyncio.wait_for(asyncio.shield(container.ended), TRIAL_SECONDS)
    except (StartError, TimeoutError) as error:
        return str(error) or "the trial container did not end"
    return "" if code == 0 else f"the trial container ended with exit code {code}"
