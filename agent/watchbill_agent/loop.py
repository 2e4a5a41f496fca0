"""Observe, decide, act: the agent's main loop.

Owns the flow from the inbox through the lifecycle to runners and outbox. Invariant: what was observed in one turn is
answered in one outbox file, whose `read` covers exactly the inbox files that these answers follow from; `finished` is
written only after its result was synced, unless it holds the result itself; what attempts post follows in its order, a
file a message, after the acceptance of the attempt and before its end. Decides nothing (lifecycle does) and knows no
program (runners do).
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from watchbill_agent.exchange import AttemptExchange
from watchbill_agent.heartbeat import INTERVAL_SECONDS, Heartbeat
from watchbill_agent.lifecycle import (
    AttemptEnded,
    Deliver,
    DrainOverdue,
    Effect,
    Exit,
    InboxRead,
    Key,
    Life,
    Observation,
    RemoveSent,
    RemoveWork,
    Send,
    StartAttempt,
    StartDrainClock,
    StopAttempt,
)
from watchbill_agent.outcome import FAILED, MAX_MESSAGE, SUCCEEDED, Outcome
from watchbill_agent.runners import Runner, StopRequest
from watchbill_agent.settings import Settings
from watchbill_agent.wakeup import Bell
from watchbill_agent.workspace import build_base_environment, is_inline, prepare_order, remove_work, sync_result
from watchbill_coordination.core.messages import Assign, Finished, Message, Progress
from watchbill_coordination.storage.mailbox_agent import InboxReader, OutboxWriter

RESEND_SECONDS = 1.0  #: between two attempts to write to an outbox that takes nothing

T = TypeVar("T")

logger = logging.getLogger(__name__)


class AgentLoop:
    """One life of the agent. All its state is touched by the event loop's thread alone."""

    def __init__(self, settings: Settings, runner: Runner, *, incarnation: str, start: int) -> None:
        self._settings = settings
        self._runner = runner
        self._life = Life(incarnation, settings.slots)
        self._inbox = InboxReader(settings.inbox)
        self._outbox = OutboxWriter(settings.outbox, settings.replica, incarnation, start=start)
        self._heartbeat = Heartbeat(settings.state, incarnation)
        self._bell = Bell(settings.inbox, notify=settings.notify)
        self._base = build_base_environment(os.environ)
        self._observed: deque[Observation] = deque()
        self._stops: dict[Key, StopRequest] = {}
        self._exchanges: dict[Key, AttemptExchange] = {}
        self._posted: deque[tuple[Key, Message]] = deque()  # by attempts, not written yet
        self._tasks: set[asyncio.Task[Any]] = set()  # attempts, and writing that waits for the disk
        self._defect: BaseException | None = None  # in reporting: the process ends, which is noticed
        self._last_words: list[Message] | None = None  # said when all else is written

    def observe(self, observation: Observation) -> None:
        """Take an observation from outside, such as a signal."""
        self._observed.append(observation)
        self._bell.ring()

    async def run(self) -> None:
        """Serve until the life is over. Raises OSError when the mailboxes cannot be used at all."""
        self._outbox.sweep()
        self._beat()
        self._look()
        self._observed.append(InboxRead())
        try:
            while True:
                self._bell.was_useful(bool(self._observed) or bool(self._life.attempts))
                await self._act()
                if self._defect is not None:
                    raise self._defect
                if self._last_words is not None:
                    break
                await self._bell.wait()
                try:
                    self._look()
                except OSError as error:  # a volume that is away for a while costs no running attempt
                    logger.warning("the inbox cannot be read: %s", error)
        finally:
            self._bell.close()
        while self._tasks:
            await asyncio.wait(self._tasks)
        await self._send(self._last_words, sync=True)

    def _look(self) -> None:
        """Turn new inbox files into observations."""
        for file in self._inbox.poll():
            self._observed.extend(file.messages)

    async def _act(self) -> None:
        """Let the lifecycle decide about all that was observed, and carry out the effects."""
        answers: list[Message] = []
        while self._observed:
            for effect in self._life.observe(self._observed.popleft()):
                self._perform(effect, answers)
        if self._last_words is not None:
            self._last_words = answers
        elif any(isinstance(message, Finished) for message in answers):
            self._spawn(self._send(answers, sync=True)).add_done_callback(self._reported)
        elif answers:
            await asyncio.sleep(0)  # programs start before their acceptance is written
            await self._send(answers, sync=False)
        self._write_posted()

    def _perform(self, effect: Effect, answers: list[Message]) -> None:
        """Carry out one effect; messages are gathered."""
        match effect:
            case Send(message):
                if isinstance(message, Finished):
                    answers.extend(self._take_posted((message.task, message.attempt)))
                answers.append(message)
            case StartAttempt(assign):
                self._start(assign)
            case StopAttempt(key, reason) if key in self._stops:  # else it has ended, which is observed next
                self._close_exchange(key)
                self._stops[key].ask(reason)
            case Deliver(key, message) if key in self._exchanges:
                self._exchanges[key].deliver(message)
            case RemoveSent(names):
                self._outbox.remove(names)
            case RemoveWork(tasks):
                self._spawn(_in_thread(remove_work, self._settings, tasks))
            case StartDrainClock(seconds):
                asyncio.get_running_loop().call_later(max(seconds, 0.0), self.observe, DrainOverdue())
            case Exit():
                self._last_words = []

    def _start(self, assign: Assign) -> None:
        """Begin an attempt; its end is an observation."""
        what = f"{assign.name} ({assign.task}) attempt {assign.attempt}"
        logger.info("%s starts", what)
        key = (assign.task, assign.attempt)
        stop = self._stops[key] = StopRequest()
        exchange = self._exchanges[key] = AttemptExchange(partial(self._post, key), children=assign.children)
        self._spawn(self._run_attempt(assign, exchange, stop)).add_done_callback(partial(self._ended, assign, what))

    async def _run_attempt(self, assign: Assign, exchange: AttemptExchange, stop: StopRequest) -> Outcome:
        """Run one attempt to its end."""
        try:
            order = prepare_order(self._settings, assign, base=self._base, exchange=exchange)
        except OSError as error:
            return Outcome(outcome=FAILED, reason="WorkspaceFailed", message=f"the work folder failed: {error}")
        return await self._runner.run(order, stop)

    def _ended(self, assign: Assign, what: str, attempt: asyncio.Task[Outcome]) -> None:
        """Observe the end of an attempt. A defect of a runner costs that attempt, not the agent."""
        if error := attempt.exception():
            logger.error("%s", what, exc_info=error)
            text = f"{type(error).__name__}: {error}"[:MAX_MESSAGE]
            outcome = Outcome(outcome=FAILED, reason="RunnerFailed", message=text)
        else:
            outcome = attempt.result()
        logger.info("%s ends: %s", what, " ".join(filter(None, (outcome.outcome, outcome.reason))))
        key = (assign.task, assign.attempt)
        self._close_exchange(key)
        del self._exchanges[key], self._stops[key]
        self.observe(AttemptEnded(key, outcome))

    def _reported(self, sending: asyncio.Task[None]) -> None:
        """Notice a report that was never written: an agent that lives on would hold the attempt's slot for ever."""
        if not sending.cancelled() and (error := sending.exception()):
            self._defect = error
            self._bell.ring()

    def _post(self, key: Key, message: Message) -> None:
        """Take what an attempt says to the operator."""
        self._posted.append((key, message))
        self._bell.ring()

    def _close_exchange(self, key: Key) -> None:
        """Let an attempt ask no more. What it asked and nobody wrote yet is dropped: nobody waits for an answer."""
        self._exchanges[key].close()
        self._posted = deque(p for p in self._posted if p[0] != key or isinstance(p[1], Progress))

    def _take_posted(self, key: Key) -> list[Message]:
        """Take what an attempt said and nobody wrote yet."""
        taken = [message for poster, message in self._posted if poster == key]
        self._posted = deque(posted for posted in self._posted if posted[0] != key)
        return taken

    def _write_posted(self) -> None:
        """Write what attempts said, a file a message, since one alone may be nearly as large as a file may be.

        None is synced: a power cut ends the attempts that said it too. A full volume is tried again later.
        """
        try:
            while self._posted:
                self._outbox.send([self._posted[0][1]], read=self._inbox.read, sync=False)
                self._posted.popleft()
        except OSError as error:
            logger.error("the outbox takes nothing: %s", error)  # noqa: TRY400 - a full volume is no defect
            asyncio.get_running_loop().call_later(RESEND_SECONDS, self._bell.ring)

    async def _send(self, answers: Sequence[Message], *, sync: bool) -> None:
        """Write an outbox file; a full volume is waited for, since an answer must not be lost."""
        read = self._inbox.read
        while True:
            try:
                if sync:
                    await asyncio.to_thread(self._write_durable, answers, read)
                else:
                    self._outbox.send(answers, read=read, sync=False)
                return
            except OSError as error:
                logger.error("the outbox takes nothing: %s", error)  # noqa: TRY400 - a full volume is no defect
                await asyncio.sleep(RESEND_SECONDS)

    def _write_durable(self, answers: Sequence[Message], read: int) -> None:
        """Write answers that must outlive a power cut, and their results before them. Runs in a thread."""
        self._outbox.send([self._settle(message) for message in answers], read=read, sync=True)

    def _settle(self, message: Message) -> Message:
        """Make a report stand on its own: it holds the whole result, or the result is durable before it is said."""
        if not isinstance(message, Finished):
            return message
        if message.outcome == SUCCEEDED and is_inline(self._settings, message):
            return replace(message, inline=True)
        sync_result(self._settings, message.task, message.attempt)
        return message

    def _beat(self) -> None:
        """Write the sign of life, now and every few seconds."""
        try:
            self._heartbeat.beat(f"{task}/{attempt}" for task, attempt in self._life.attempts)
        except OSError as error:
            logger.warning("no heartbeat: %s", error)
        asyncio.get_running_loop().call_later(INTERVAL_SECONDS, self._beat)

    def _spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


async def _in_thread(function: Callable[..., None], *arguments: Any) -> None:
    await asyncio.to_thread(function, *arguments)
