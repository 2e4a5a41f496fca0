"""What an operator does not do any more once another one has claimed the volume."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, cast

import pytest

from watchbill_coordination.coordinator.coordinator import Committed, Coordinator
from watchbill_coordination.core.commands import AcceptAttempt
from watchbill_coordination.core.specs import AgentName, ReplicaName, TaskUid
from watchbill_coordination.core.state import State
from watchbill_coordination.storage.epochs import acquire_epoch, load_own_holder
from watchbill_coordination.storage.faults import Fenced
from watchbill_coordination.storage.layout import Layout
from watchbill_operator.health import Health
from watchbill_operator.housekeeping import Housekeeping, HouseWiring
from watchbill_operator.loop import Inbox, Loop
from watchbill_operator.mail import Mail


class NoActions:
    """Fails when anything is acted on."""

    def act(self, committed: Committed, mail: list[Mail]) -> None:
        """Deliver, patch, plan and count."""
        raise AssertionError("a deposed operator acts")

    def hold(self, trouble: str) -> None:
        """Nobody is told."""

    def plan(self, agents: set[AgentName]) -> None:
        """Plan pods."""


def test_mail_that_changes_nothing_is_not_acknowledged_by_a_deposed_operator(tmp_path: Path) -> None:
    """What it would call old news may be news to its successor, and an acknowledged file is gone."""
    said = AcceptAttempt(agent=ReplicaName("blue-0"), incarnation="i", task=TaskUid("t"), attempt=1)

    async def run() -> None:
        coordinator = Coordinator.open(tmp_path, load_own_holder("first"))
        inbox = Inbox()
        loop = Loop(coordinator, inbox, NoActions(), Health())
        coordinator.commit()
        claim = acquire_epoch(coordinator.layout, load_own_holder("second"))
        inbox.submit(Mail(ReplicaName("blue-0"), "1.json", (said,)))
        try:
            await asyncio.wait_for(loop.run(), 10)
        finally:
            claim.release()
            coordinator.abandon()

    with pytest.raises(Fenced):
        asyncio.run(run())


@pytest.mark.parametrize(("is_deposed", "is_kept"), [(True, True), (False, False)])
def test_a_deposed_operator_removes_no_result_that_it_does_not_know(
    tmp_path: Path, is_deposed: bool, is_kept: bool
) -> None:
    """It may be that of a Task which came after its time."""
    layout = Layout(tmp_path)
    layout.result(TaskUid("of-another")).mkdir(parents=True)

    async def run() -> None:
        settled = asyncio.Event()
        settled.set()
        wiring = HouseWiring(
            submit=lambda command: None,
            clean=lambda replica, tasks: None,
            close=lambda replica: None,
            pods=set,
            settled=settled,
            is_deposed=lambda: is_deposed,
        )
        await Housekeeping(cast("Any", None), layout, State(), wiring)._tidy()

    asyncio.run(run())
    assert layout.result(TaskUid("of-another")).exists() == is_kept
