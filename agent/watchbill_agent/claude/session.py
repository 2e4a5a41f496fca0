"""One run of Claude Code, from its start to its end.

Owns the program's life: start, messages, limits, the polite and the impolite end. Invariant: `run` returns within
`interrupt_seconds + exit_seconds + END_SECONDS` of the moment when it should end, whatever Claude Code does, and
then nothing that it started is alive. The prompt's stream stays open until the last message, so that our tools are
served and the session can be interrupted; then it is closed, and Claude Code ends with the exit code that tells whether
its last steps were written. Imports the SDK: imported by a first session alone.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

from claude_agent_sdk import (
    ClaudeAgentOptions,
    ClaudeSDKClient,
    ClaudeSDKError,
    CLIConnectionError,
    Message,
    ProcessError,
    ResultMessage,
    SystemMessage,
)

from watchbill_agent import process_group
from watchbill_agent.claude.classify import Ending, Expired
from watchbill_agent.claude.narration import describe, note
from watchbill_agent.claude.transcript import Record
from watchbill_agent.runners import StopRequest

LOOK_SECONDS = 0.5  #: between two looks at the limits
MAX_STDERR_LINES, MAX_STDERR_LINE = 40, 500
MAX_STDERR_SEARCHED = 5000  #: characters of a line that are searched for secrets before it is shortened
NEVER_CONNECTED = (
    "Failed to write",
    "terminated process",
)  #: the program ended before it read a word: its stderr says why

logger = logging.getLogger(__name__)
logging.getLogger("claude_agent_sdk").setLevel(logging.CRITICAL)  # it logs what commands print; the Ending has the rest


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits of our own; those of Claude Code reach hours."""

    start_seconds: float = 55.0  #: until it answers at all; twelve that start at once on two cores take 16
    silence_seconds: float = 1800.0  #: without a message; a long answer or command is silent
    retrying_seconds: float = 300.0  #: that it may try again and again
    patience_seconds: float = 10.0  #: a longer wait for another try is the scheduler's
    interrupt_seconds: float = 3.0  #: for the last message after an interruption
    exit_seconds: float = 2.0  #: for the program's end after that
    closing_seconds: float = 15.0  #: for its end after a last message that came by itself: it writes its last steps


