"""The surroundings of one session: its folders, its transcript, its way to the model.

Owns what is made before a session and put away after it. Invariant: a session finds its configuration, home and
temporary folder empty, or as the session left them that it continues; the temporary folder is gone when it is over.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import uuid
from dataclasses import dataclass
from pathlib import Path

from watchbill_agent.claude.broker_report import SocketFolder
from watchbill_agent.claude.environment import Homes, build_cli_environment
from watchbill_agent.claude.prompt import build_continuation, build_prompt
from watchbill_agent.claude.redaction import Redactor, find_secrets
from watchbill_agent.claude.resume import clear_folder, find_session, move_work
from watchbill_agent.claude.roles import build_system_prompt
from watchbill_agent.claude.settings import ClaudeSettings
from watchbill_agent.claude.transcript import Record, Transcript, open_transcript
from watchbill_agent.outcome import SUCCEEDED, Outcome
from watchbill_agent.runners import Order, StopRequest
from watchbill_agent.settings import Settings
from watchbill_agent.tree_removal import remove_tree
from watchbill_coordination.storage.layout import transcript_file, work_directory

CONFIG, HOME, SYSTEM_PROMPT = "claude", "home", "role.md"
SOCKET_SECONDS = 30.0  #: that a broker may take to open an attempt's socket
LOOK_SECONDS = 0.005


class SocketMissing(Exception):
    """The broker opened no socket for this attempt."""


@dataclass(slots=True, kw_only=True)
class Attempt:
    """One attempt, ready for its session."""

    settings: Settings
    claude: ClaudeSettings
    order: Order
    homes: Homes
    session: str  #: id of the session
    former: Path | None  #: working folder of the attempt that this one continues
    former_cost_usd: float  #: of the session that is continued, as Claude Code counts on from it
    redactor: Redactor
    transcript: Transcript
    sockets: SocketFolder | None  #: None: there is no broker

    @property
    def socket(self) -> str:
        """Path of the broker's socket; empty without a broker."""
        assign = self.order.assign
        return self.sockets.find(f"{assign.task}-{assign.attempt}.sock") if self.sockets else ""

    def begin_anew(self) -> None:
        """Give up the session that was to be continued."""
        self.session, self.former, self.former_cost_usd = str(uuid.uuid4()), None, 0.0
        self.tell({"kind": "note", "text": "the former session could not be continued: a new one begins"})

    def build_environment(self) -> dict[str, str]:
        """Return the environment of Claude Code."""
        return build_cli_environment(self.order.environment, self.claude, self.homes, socket=self.socket)

    def build_prompt(self) -> str:
        """Return what the session is told first."""
        if self.former is not None:
            return build_continuation(self.order.assign, self.order.directory, self.former)
        return build_prompt(self.settings, self.order.assign, self.order.directory)

    def write_system_prompt(self) -> Path:
        """Write the role's text into a file and return its path. Raises OSError."""
        path = self.homes.config / SYSTEM_PROMPT
        path.write_text(build_system_prompt(self.settings.role, self.claude.system_prompt), encoding="utf-8")
        return path

    async def wait_for_socket(self, stop: StopRequest, seconds: float) -> None:
        """Wait until the broker listens, or the attempt is to end, or its time is up. Raises SocketMissing."""
        if self.sockets is None:
            return
        loop = asyncio.get_running_loop()
        began = loop.time()
        while not self._can_be_reached() and not stop.reason and loop.time() - began < seconds:
            if loop.time() - began > SOCKET_SECONDS:
                raise SocketMissing
            await asyncio.sleep(LOOK_SECONDS)

    def _can_be_reached(self) -> bool:
        return os.path.exists(self.socket)

    def tell(self, record: Record) -> None:
        """Write a line of the transcript."""
        self.transcript.write(record)

    def close(self, outcome: Outcome, *, cost_usd: float | None, denied: int) -> None:
        """Write the transcript's last line and put away what the session needed."""
        last = {
            "kind": "result",
            "outcome": outcome.outcome,
            "reason": outcome.reason,
            "message": outcome.message,
            "turns": outcome.turns,
            "seconds": outcome.seconds,
            "costUSD": cost_usd,
            "denied": denied,
        }
        self.transcript.close(last | ({"text": outcome.result} if outcome.outcome == SUCCEEDED else {}))
        remove_tree(self.homes.temporary)
        if self.sockets is not None:
            self.sockets.close()


def prepare_attempt(settings: Settings, claude: ClaudeSettings, order: Order) -> Attempt:
    """Make the folders of a session and open its transcript. Raises OSError."""
    assign, folder = order.assign, order.directory.parent
    config, home = folder / CONFIG, folder / HOME
    continued = find_session(folder, config, assign)
    former = settings.work / work_directory(assign.task, assign.attempt - 1) if continued else None
    clear_folder(config, keep=("projects",) if continued else ())
    if former is None:
        clear_folder(home)
    else:
        move_work(former, order.directory)
    temporary = Path(tempfile.mkdtemp(prefix="wb-", dir=order.environment.get("TMPDIR") or "/tmp"))  # noqa: S108
    sockets = SocketFolder(settings.sockets) if settings.sockets is not None else None
    redactor = Redactor(find_secrets(order.environment))
    fd = open_transcript(settings.state, transcript_file(assign.task, assign.attempt))
    attempt = Attempt(
        settings=settings,
        claude=claude,
        order=order,
        homes=Homes(config=config, home=home, temporary=temporary),
        session=continued.session if continued else str(uuid.uuid4()),
        former_cost_usd=continued.cost_usd if continued else 0.0,
        former=former,
        redactor=redactor,
        transcript=Transcript(fd, redactor),
        sockets=sockets,
    )
    attempt.tell(
        {
            "kind": "task",
            "task": assign.name,
            "attempt": assign.attempt,
            "replica": settings.replica,
            "role": settings.role,
            "continued": former is not None,
            "prompt": assign.prompt,
        }
    )
    return attempt
