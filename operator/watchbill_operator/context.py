"""Shared context on the volume: making it what the ConfigMaps offer.

Owns the files and folders below shared-context/ that came from ConfigMaps, and the list of them, by which it knows
after a crash what it may remove. Invariants: a path is whole before it is published, and withdrawn in the log before it
is removed; the operator's own project-state.md and results/, and files that somebody put there by hand, are never
removed. `plan_context` is pure, `SharedContext.settle` blocks.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from watchbill_coordination.core.commands import Command, PublishContext, WithdrawContext
from watchbill_coordination.storage.atomic import sync_directory, write_atomic
from watchbill_coordination.storage.layout import Layout
from watchbill_operator.conditions import Finding
from watchbill_operator.context_shelf import ContextShelf, Folder, Offer, join_parts
from watchbill_operator.tree_removal import remove_tree
from watchbill_operator.unpacking import TEMPORARY, ArchiveRefusedError, unpack_archive

LIST_FILE = "shared-context.json"  #: below orchestration/: the paths that were put there


@dataclass(frozen=True, slots=True)
class ContextPlan:
    """What differs between offer, log and volume."""

    write: tuple[str, ...] = ()  #: files to write, then to publish
    unpack: tuple[str, ...] = ()  #: folders to unpack, then to publish
    withdraw: tuple[str, ...] = ()  #: to withdraw in the log
    remove: tuple[str, ...] = ()  #: withdrawn before: to remove from the volume


@dataclass(frozen=True, slots=True)
class Settled:
    """What came of one call. Commands are to be committed; then call again, if there were any."""

    commands: tuple[Command, ...] = ()
    findings: Mapping[str, tuple[Finding, ...]] = field(default_factory=dict)  #: by ConfigMap
    refused: Mapping[str, Finding] = field(default_factory=dict)  #: folders that are not published, by path


def plan_context(offer: Offer, published: Mapping[str, str], present: Iterable[str], *, listed: bool) -> ContextPlan:
    """Compare what is offered with what the log calls published and what lies on the volume (`present`).

    `listed`: whether all ConfigMaps were seen; before that nothing counts as gone.
    """
    offered = offer.files.keys() | offer.folders.keys()
    write = [path for path, content in offer.files.items() if published.get(path) != digest_of(content)]
    whole = {path: folder for path, folder in offer.folders.items() if folder.parts is not None}
    unpack = [path for path, folder in whole.items() if published.get(path) != folder.digest]
    gone = sorted(path for path in published if path not in offered) if listed else []
    stale = sorted(path for path in present if path not in offered and path not in published) if listed else []
    return ContextPlan(tuple(write), tuple(unpack), tuple(gone), tuple(stale))


def digest_of(content: bytes) -> str:
    """SHA-256 in hex, as events carry it."""
    return hashlib.sha256(content).hexdigest()


class SharedContext:
    """The shelf, and the part of the volume that follows it."""

    def __init__(self, layout: Layout) -> None:
        self.shelf = ContextShelf()
        self._layout = layout
        self._present = _load_list(layout)
        self._stored = frozenset(self._present)  #: as the list on the volume has it
        self._refused: dict[str, tuple[Folder, Finding]] = {}  #: folders that cannot be unpacked, by path

    def settle(self, published: Mapping[str, str], *, listed: bool) -> Settled:
        """Do one round: write and unpack what is new, remove what was withdrawn; return the commands to commit.

        `published` is `State.context`. Blocks. Raises OSError when the volume fails; a later call goes on.
        """
        offer = self.shelf.offer()
        offered = offer.files.keys() | offer.folders.keys()
        there = {path: digest for path, digest in published.items() if path not in offered or self._is_there(path)}
        plan = plan_context(offer, there, self._present, listed=listed)
        self._remember(set(plan.write) | set(plan.unpack))
        commands: list[Command] = [self._write_file(path, offer.files[path]) for path in plan.write]
        for path in plan.unpack:
            commands += self._unpack_folder(path, offer.folders[path])
        commands += [WithdrawContext(path=path) for path in plan.withdraw]
        self._remove(plan.remove)
        for path, folder in offer.folders.items():
            if published.get(path) == folder.digest:
                self.shelf.release(folder.digest)
        refused = {path: finding for path, (_, finding) in self._refused.items() if path in offer.folders}
        return Settled(tuple(commands), self._spread(refused, offer), refused)

    def clear_temporary(self) -> None:
        """Remove what a crash left half unpacked; to be called once, at start."""
        with suppress(FileNotFoundError):
            for entry in self._layout.inputs.iterdir():
                if entry.name.startswith(TEMPORARY):
                    remove_tree(entry)

    def _spread(self, refused: Mapping[str, Finding], offer: Offer) -> dict[str, tuple[Finding, ...]]:
        """All findings by ConfigMap: a refused folder is told of every ConfigMap that has a part of it."""
        findings = dict(offer.findings)
        for path, finding in refused.items():
            for name in self.shelf.holders(offer.folders[path].digest):
                findings[name] = (*findings.get(name, ()), finding)
        return findings

    def _write_file(self, path: str, content: bytes) -> PublishContext:
        self._layout.shared_context.mkdir(parents=True, exist_ok=True)
        target = self._layout.shared_context / path
        write_atomic(target, content)
        target.chmod(0o644)
        return PublishContext(path=path, digest=digest_of(content))

    def _unpack_folder(self, path: str, folder: Folder) -> list[Command]:
        target = self._target(path)
        known = self._refused.pop(path, None)
        if known is not None and known[0] == folder:
            self._refused[path] = known
            return []
        if not target.is_dir():
            refusal = self._try_unpack(path, folder, target)
            if refusal is not None:
                self._refused[path] = (folder, refusal)
                return []
        return [PublishContext(path=path, digest=folder.digest)]

    def _try_unpack(self, path: str, folder: Folder, target: Path) -> Finding | None:
        if folder.digest in self.shelf.unpacked:
            return Finding("FolderMissing", f"{path} has vanished from the volume; put it there again.")
        data = join_parts(folder)
        if isinstance(data, Finding):
            return data
        try:
            unpack_archive(data, target)
            target.parent.chmod(0o755)
            sync_directory(target.parent)
        except ArchiveRefusedError as error:
            return Finding("ArchiveRefused", f"{path} is not offered. {error}")
        return None

    def _remove(self, paths: Iterable[str]) -> None:
        for path in paths:
            remove_tree(self._hide(self._target(path)))
            self._present.discard(path)
            self._refused.pop(path, None)
        self._store_list()

    def _hide(self, target: Path) -> Path:
        """Give it a temporary name first, so that nobody sees half of a folder."""
        hidden = target.with_name(f"{TEMPORARY}gone-{target.name}")
        remove_tree(hidden)
        with suppress(FileNotFoundError):
            target.rename(hidden)
        return hidden

    def _is_there(self, path: str) -> bool:
        return self._target(path).exists()

    def _target(self, path: str) -> Path:
        return self._layout.shared_context / path

    def _remember(self, paths: set[str]) -> None:
        if paths - self._present:
            self._present |= paths
            self._store_list()

    def _store_list(self) -> None:
        if self._stored != self._present:
            content = json.dumps(sorted(self._present), indent=1).encode()
            write_atomic(self._layout.orchestration / LIST_FILE, content, mode=0o600)
            self._stored = frozenset(self._present)


def _load_list(layout: Layout) -> set[str]:
    """The paths that were put there; a list that cannot be read is an empty one: then nothing is removed."""
    try:
        paths = json.loads((layout.orchestration / LIST_FILE).read_bytes())
    except (FileNotFoundError, ValueError):
        return set()
    return {path for path in paths if isinstance(path, str)} if isinstance(paths, list) else set()
