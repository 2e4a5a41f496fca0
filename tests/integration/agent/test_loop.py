"""The main loop with runners of our own, in this process."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.volume import REPLICA, make_volume
from watchbill_agent.lifecycle import StopSignal
from watchbill_agent.loop import AgentLoop
from watchbill_agent.outcome import Outcome
from watchbill_agent.runners import Order, Runner, StopRequest
from watchbill_agent.settings import parse_settings
from watchbill_coordination.core.messages import Assign, Finished, Message, Released
from watchbill_coordination.core.specs import TaskUid
from watchbill_coordination.storage.layout import WORKSPACE_PARTS, Layout
from watchbill_coordination.storage.mailbox import InboxWriter, Malformed, OutboxReader

ME = "pod/1"


@dataclass
class Scripted:
    """A runner that does what a test says."""

    script: Callable[[Order, StopRequest], Awaitable[Outcome]]

    async def run(self, order: Order, stop: StopRequest) -> Outcome:
        return await self.script(order, stop)


async def live(layout: Layout, runner: Runner, until: Callable[[list[Message]], bool]) -> list[Message]:
    """Let an agent do one attempt; stop it when what it said satisfies `until`; return all that it said."""
    folders = {f"WATCHBILL_{part.upper()}": str(layout.workspace(REPLICA) / part) for part in WORKSPACE_PARTS}
    settings = parse_settings(folders | {"WATCHBILL_REPLICA": REPLICA, "WATCHBILL_CONTEXT": str(layout.shared_context)})
    writer, reader = InboxWriter(layout, REPLICA), OutboxReader(layout, REPLICA)
    writer.reset()
    agent = AgentLoop(settings, runner, incarnation=ME, start=1)
    life = asyncio.create_task(agent.run())
    said: list[Message] = []

    def listen() -> None:
        files = reader.poll()
        said.extend(m for file in files if not isinstance(file, Malformed) for m in file.messages)

    async with asyncio.timeout(20):
        while not said:
            await asyncio.sleep(0.005)
            listen()
        writer.deliver("a", Assign(task=TaskUid("t"), attempt=1, name="t", incarnation=ME, timeout_seconds=9), 1, 2)
        while not until(said) and not life.done():
            await asyncio.sleep(0.005)
            listen()
        agent.observe(StopSignal())
        await life
    listen()
    return said


def has_finished(said: list[Message]) -> bool:
    return any(isinstance(message, Finished) for message in said)


def test_a_defect_of_a_runner_costs_one_attempt(tmp_path: Path) -> None:
    """It is reported like any failure, and the agent leaves in good order."""

    async def defect(order: Order, stop: StopRequest) -> Outcome:
        raise ZeroDivisionError("a defect")

    said = asyncio.run(live(make_volume(tmp_path), Scripted(defect), has_finished))

    (end,) = [message for message in said if isinstance(message, Finished)]
    assert (end.outcome, end.reason, end.message) == ("Failed", "RunnerFailed", "ZeroDivisionError: a defect")
    assert isinstance(said[-1], Released)


def test_a_work_folder_that_cannot_be_made_is_a_reason(tmp_path: Path) -> None:
    """A file lies in its place."""
    layout = make_volume(tmp_path)
    (layout.workspace(REPLICA) / "work" / "t").touch()

    async def never(order: Order, stop: StopRequest) -> Outcome:
        raise AssertionError("nothing to run")

    said = asyncio.run(live(layout, Scripted(never), has_finished))

    (end,) = [message for message in said if isinstance(message, Finished)]
    assert (end.reason, end.retryable) == ("WorkspaceFailed", True)


def test_a_report_is_written_before_the_release(tmp_path: Path) -> None:
    """Released means that nothing follows, also when syncing the report takes its time."""

    async def succeed(order: Order, stop: StopRequest) -> Outcome:
        await stop.wait()
        return Outcome(outcome="Succeeded", exit_code=0)

    layout = make_volume(tmp_path)
    said = asyncio.run(live(layout, Scripted(succeed), lambda said: len(said) == 2))

    names = sorted(os.listdir(layout.workspace(REPLICA) / "outbox"))
    assert [type(message) for message in said[-2:]] == [Finished, Released]
    assert [name[21:29] for name in names] == ["register", "accepted", "finished"]


def test_a_defect_in_reporting_ends_the_agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An end that nobody hears of would leave its Task running for ever; the agent's next life frees it."""

    async def succeed(order: Order, stop: StopRequest) -> Outcome:
        return Outcome(outcome="Succeeded")

    def defect(*_: object) -> None:
        raise RecursionError("too deep")

    monkeypatch.setattr(AgentLoop, "_write_durable", defect)

    with pytest.raises(RecursionError, match="too deep"):
        asyncio.run(live(make_volume(tmp_path), Scripted(succeed), has_finished))
