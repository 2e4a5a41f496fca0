"""When ledgers are looked at that no last word tells of."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.deciding import Ledger, finish, register, start_pool, submit
from support.waiting import wait_for
from watchbill_coordination.core.commands import Command, ReportUsage
from watchbill_coordination.core.specs import ReplicaName, TaskUid
from watchbill_coordination.storage.layout import Layout, ledger_file
from watchbill_operator import usage_keeper
from watchbill_operator.usage_keeper import UsageKeeper
from watchbill_operator.workspaces import make_workspace

BLUE = ReplicaName("blue-0")
CLAUDE: dict[str, Any] = {"claude": {}}
NEVER = 3600.0


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """A volume with one workspace."""
    layout = Layout(tmp_path)
    make_workspace(layout, BLUE)
    return layout


def put_ledger(layout: Layout, cost: float, task: str = "t1") -> None:
    """What the broker says of attempt 1."""
    body = {"v": 1, "task": task, "attempt": 1, "requests": 1, "costUSD": cost}
    (layout.workspace(BLUE) / "ledger" / ledger_file(TaskUid(task), 1)).write_text(json.dumps(body))


def lose(ledger: Ledger) -> None:
    """Attempt 1 of t1 is lost with its agent's life."""
    ledger.do(register("blue-0", "pod-of-blue-0/2"))


def keep(layout: Layout, ledger: Ledger, *happenings: Callable[[], object], reports: int = 1) -> list[float]:
    """Run a keeper; when it has looked at all ledgers these things happen, to the log or the volume.

    The costs that it reported since then, or, if nothing happens, at its start.
    """
    submitted: list[Command] = []

    async def run() -> None:
        settled = asyncio.Event()
        settled.set()
        keeper = UsageKeeper(layout, ledger.state, submitted.append, settled)
        keeping = asyncio.create_task(keeper.run())
        await asyncio.to_thread(wait_for, lambda: submitted, "it has looked at all ledgers", every=0.01)
        if happenings:
            submitted.clear()
        for happen in happenings:
            seen = len(ledger.records)
            happen()
            keeper.note(ledger.records[seen:])
        await asyncio.to_thread(wait_for, lambda: len(submitted) >= reports, "it is reported", every=0.01)
        keeping.cancel()
        await asyncio.wait([keeping])

    asyncio.run(run())
    return [command.usage.cost_usd for command in submitted if isinstance(command, ReportUsage)]


def working(layout: Layout) -> Ledger:
    """Attempt 1 of t1 is with blue-0, which works with a model; t0 it has done before."""
    ledger = start_pool("blue-0", runner=CLAUDE)
    ledger.do(submit("t0"))
    ledger.do(finish("t0"))
    put_ledger(layout, 0.125, "t0")
    ledger.do(submit("t1"))
    return ledger


def test_the_ledger_of_a_lost_attempt_is_read_at_once(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it spent is missing in the budget of the next one."""
    monkeypatch.setattr(usage_keeper, "LATER_SECONDS", NEVER)
    put_ledger(layout, 0.25)
    ledger = working(layout)

    assert keep(layout, ledger, lambda: lose(ledger)) == [0.25]


def test_a_broker_that_outlives_the_attempt_is_heard(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer of the model was under way when the attempt was lost."""
    monkeypatch.setattr(usage_keeper, "LATER_SECONDS", 0.5)
    put_ledger(layout, 0.25)
    ledger = working(layout)
    costs = keep(layout, ledger, lambda: lose(ledger), reports=2)

    assert costs == [0.25, 0.25]


@pytest.mark.parametrize("outcome", ["Succeeded", "Failed", "GivenBack"])
def test_the_ledger_of_an_attempt_that_ended_is_read_once_more(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, outcome: str
) -> None:
    """Its broker may have written it after the last words were read."""
    monkeypatch.setattr(usage_keeper, "LATER_SECONDS", 0.05)
    ledger = working(layout)
    costs = keep(layout, ledger, lambda: ledger.do(finish("t1", outcome)), lambda: put_ledger(layout, 0.5))

    assert costs == [0.5]


def test_at_the_start_every_ledger_of_an_attempt_that_is_over_is_read(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The former operator may have died before it could."""
    monkeypatch.setattr(usage_keeper, "LATER_SECONDS", NEVER)
    put_ledger(layout, 0.75)
    ledger = working(layout)
    lose(ledger)

    assert sorted(keep(layout, ledger, reports=2)) == [0.125, 0.75]