class Session:
    """A session that can be run once."""

    def __init__(self, limits: Limits, tell: Callable[[Record], None], hide: Callable[[str], str]) -> None:
        """`tell` takes the transcript's lines, `hide` redacts."""
        self.ending = Ending()
        self._limits = limits
        self._tell = tell
        self._hide = hide
        self._stderr: deque[str] = deque(maxlen=MAX_STDERR_LINES)
        self._connected = False
        self._is_over = asyncio.Event()  # the last message came
        self._gave_up = asyncio.Event()  # we wait no longer for it to try again
        self._alive_until = 0.0
        self._retrying_since = 0.0

    def hear(self, line: str) -> None:
        """Take a line of the program's stderr."""
        self._stderr.append(self._hide(line[:MAX_STDERR_SEARCHED])[:MAX_STDERR_LINE])

    async def run(self, options: ClaudeAgentOptions, prompt: str, stop: StopRequest, seconds: float) -> Ending:
        """Run it; `seconds` is the task's time. Raises nothing of the SDK's."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        self._alive_until = began + self._limits.start_seconds
        client = ClaudeSDKClient(options)
        pump = loop.create_task(self._pump(client, prompt))
        try:
            await self._supervise(pump, stop, began + seconds)
            if not pump.done() and not self._is_over.is_set():
                await self._interrupt(client, pump)
        finally:
            await self._end(client, pump)
        self.ending.seconds = loop.time() - began
        self.ending.last_words = "\n".join(self._stderr)
        return self.ending

    async def _pump(self, client: ClaudeSDKClient, prompt: str) -> None:
        """Take messages until the program has ended."""
        try:
            await client.connect(self._speak(prompt))
            self._connected = True
            self._live(self._limits.silence_seconds)
            async for message in client.receive_messages():
                self._take(message)
            self.ending.exit_code = 0
        except ProcessError as error:
            self.ending.exit_code = error.exit_code
            self.ending.failure = self._hide(str(error))
        except CLIConnectionError as error:
            text = self._hide(str(error))
            is_early = any(words in text for words in NEVER_CONNECTED)
            if is_early and self._stderr:
                self.ending.exit_code = 1
            self.ending.failure = text
            self.ending.not_started = "" if is_early else text
        except ClaudeSDKError as error:
            self.ending.failure = self._hide(str(error))[:500]
        finally:
            self._is_over.set()

    async def _speak(self, prompt: str) -> AsyncIterator[dict[str, Any]]:
        """Say the prompt, and keep the stream open until the session is over."""
        message = {"role": "user", "content": prompt}
        yield {"type": "user", "message": message, "parent_tool_use_id": None, "session_id": "default"}
        await self._is_over.wait()

    def _take(self, message: Message) -> None:
        """Write down what a message says, and see in it a sign of life."""
        note(message, self.ending)
        for record in describe(message):
            self._tell(record)
        if isinstance(message, SystemMessage) and message.subtype == "api_retry":
            self._consider_retry(message.data.get("retry_delay_ms"))
            return
        self._retrying_since = 0.0
        if self._is_over.is_set():
            return
        self._live(self._limits.silence_seconds)
        if isinstance(message, ResultMessage):
            self._is_over.set()
            self._live(self._limits.closing_seconds)

    def _consider_retry(self, delay: object) -> None:
        """Let it try again, unless that is in vain or takes long."""
        now = asyncio.get_running_loop().time()
        self._retrying_since = self._retrying_since or now
        wait = delay / 1000 if isinstance(delay, int | float) else 0.0
        rejected = self.ending.retry_error == "authentication_failed"
        too_long = now + wait - self._retrying_since > self._limits.retrying_seconds
        if rejected or too_long or wait > self._limits.patience_seconds:
            self._gave_up.set()

    def _live(self, seconds: float) -> None:
        self._alive_until = asyncio.get_running_loop().time() + seconds

    async def _supervise(self, pump: asyncio.Task[None], stop: StopRequest, deadline: float) -> None:
        """Wait until the session has ended or should."""
        loop = asyncio.get_running_loop()
        asked, gave_up = loop.create_task(stop.wait()), loop.create_task(self._gave_up.wait())
        ends: set[asyncio.Task[Any]] = {pump, asked, gave_up}
        try:
            while (left := min(deadline, self._alive_until) - loop.time()) > 0:
                seconds = min(left, LOOK_SECONDS)  # messages may bring the limit nearer
                done, _ = await asyncio.wait(ends, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
                if done:
                    break
        finally:
            asked.cancel()
            gave_up.cancel()
        if pump.done() or self.ending.has_result:
            return
        if asked.done() and not asked.cancelled():
            self.ending.stop_reason = stop.reason
        elif self._gave_up.is_set():
            self.ending.expired = Expired.RETRIES
        elif loop.time() >= deadline:
            self.ending.expired = Expired.DEADLINE
        else:
            self.ending.expired = Expired.SILENCE if self._connected else Expired.START

    async def _interrupt(self, client: ClaudeSDKClient, pump: asyncio.Task[None]) -> None:
        """Ask the session to stop where it is, and give it a moment for its last message."""
        if not self._connected:
            return
        loop = asyncio.get_running_loop()
        until = loop.time() + self._limits.interrupt_seconds
        await _settle(loop.create_task(client.interrupt()), self._limits.interrupt_seconds)
        await asyncio.wait({over := loop.create_task(self._is_over.wait())}, timeout=max(0.0, until - loop.time()))
        over.cancel()
        await asyncio.wait({pump}, timeout=self._limits.exit_seconds)

    async def _end(self, client: ClaudeSDKClient, pump: asyncio.Task[None]) -> None:
        """End the program and all that it left behind; a program that ended by itself makes this short."""
        if not pump.done():
            process_group.kill(process_group.list_descendants(os.getpid()), signal.SIGKILL)
        self._is_over.set()
        pump.cancel()
        if error := await _settle(pump, process_group.END_SECONDS):
            self.ending.failure = self._hide(f"{type(error).__name__}: {error}")[:500]
        await _settle(asyncio.get_running_loop().create_task(client.disconnect()), process_group.END_SECONDS)
        await end_all_processes()


async def _settle(task: asyncio.Task[Any], seconds: float) -> BaseException | None:
    """Wait for a task of the SDK, cancel it when it takes longer; return what it raised: of any type, there."""
    await asyncio.wait({task}, timeout=seconds)
    if not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=seconds)
    return None if not task.done() or task.cancelled() else task.exception()


async def end_all_processes() -> None:
    """Kill whatever is left below this process: an agent of Claude Code runs one attempt at a time."""
    rounds = int(process_group.END_SECONDS / process_group.LOOK_SECONDS)
    for _ in range(rounds):
        if not (left := process_group.with_descendants(process_group.find_orphans(()))):
            return
        process_group.kill(left, signal.SIGKILL)
        await asyncio.sleep(process_group.LOOK_SECONDS)
    logger.error("processes of the attempt do not end")
