"""Runs a session of Claude Code for each attempt.

Owns the order of the steps around a session: folders, transcript, environment, the broker's socket, the session, its
classification, its result. Invariant: as for every `Runner`, and each session ends with a transcript whose last line
says how. The SDK is loaded by the first attempt, in a thread, so that signs of life go on meanwhile.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import importlib.util
import logging
import os
import shutil
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from watchbill_agent.claude.attempt import Attempt, SocketMissing, prepare_attempt
from watchbill_agent.claude.broker_report import BrokerReport, load_report
from watchbill_agent.claude.classify import Ending, Expired, classify_ending
from watchbill_agent.claude.result import write_result
from watchbill_agent.claude.resume import RUNNING, STOPPED, Note, write_note
from watchbill_agent.claude.settings import ClaudeSettings
from watchbill_agent.outcome import CANCELLED, FAILED, SUCCEEDED, Outcome
from watchbill_agent.runners import Order, StopRequest
from watchbill_agent.settings import Settings, SettingsError

if TYPE_CHECKING:
    from claude_agent_sdk import ClaudeAgentOptions

    from watchbill_agent.claude.session import Limits, Session
    from watchbill_coordination.core.messages import Assign

SDK = "claude_agent_sdk"
TIDY_SECONDS = 1.0  #: after an attempt, when its end was reported: memory is given back to the system

logger = logging.getLogger(__name__)


def find_program() -> Path:
    """Return Claude Code: the one that the SDK brings, or one on the PATH. Raises SettingsError."""
    found = importlib.util.find_spec(SDK)
    if found is None or not found.submodule_search_locations:
        raise SettingsError(
            "the runner claude needs the Claude Agent SDK, which is not installed: pip install 'watchbill[claude]'"
        )
    bundled = Path(found.submodule_search_locations[0]) / "_bundled" / "claude"
    if os.access(bundled, os.X_OK):
        return bundled
    if other := shutil.which("claude"):
        return Path(other)
    raise SettingsError("the Claude Agent SDK brought no Claude Code, and there is no claude on the PATH")


class ClaudeRunner:
    """A `Runner` whose attempts are sessions of Claude Code. One attempt at a time."""

    def __init__(
        self, settings: Settings, claude: ClaudeSettings, program: Path, *, limits: Limits | None = None
    ) -> None:
        """`limits` instead of the usual ones."""
        self._settings = settings
        self._claude = claude
        self._program = program
        self._limits = limits

    async def run(self, order: Order, stop: StopRequest) -> Outcome:
        """Run a session to its end; see `Runner`."""
        if refusal := find_refusal(order.assign):
            return refusal
        try:
            attempt = await asyncio.to_thread(prepare_attempt, self._settings, self._claude, order)
        except OSError as error:
            return _workspace_failed(error)
        ending, report = Ending(), None
        outcome = Outcome(outcome=FAILED, reason="RunnerFailed", message="the runner failed; the agent's log says why")
        try:
            try:
                ending = await self._converse_until_known(attempt, stop)
                report = None if ending.stop_reason else await load_report(attempt.socket)
                outcome = self._judge(attempt, ending, report)
            except SocketMissing:
                outcome = Outcome(outcome=FAILED, reason="BrokerMissing", message="the broker opened no socket in time")
            except OSError as error:
                outcome = _workspace_failed(error)
        finally:
            cost = report.cost_usd if report else outcome.usage.get("costUSD")
            await asyncio.to_thread(partial(attempt.close, outcome, cost_usd=cost, denied=ending.denied))
            asyncio.get_running_loop().call_later(TIDY_SECONDS, release_memory)
        return outcome

    async def _converse_until_known(self, attempt: Attempt, stop: StopRequest) -> Ending:
        """Run the session; one that cannot be continued is begun anew."""
        ending = await self._converse(attempt, stop)
        if attempt.former is not None and ending.never_began:
            attempt.begin_anew()
            ending = await self._converse(attempt, stop)
        return ending

    async def _converse(self, attempt: Attempt, stop: StopRequest) -> Ending:
        """Run one session. Raises SocketMissing or OSError."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + attempt.order.timeout_seconds
        await _load(stop, attempt.order.timeout_seconds)
        await attempt.wait_for_socket(stop, deadline - loop.time())
        if stop.reason or loop.time() >= deadline:
            return Ending(stop_reason=stop.reason, expired=Expired.DEADLINE)
        from watchbill_agent.claude.options import SetupError

        session = self._build_session(attempt)
        try:
            options = self._build_options(attempt, session)
        except SetupError as error:
            return Ending(not_started=str(error))
        _note(attempt, RUNNING)
        return await session.run(options, attempt.build_prompt(), stop, deadline - loop.time())

    def _build_session(self, attempt: Attempt) -> Session:
        """Return a session whose polite end fits into the grace period."""
        from watchbill_agent.claude.session import Limits, Session

        limits, grace = self._limits or Limits(), attempt.order.grace_seconds
        limits = replace(
            limits,
            interrupt_seconds=min(limits.interrupt_seconds, grace * 0.6),
            exit_seconds=min(limits.exit_seconds, grace * 0.3),
        )
        return Session(limits, attempt.tell, attempt.redactor.hide)

    def _build_options(self, attempt: Attempt, session: Session) -> ClaudeAgentOptions:
        """Return what the SDK is told. Raises OSError or SetupError."""
        from watchbill_agent.claude.options import Setup, build_options
        from watchbill_agent.claude.tools import SERVER, build_tools

        order = attempt.order
        server, names = build_tools(order)
        setup = Setup(
            settings=self._claude,
            role=self._settings.role,
            directory=order.directory,
            readable=(self._settings.context,),
            environment=attempt.build_environment(),
            system_prompt=attempt.write_system_prompt(),
            servers={SERVER: server},
            server_tools=names,
            output_schema=order.assign.output_schema,
            budget_usd=order.assign.budget_usd,
            session=attempt.session,
            is_continued=attempt.former is not None,
            program=self._program,
        )
        return build_options(setup, session.hear)

    def _judge(self, attempt: Attempt, ending: Ending, report: BrokerReport | None) -> Outcome:
        """Classify the end, write the result, and note whether another attempt may go on from here."""
        order = attempt.order
        wants_schema = bool(order.assign.output_schema)
        ending.text = attempt.redactor.hide_known(ending.text)  # before it is shortened
        ending.errors = tuple(map(attempt.redactor.hide, ending.errors))
        outcome = classify_ending(ending, report, wants_schema=wants_schema, timeout=order.timeout_seconds)
        outcome = replace(outcome, message=attempt.redactor.hide(outcome.message))
        if outcome.outcome == SUCCEEDED:
            try:
                write_result(order.directory, ending.text, ending.structured, attempt.redactor)
            except OSError as error:
                text = f"the result could not be written: {error.strerror}"
                outcome = replace(outcome, outcome=FAILED, reason="ResultNotWritten", message=text)
        _note(attempt, STOPPED if outcome.outcome == CANCELLED else outcome.reason, ending.cost_usd)
        return outcome if self._claude.broker else replace(outcome, usage=count_usage(attempt, ending))


