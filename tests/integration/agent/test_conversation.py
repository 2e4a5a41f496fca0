"""An attempt that asks while it works: the real loop and real mailbox files, the operator played by the test."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest

from support.volume import REPLICA, make_volume
from watchbill_agent import loop as loop_module
from watchbill_agent.exchange import AttemptExchange, AttemptStopped, NoAnswer
from watchbill_agent.lifecycle import StopSignal
from watchbill_agent.loop import AgentLoop
from watchbill_agent.outcome import Outcome
from watchbill_agent.runners import Order, StopRequest
from watchbill_agent.settings import parse_settings
from watchbill_coordination.core.messages import (
    Accepted,
    Answer,
    Assign,
    Cancel,
    ChildEnded,
    ChildSubmitted,
    Finished,
    LockRequested,
    Message,
    Progress,
    Registered,
    Released,
)
from watchbill_coordination.core.specs import TaskUid
from watchbill_coordination.storage.layout import WORKSPACE_PARTS
from watchbill_coordination.storage.mailbox import InboxWriter, Malformed, OutboxReader

M = TypeVar("M", bound=Message)

TASK = TaskUid("t")
WHO: dict[str, Any] = {"incarnation": "pod/1", "task": TASK, "attempt": 1}
DONE = Outcome(outcome="Succeeded")
LOOK_SECONDS = 0.005
LIMIT_SECONDS = 30.0

Script = Callable[[Order, StopRequest], Awaitable[Outcome]]
Play = Callable[["Operator"], Awaitable[None]]


class Operator:
    """The other end of the mailboxes."""

    def __init__(self, root: Path) -> None:
        self.layout = make_volume(root)
        self.outbox = self.layout.workspace(REPLICA) / "outbox"
        self.said: list[Message] = []
        self.stop: Callable[[], None] = lambda: None  #: signals the agent to stop
        self._writer, self._reader = InboxWriter(self.layout, REPLICA), OutboxReader(self.layout, REPLICA)
        self._writer.reset()
        self._seq = itertools.count(2)

    def deliver(self, message: Message) -> None:
        """Put a message into the inbox."""
        seq = next(self._seq)
        self._writer.deliver(f"test-{seq}", message, 1, seq)

    def answer(self, request: Any, **fields: Any) -> None:
        """Answer a request."""
        given: dict[str, Any] = {"granted": True, "name": request.name} | fields
        self.deliver(Answer(task=TASK, attempt=1, request=request.request, **given))

    def listen(self) -> None:
        """Take what the agent said."""
        files = self._reader.poll() if self.outbox.is_dir() else []
        for file in files:
            assert not isinstance(file, Malformed), file
            self.said.extend(file.messages)

    async def expect(self, kind: type[M], accept: Callable[[M], bool] = lambda _: True) -> M:
        """Wait for a message of that kind."""
        while True:
            self.listen()
            for message in self.said:
                if isinstance(message, kind) and accept(message):
                    return message
            await asyncio.sleep(LOOK_SECONDS)

    def kinds(self) -> list[type]:
        """What was said, in order."""
        self.listen()
        return [type(message) for message in self.said]


def converse(root: Path, script: Script, play: Play) -> Operator:
    """Let an agent run `script` as its one attempt while the operator does `play`; then stop it."""
    operator = Operator(root)

    class Scripted:
        async def run(self, order: Order, stop: StopRequest) -> Outcome:
            return await script(order, stop)

    async def live() -> None:
        folders = {f"WATCHBILL_{p.upper()}": str(operator.layout.workspace(REPLICA) / p) for p in WORKSPACE_PARTS}
        context = {"WATCHBILL_REPLICA": str(REPLICA), "WATCHBILL_CONTEXT": str(operator.layout.shared_context)}
        agent = AgentLoop(parse_settings(folders | context), Scripted(), incarnation="pod/1", start=1)
        operator.stop = lambda: agent.observe(StopSignal())
        life = asyncio.create_task(agent.run())
        async with asyncio.timeout(LIMIT_SECONDS):
            await operator.expect(Registered)
            operator.deliver(Assign(**WHO, name="t", timeout_seconds=60))
            await play(operator)
            operator.stop()
            await life

    asyncio.run(live())
    operator.listen()
    return operator


async def until(question: Callable[[], bool]) -> None:
    """Wait until the answer is yes; the limit is that of the whole conversation."""
    while True:
        if question():
            return
        await asyncio.sleep(LOOK_SECONDS)


def ask_lock(order: Order, name: str = "a") -> Awaitable[Answer]:
    return order.exchange.ask(lambda number: LockRequested(**WHO, request=number, name=name))


def test_what_an_attempt_asks_is_answered_through_the_mailboxes(tmp_path: Path) -> None:
    """In order: accepted, asked, finished."""

    async def script(order: Order, stop: StopRequest) -> Outcome:
        first, second = await ask_lock(order, "a"), await ask_lock(order, "b")
        return Outcome(outcome="Succeeded", message=f"{first.token} {second.text}")

    async def play(operator: Operator) -> None:
        operator.answer(await operator.expect(LockRequested, lambda said: said.name == "a"), token=7)
        operator.answer(await operator.expect(LockRequested, lambda said: said.name == "b"), granted=False, text="held")
        assert (await operator.expect(Finished)).message == "7 held"

    operator = converse(tmp_path, script, play)
    assert operator.kinds() == [Registered, Accepted, LockRequested, LockRequested, Finished, Released]


def test_an_attempt_learns_of_the_end_of_what_it_submitted(tmp_path: Path) -> None:
    """Without asking."""

    async def script(order: Order, stop: StopRequest) -> Outcome:
        await order.exchange.ask(lambda number: ChildSubmitted(**WHO, request=number, name="child", spec={}))
        await until(lambda: order.exchange.children()["child-1"] is not None)
        return DONE

    async def play(operator: Operator) -> None:
        operator.answer(await operator.expect(ChildSubmitted), name="child-1")
        operator.deliver(ChildEnded(task=TASK, attempt=1, name="child-1", uid="c", phase="Succeeded"))
        await operator.expect(Finished)

    converse(tmp_path, script, play)


def test_what_was_said_last_comes_before_the_end(tmp_path: Path) -> None:
    """The operator would refuse it afterwards."""

    async def script(order: Order, stop: StopRequest) -> Outcome:
        order.exchange.tell(Progress(**WHO, text="nearly done"))
        return DONE

    async def play(operator: Operator) -> None:
        await operator.expect(Finished)

    assert converse(tmp_path, script, play).kinds() == [Registered, Accepted, Progress, Finished, Released]


def test_large_requests_are_not_put_into_one_file(tmp_path: Path) -> None:
    """Two of them would be larger than a file may be."""
    spec = {"prompt": "\U0001f6a2" * 200_000}  # 800,000 bytes

    async def script(order: Order, stop: StopRequest) -> Outcome:
        exchange = order.exchange
        await asyncio.gather(
            *(exchange.ask(lambda n: ChildSubmitted(**WHO, request=n, name="c", spec=spec)) for _ in range(2))
        )
        return DONE

    async def play(operator: Operator) -> None:
        for number in (1, 2):
            operator.answer(await operator.expect(ChildSubmitted, lambda said, n=number: said.request == n))
        await operator.expect(Finished)

    converse(tmp_path, script, play)


@pytest.mark.parametrize("outcome", ["Cancelled", "Failed"])
def test_a_cancellation_ends_a_request_that_waits(tmp_path: Path, outcome: str) -> None:
    """Nobody will answer it."""

    async def script(order: Order, stop: StopRequest) -> Outcome:
        with pytest.raises(AttemptStopped):
            await ask_lock(order)
        with pytest.raises(AttemptStopped):
            await ask_lock(order, "b")
        return Outcome(outcome=outcome, reason=await stop.wait())

    async def play(operator: Operator) -> None:
        await operator.expect(LockRequested)
        operator.deliver(Cancel(task=TASK, attempt=1, reason="Stop"))
        assert (await operator.expect(Finished)).reason == "Stop"

    assert converse(tmp_path, script, play).kinds().count(LockRequested) == 1


def test_a_stop_signal_ends_a_request_that_waits(tmp_path: Path) -> None:
    """The work is given back by `released`."""

    async def script(order: Order, stop: StopRequest) -> Outcome:
        with pytest.raises(AttemptStopped):
            await ask_lock(order)
        return Outcome(outcome="Cancelled", reason=await stop.wait())

    async def play(operator: Operator) -> None:
        await operator.expect(LockRequested)

    assert converse(tmp_path, script, play).kinds() == [Registered, Accepted, LockRequested, Released]


def test_a_request_waits_for_room_in_the_outbox(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """And is answered like any other when there is some."""
    monkeypatch.setattr(loop_module, "RESEND_SECONDS", LOOK_SECONDS)
    begin = asyncio.Event()

    async def script(order: Order, stop: StopRequest) -> Outcome:
        await begin.wait()
        answer = await ask_lock(order)
        return Outcome(outcome="Succeeded", message=str(answer.token))

    async def play(operator: Operator) -> None:
        await operator.expect(Accepted)
        away = operator.outbox.rename(operator.outbox.with_name("away"))
        begin.set()
        await until(lambda: "the outbox takes nothing" in caplog.text)
        away.rename(operator.outbox)
        operator.answer(await operator.expect(LockRequested), token=9)
        assert (await operator.expect(Finished)).message == "9"

    converse(tmp_path, script, play)


def test_a_cancellation_is_heeded_while_the_outbox_takes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was asked in vain is not asked any more when there is room again."""
    monkeypatch.setattr(loop_module, "RESEND_SECONDS", LOOK_SECONDS)
    begin, stopped = asyncio.Event(), asyncio.Event()

    async def script(order: Order, stop: StopRequest) -> Outcome:
        await begin.wait()
        with pytest.raises(AttemptStopped):
            await ask_lock(order)
        stopped.set()
        return Outcome(outcome="Cancelled")

    async def play(operator: Operator) -> None:
        await operator.expect(Accepted)
        away = operator.outbox.rename(operator.outbox.with_name("away"))
        begin.set()
        operator.deliver(Cancel(task=TASK, attempt=1, reason="Stop"))
        await stopped.wait()
        away.rename(operator.outbox)
        await operator.expect(Finished)

    assert LockRequested not in converse(tmp_path, script, play).kinds()


