"""Where everything lies on the shared volume.

Owns the names of files and folders below `$WATCHBILL_ROOT`; no other module spells one. Pure path arithmetic: makes,
reads and checks nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from watchbill_coordination.core.specs import ReplicaName, TaskUid

ACTIVE = "event-log.jsonl"
WORKSPACE_PARTS = ("inbox", "outbox", "work", "state", "grants", "ledger")
HEARTBEAT = "heartbeat.json"  #: below a workspace's state/
TRANSCRIPTS = "transcripts"  #: below a workspace's state/: `<task uid>-<attempt>.jsonl`
GRANTS = "grants.json"  #: below a workspace's grants/: which attempts may use the model; read by the broker alone


@dataclass(frozen=True, slots=True)
class Layout:
    """Paths below one root."""

    root: Path

    @property
    def orchestration(self) -> Path:
        """The operator's own; agents do not mount it."""
        return self.root / "orchestration"

    @property
    def active(self) -> Path:
        """The active segment."""
        return self.orchestration / ACTIVE

    @property
    def head(self) -> Path:
        """Last committed place, rewritten after each commit."""
        return self.orchestration / "event-log.head"

    @property
    def segments(self) -> Path:
        """Sealed segments, `<first seq, 20 digits>-<epoch>.jsonl`."""
        return self.orchestration / "segments"

    @property
    def snapshots(self) -> Path:
        """Snapshots: discardable."""
        return self.orchestration / "snapshots"

    @property
    def blobs(self) -> Path:
        """Event data over 64 KiB, named by its SHA-256."""
        return self.orchestration / "blobs"

    @property
    def epochs(self) -> Path:
        """Who may write: files created by link(2), the highest is the fence."""
        return self.orchestration / "epochs"

    @property
    def task_queue(self) -> Path:
        """Projection."""
        return self.orchestration / "task-queue.json"

    @property
    def agent_registry(self) -> Path:
        """Projection."""
        return self.orchestration / "agent-registry.json"

    @property
    def locks(self) -> Path:
        """Projection, one file a lock."""
        return self.orchestration / "locks"

    @property
    def quarantine(self) -> Path:
        """Damaged bytes and malformed messages, never deleted."""
        return self.orchestration / "quarantine"

    @property
    def transcripts(self) -> Path:
        """Transcripts whose workspace is gone, as long as their Tasks are there; agents have theirs in state/."""
        return self.orchestration / TRANSCRIPTS

    @property
    def shared_context(self) -> Path:
        """What agents may read."""
        return self.root / "shared-context"

    @property
    def project_state(self) -> Path:
        """Projection for people and agents."""
        return self.shared_context / "project-state.md"

    @property
    def results(self) -> Path:
        """Accepted results by task uid."""
        return self.shared_context / "results"

    @property
    def inputs(self) -> Path:
        """Unpacked context folders by digest."""
        return self.shared_context / "input"

    @property
    def workspaces(self) -> Path:
        """One folder a replica."""
        return self.root / "agent-workspaces"

    def workspace(self, replica: ReplicaName) -> Path:
        """Folder of one replica: inbox/, outbox/, work/, state/ of its agent, grants/ and ledger/ of its broker."""
        return self.workspaces / replica

    def result(self, task: TaskUid) -> Path:
        """Accepted result of one task."""
        return self.results / task


def transcript_file(task: TaskUid, attempt: int) -> str:
    """Name of an attempt's transcript."""
    return f"{task}-{attempt}.jsonl"


def ledger_file(task: TaskUid, attempt: int) -> str:
    """Name of the broker's account of an attempt, below a workspace's ledger/."""
    return f"{task}-{attempt}.json"


def work_directory(task: TaskUid, attempt: int) -> str:
    """Working directory of an attempt, relative to work/."""
    return f"{task}/attempt-{attempt}"
