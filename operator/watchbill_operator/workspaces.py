"""The folders of replicas on the volume: made before the pod, removed after the Agent's end.

Owns `agent-workspaces/<replica>/` and what is kept of tasks that are gone. Invariants: a workspace belongs to the
operator, so that no agent can put a link in its place; the operator writes to `inbox/` alone and only ever removes
elsewhere; what an agent's uid protects is left and reported. `plan_` functions are pure, the others block.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress

from watchbill_coordination.codec.messages import is_task_uid
from watchbill_coordination.core.specs import ReplicaName, TaskUid
from watchbill_coordination.core.state import State
from watchbill_coordination.storage.hostile import HostileFileError, list_names, open_directory
from watchbill_coordination.storage.layout import Layout
from watchbill_operator.conditions import Finding
from watchbill_operator.tree_removal import remove_tree

PART_MODES = {"inbox": 0o755, "outbox": 0o1777, "work": 0o1777, "state": 0o1777, "grants": 0o755, "ledger": 0o1777}
FOLDER_MODE = 0o755
CLEANUP_LIMIT = 256  #: tasks in one message
LISTING_LIMIT = 10_000  #: names looked at in one folder


def make_workspace(layout: Layout, replica: ReplicaName) -> None:
    """Make the replica's folders, whatever is there of them already. Raises OSError."""
    for folder in (layout.root, layout.workspaces, layout.workspace(replica), layout.shared_context):
        _make_folder(folder, FOLDER_MODE)
    for part, mode in PART_MODES.items():
        _make_folder(layout.workspace(replica) / part, mode)


def _make_folder(path: os.PathLike[str], mode: int) -> None:
    """Make a folder and give it that mode whatever the umask; one that is another user's is taken as it is."""
    with suppress(FileExistsError):
        os.mkdir(path, mode)
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if os.fstat(fd).st_mode & 0o7777 != mode:
            with suppress(PermissionError):
                os.fchmod(fd, mode)
    finally:
        os.close(fd)


def list_workspaces(layout: Layout) -> list[ReplicaName]:
    """The replicas that have a workspace, in the order of their names."""
    with suppress(FileNotFoundError), os.scandir(layout.workspaces) as entries:
        return sorted(ReplicaName(entry.name) for entry in entries if entry.is_dir(follow_symlinks=False))
    return []


def plan_workspace_removal(present: Iterable[ReplicaName], state: State, pods: Iterable[str]) -> list[ReplicaName]:
    """Of the workspaces that are present, those that nobody needs: no Agent, no living replica, no pod of that name."""
    taken = set(pods) | {replica for replica, known in state.replicas.items() if known.attempts}
    agents = {agent for agent, known in state.agents.items() if not known.removed}
    return [name for name in present if name not in taken and name.rpartition("-")[0] not in agents]


def remove_workspace(layout: Layout, replica: ReplicaName) -> Finding | None:
    """Remove a replica's folders as far as permitted; the finding says what is left."""
    removal = remove_tree(layout.workspace(replica))
    if not removal.left:
        return None
    text = f"{removal.left} entries below agent-workspaces/{replica} belong to its user and could not be removed."
    return Finding("WorkspaceLeft", text)


def list_work(layout: Layout, replica: ReplicaName) -> list[TaskUid]:
    """The tasks' uids in a replica's work folder, of at most `LISTING_LIMIT` names; what else an agent made stays out.

    One name that cannot be a uid would have the agent refuse the whole message.
    """
    try:
        with open_directory(layout.workspace(replica), ("work",)) as folder:
            return [TaskUid(name) for name in list_names(folder, LISTING_LIMIT) if is_task_uid(name)]
    except HostileFileError:
        return []


def plan_cleanup(present: Iterable[TaskUid], replica: ReplicaName, state: State) -> tuple[TaskUid, ...]:
    """Of the tasks that left work on a replica, those that are gone: what a `cleanup` message to it names."""
    known = state.replicas.get(replica)
    busy = known.attempts if known is not None else {}
    gone = (task for task in present if task not in state.tasks and task not in busy)
    return tuple(sorted(gone)[:CLEANUP_LIMIT])


def list_results(layout: Layout) -> list[TaskUid]:
    """The tasks whose accepted results lie in shared-context."""
    with suppress(FileNotFoundError):
        return [TaskUid(name) for name in os.listdir(layout.results) if not name.startswith(".")]
    return []


def plan_result_removal(present: Iterable[TaskUid], state: State) -> list[TaskUid]:
    """Of the results that are present, those that nobody can ask for: the Task is gone and no other is bound to it."""
    return [task for task in present if task not in state.tasks and task not in state.outcomes]


def remove_results(layout: Layout, tasks: Iterable[TaskUid]) -> None:
    """Remove the accepted results of these tasks."""
    for task in tasks:
        remove_tree(layout.result(task))