def test_an_attempt_that_ends_before_a_stop_is_heeded_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Both happen while the outbox takes nothing, the stop first."""
    monkeypatch.setattr(loop_module, "RESEND_SECONDS", 10 * LOOK_SECONDS)
    caplog.set_level("INFO")
    end = asyncio.Event()

    async def script(order: Order, stop: StopRequest) -> Outcome:
        outbox = order.directory.parents[2] / "outbox"
        outbox.rename(outbox.with_name("away"))  # before the acceptance is written
        await end.wait()
        return DONE

    async def play(operator: Operator) -> None:
        await until(lambda: "the outbox takes nothing" in caplog.text)
        operator.stop()
        end.set()
        await until(lambda: "attempt 1 ends" in caplog.text)
        operator.outbox.with_name("away").rename(operator.outbox)

    assert converse(tmp_path, script, play).kinds() == [Registered, Accepted, Finished, Released]


def test_a_request_whose_file_was_lost_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The attempt can ask again."""
    monkeypatch.setattr(loop_module, "AttemptExchange", partial(AttemptExchange, answer_seconds=0.2))

    async def script(order: Order, stop: StopRequest) -> Outcome:
        with pytest.raises(NoAnswer):
            await ask_lock(order)
        return DONE

    async def play(operator: Operator) -> None:
        await operator.expect(Finished)

    converse(tmp_path, script, play)
