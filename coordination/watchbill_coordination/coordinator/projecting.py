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


def build_projections(layout: Layout, state: State, watermark: Watermark) -> dict[Path, bytes]:
    """Return every projection of `state` by its path."""
    files = _build_small(layout, state, watermark)
    files[layout.task_queue] = build_task_queue(state, watermark)
    files[layout.project_state] = build_project_state(state, watermark)
    return files


def list_projections(layout: Layout) -> list[Path]:
    """Return the paths of the projections that are on disk."""
    found = [path for path in (layout.task_queue, layout.agent_registry, layout.project_state) if path.exists()]
    with contextlib.suppress(FileNotFoundError):
        found += [layout.locks / name for name in sorted(os.listdir(layout.locks)) if name.endswith(".json")]
    return found


class Projector:
    """Writes projections that changed."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._small_seq = -1  #: watermark of the newest registry and locks
        self._lines: Lines = {}
        self._queue_seq = -1  #: watermark of the newest queue and project state

    def write(self, state: State, watermark: Watermark, *, with_queue: bool) -> None:
        """Write what is older than `watermark`; the queue and the project state only if asked. Raises OSError."""
        layout = self._layout
        make_directories(layout.locks, layout.shared_context)
        if self._small_seq != watermark.seq:
            files = _build_small(layout, state, watermark)
            _replace(files)
            remove_stale_locks(layout, files)
            self._small_seq = watermark.seq
        if with_queue and self._queue_seq != watermark.seq:
            _replace(
                {
                    layout.task_queue: build_task_queue(state, watermark, self._lines),
                    layout.project_state: build_project_state(state, watermark),
                }
            )
            self._queue_seq = watermark.seq


def remove_stale_locks(layout: Layout, files: dict[Path, bytes]) -> None:
    """Remove files of locks that nobody holds or wants. Raises OSError."""
    for name in os.listdir(layout.locks):
        if layout.locks / name not in files:
            os.unlink(layout.locks / name)


def _build_small(layout: Layout, state: State, watermark: Watermark) -> dict[Path, bytes]:
    files = {layout.locks / name: content for name, content in build_locks(state, watermark).items()}
    files[layout.agent_registry] = build_agent_registry(state, watermark)
    return files


def _replace(files: dict[Path, bytes]) -> None:
    for path, content in files.items():
        write_atomic(path, content)
