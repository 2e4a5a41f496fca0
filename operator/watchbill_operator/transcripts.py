"""Transcripts that outlive the workspace which they were written in.

Owns orchestration/transcripts/: what an Agent's end would take with it is copied there, and kept as long as the Task.
Invariants: what an agent wrote is read as hostile input, within bounds and without following a link; a copy is the
operator's own file, whole or absent; one that is there is never replaced. `plan_` functions are pure, the others block.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from contextlib import suppress

from watchbill_coordination.core.specs import ReplicaName, TaskUid
from watchbill_coordination.core.state import State
from watchbill_coordination.storage.atomic import make_directories, write_atomic
from watchbill_coordination.storage.hostile import HostileFileError, list_names, open_directory, read_start
from watchbill_coordination.storage.layout import TRANSCRIPTS, Layout, transcript_file
from watchbill_operator.ledgers import parse_attempt_name

logger = logging.getLogger(__name__)

SUFFIX = ".jsonl"
SIZE_LIMIT = 20 * 1024 * 1024  #: bytes of one; runtimes end theirs a little earlier
TOTAL_LIMIT = 512 * 1024 * 1024  #: bytes of one workspace that are kept
LISTING_LIMIT = 10_000  #: names looked at in one folder
MODE = 0o600

Attempts = list[tuple[TaskUid, int]]


def list_transcripts(layout: Layout, replica: ReplicaName) -> Attempts:
    """Task and attempt of each transcript in a workspace, at most `LISTING_LIMIT`; other names are left out."""
    try:
        with open_directory(layout.workspace(replica), ("state", TRANSCRIPTS)) as folder:
            return _parse_names(list_names(folder, LISTING_LIMIT))
    except (HostileFileError, OSError):
        return []


def list_kept(layout: Layout) -> Attempts:
    """Task and attempt of each transcript that was kept."""
    with suppress(FileNotFoundError):
        return _parse_names(os.listdir(layout.transcripts))
    return []


def plan_keeping(present: Iterable[tuple[TaskUid, int]], replica: ReplicaName, state: State) -> Attempts:
    """Of the transcripts in a workspace that goes, those whose Task is there and may have had that attempt there."""
    kept = []
    for uid, attempt in sorted(present):
        task = state.tasks.get(uid)
        if task is not None and (attempt < task.attempt or (attempt == task.attempt and task.agent == replica)):
            kept.append((uid, attempt))
    return kept


def plan_forgetting(present: Iterable[tuple[TaskUid, int]], state: State) -> Attempts:
    """Of the transcripts that were kept, those whose Task is gone."""
    return [(task, attempt) for task, attempt in present if task not in state.tasks]


def keep_transcripts(layout: Layout, replica: ReplicaName, attempts: Iterable[tuple[TaskUid, int]]) -> int:
    """Copy these transcripts of a workspace; return how many. Raises OSError when our own side of the volume fails.

    A copy and no rename: the folder is the agent's, and who still has the file open could go on writing to it.
    """
    copied, room = 0, TOTAL_LIMIT
    for task, attempt in attempts:
        target = layout.transcripts / transcript_file(task, attempt)
        if os.path.lexists(target):
            continue
        try:
            with open_directory(layout.workspace(replica), ("state", TRANSCRIPTS)) as folder:
                content = read_start(folder, target.name, min(SIZE_LIMIT, room))
        except HostileFileError as error:
            logger.warning("a transcript of %s is not kept (%s): %s", replica, target.name, error)
            continue
        make_directories(layout.transcripts)
        write_atomic(target, content, mode=MODE)
        copied, room = copied + 1, room - len(content)
    return copied


def forget_transcripts(layout: Layout, attempts: Iterable[tuple[TaskUid, int]]) -> None:
    """Remove kept transcripts, as far as permitted."""
    for task, attempt in attempts:
        with suppress(OSError):
            os.unlink(layout.transcripts / transcript_file(task, attempt))


def _parse_names(names: Iterable[str]) -> Attempts:
    parsed = (parse_attempt_name(name, SUFFIX) for name in names)
    return [attempt for attempt in parsed if attempt is not None]
