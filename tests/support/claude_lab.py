"""A real agent process whose attempts are sessions of the real Claude Code, against the stub of the model's API.

The test plays operator and broker: it delivers `assign` and opens the attempt's socket, on which the stub plays the
scenario that the test chose. Settings that shorten retries and timeouts are those that a user has.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from support.agent_process import AgentProcess, is_alive, read_pid
from support.model_stub import ModelStub, Received
from support.waiting import PATIENCE_SECONDS, wait_for
from watchbill_agent import process_group
from watchbill_coordination.core.messages import Finished
from watchbill_coordination.core.specs import TaskUid
from watchbill_coordination.storage.layout import transcript_file

MODEL = "claude-sonnet-5-5"
SHORT = {"CLAUDE_CODE_MAX_RETRIES": "0", "CLAUDE_BYTE_STREAM_IDLE_TIMEOUT_MS": "10000"}


class ClaudeLab:
    """An agent, its broker's sockets, and the model behind them."""

    def __init__(
        self,
        root: Path,
        stub: ModelStub,
        *,
        role: str = "green",
        claude: Mapping[str, Any] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """`claude` adds to WATCHBILL_CLAUDE, `environment` to that of the agent's process."""
        self.stub = stub
        self.sockets = Path(tempfile.mkdtemp(prefix="wb-"))
        settings = {"model": MODEL, **(claude or {})}
        variables = {
            "WATCHBILL_RUNNER": "claude",
            "WATCHBILL_ROLE": role,
            "WATCHBILL_CLAUDE": json.dumps(settings),
            "WATCHBILL_SOCKETS": str(self.sockets),
        }
        self.agent = AgentProcess(root, SHORT | variables | (environment or {}))
        self.work = self.agent.workspace / "work"

    def __enter__(self) -> ClaudeLab:
        self.agent.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.agent.close()
        shutil.rmtree(self.sockets, ignore_errors=True)

    def open_socket(self, task: str, scenario: str, attempt: int = 1) -> str:
        """Let the model play a scenario for an attempt; returns the name of its run."""
        run = f"{task}-{attempt}"
        self.stub.listen(self.sockets / f"{run}.sock", scenario, run)
        return run

    def begin(self, scenario: str, *, task: str = "", attempt: int = 1, **fields: Any) -> str:
        """Assign an attempt that the model plays a scenario for; returns the task's uid."""
        task = task or str(uuid.uuid4())
        self.open_socket(task, scenario, attempt)
        self.agent.assign(task, attempt=attempt, **({"prompt": "Do it."} | fields))
        return task

    def end(self, task: str, attempt: int = 1) -> Finished:
        """Wait for the end of an attempt."""
        return self.agent.expect(Finished, lambda m: (m.task, m.attempt) == (task, attempt))

    def run(self, scenario: str, *, task: str = "", attempt: int = 1, **fields: Any) -> Finished:
        """Run an attempt to its end."""
        return self.end(self.begin(scenario, task=task, attempt=attempt, **fields), attempt)

    def requests(self, finished: Finished) -> list[Received]:
        """What the model was asked in an attempt."""
        return self.stub.requests(f"{finished.task}-{finished.attempt}")

    def transcript(self, task: str, attempt: int = 1) -> list[dict[str, Any]]:
        """The lines of an attempt's transcript so far."""
        path = self.agent.workspace / "state" / "transcripts" / transcript_file(TaskUid(task), attempt)
        return [json.loads(line) for line in path.read_text().splitlines()]

    def wait_for_request(self, task: str, count: int = 1, attempt: int = 1) -> list[Received]:
        """Wait until the model was asked so many times."""
        return self.stub.wait_for_requests(f"{task}-{attempt}", count, PATIENCE_SECONDS)

    def read_pid(self, task: str) -> int:
        """Wait until a command has written its pid into the file `pid` of the working folder."""
        return read_pid(self.folder(task) / "pid", PATIENCE_SECONDS)

    def find_running(self) -> set[int]:
        """The processes below the agent that live."""
        return {pid for pid in process_group.list_descendants(self.agent.agent_pid) if is_alive(pid)}

    def find_program(self) -> int:
        """Wait for Claude Code and return its pid."""

        def find() -> int:
            children = process_group.list_children(self.agent.agent_pid)
            return next((pid for pid in children if _is_claude_code(pid)), 0)

        return wait_for(find, "a process of Claude Code", PATIENCE_SECONDS, every=0.01)

    def folder(self, task: str, attempt: int = 1) -> Path:
        """Working folder of an attempt."""
        return self.work / task / f"attempt-{attempt}"


def _is_claude_code(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/exe").readlink().name == "claude"
    except OSError:
        return False
