"""Projections on disk.

Owns writing and reading the files that are derived from state. Invariant: a file is replaced atomically and only by
the caller that knows its watermark to be durable, so no projection is ever ahead of the log; a file whose content
did not change is left alone. What is not in the state is removed, so the folder of locks holds today's locks alone.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from watchbill_coordination.core.state import State
from watchbill_coordination.projections.agent_registry import build_agent_registry
from watchbill_coordination.projections.locks import build_locks
from watchbill_coordination.projections.project_state import build_project_state
from watchbill_coordination.projections.task_queue import Lines, build_task_queue
from watchbill_coordination.projections.watermark import Watermark
from watchbill_coordination.storage.atomic import make_directories, write_atomic
from watchbill_coordination.storage.layout import Layout


class Projector:
    """Writes projections that changed, or that somebody removed."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._small_seq = -1  #: watermark of the newest registry and locks
        self._queue_seq = -1  #: watermark of the newest queue and project state
        self._lines: Lines = {}
        self._bodies: dict[Path, bytes] = {}  #: of lock files, as they were written last

    def write(self, state: State, watermark: Watermark, *, with_queue: bool) -> None:
        """Write what is older than `watermark`; the queue and the project state only if asked. Raises OSError.

        Locks come before the registry and are removed after it: at the registry's watermark every lock has its file.
        """
        layout = self._layout
        make_directories(layout.locks, layout.shared_context)
        if self._small_seq != watermark.seq or not layout.agent_registry.exists():
            self._write_locks(build_locks(state, watermark))
            write_atomic(layout.agent_registry, build_agent_registry(state, watermark))
            self._remove_locks()
            self._small_seq = watermark.seq
        if with_queue and (self._queue_seq != watermark.seq or not layout.task_queue.exists()):
            write_atomic(layout.task_queue, build_task_queue(state, watermark, self._lines))
            write_atomic(layout.project_state, build_project_state(state, watermark))
            self._queue_seq = watermark.seq

    def _write_locks(self, locks: dict[str, bytes]) -> None:
        """Write each lock; where only the watermark moved, a power cut may have the older file: no sync."""
        bodies = {self._layout.locks / name: content.partition(b"\n")[2] for name, content in locks.items()}
        for name, content in locks.items():
            path = self._layout.locks / name
            write_atomic(path, content, sync=self._bodies.get(path) != bodies[path])
        self._bodies = bodies

    def _remove_locks(self) -> None:
        for name in os.listdir(self._layout.locks):
            if self._layout.locks / name not in self._bodies:
                os.unlink(self._layout.locks / name)


def build_projections(layout: Layout, state: State, watermark: Watermark) -> dict[Path, bytes]:
    """Return every projection of `state` by its path."""
    files = {layout.locks / name: content for name, content in build_locks(state, watermark).items()}
    files[layout.agent_registry] = build_agent_registry(state, watermark)
    files[layout.task_queue] = build_task_queue(state, watermark)
    files[layout.project_state] = build_project_state(state, watermark)
    return files


def list_projections(layout: Layout) -> list[Path]:
    """Return the paths of the projections that are on disk; those that are always there come first."""
    found = [path for path in fixed_projections(layout) if path.exists()]
    with contextlib.suppress(FileNotFoundError):
        found += [layout.locks / name for name in sorted(os.listdir(layout.locks)) if name.endswith(".json")]
    return found


def fixed_projections(layout: Layout) -> tuple[Path, ...]:
    """Return the paths of the projections that every log has."""
    return (layout.task_queue, layout.agent_registry, layout.project_state)