def find_refusal(assign: Assign) -> Outcome | None:
    """Return the outcome of an attempt that no session is begun for; None where one may begin."""
    if not assign.prompt.strip():
        text = "an Agent with Claude Code needs a prompt (spec.prompt), and this Task has none"
        return Outcome(outcome=FAILED, reason="Misconfigured", message=text, retryable=False)
    if assign.budget_usd is not None and assign.budget_usd <= 0:
        text = "the budget of the task is spent (budget.perTaskUSD)"
        return Outcome(outcome=FAILED, reason="BudgetExceeded", message=text, retryable=False)
    return None


async def _load(stop: StopRequest, seconds: float) -> None:
    """Load the SDK, or return without it when the attempt is to end or its time is up."""
    loop = asyncio.get_running_loop()
    loading, asked = loop.create_task(asyncio.to_thread(load_sdk)), loop.create_task(stop.wait())
    await asyncio.wait({loading, asked}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    asked.cancel()
    if loading.done():
        loading.result()


def load_sdk() -> None:
    """Import what is large; only the first time takes long."""
    import watchbill_agent.claude.options
    import watchbill_agent.claude.session
    import watchbill_agent.claude.tools  # noqa: F401 - imported for its effect: it is loaded then


def release_memory() -> None:
    """Give memory that a session used back to the system."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)


def count_usage(attempt: Attempt, ending: Ending) -> Mapping[str, float]:
    """Return what Claude Code itself says that this attempt used; nothing where it ended without a word of that."""
    if not ending.has_result:
        return {}
    return {**ending.usage, "costUSD": round(max(0.0, ending.cost_usd - attempt.former_cost_usd), 6)}


def _note(attempt: Attempt, reason: str, cost_usd: float = 0.0) -> None:
    """Remember the session; what cannot be remembered is not continued."""
    try:
        number, session = attempt.order.assign.attempt, attempt.session
        known = cost_usd or attempt.former_cost_usd
        note = Note(attempt=number, session=session, reason=reason, cost_usd=known)
        write_note(attempt.order.directory.parent, note)
    except OSError as error:
        logger.warning("the session will not be continued: %s", error)


def _workspace_failed(error: OSError) -> Outcome:
    return Outcome(outcome=FAILED, reason="WorkspaceFailed", message=f"the work folder failed: {error}")
