"""The rounds of housekeeping on a real volume: what goes with a Task, and what outlives a workspace."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.deciding import Ledger, declare, finish, register, remove, start_pool, submit
from support.waiting import wait_for
from watchbill_coordination.core.commands import RemoveAgent
from watchbill_coordination.core.specs import AgentName, ReplicaName, TaskUid
from watchbill_coordination.storage.layout import Layout, ledger_file, transcript_file
from watchbill_operator import housekeeping
from watchbill_operator.api import Api, connector
from watchbill_operator.housekeeping import Housekeeping, HouseWiring
from watchbill_operator.workspaces import make_workspace

BLUE = ReplicaName("blue-0")
T1 = TaskUid("t1")
CLAUDE: dict[str, Any] = {"claude": {}}


@pytest.fixture(autouse=True)
def quick_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rounds without pauses."""
    monkeypatch.setattr(housekeeping, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(housekeeping, "TIDY_SECONDS", 0.0)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """A volume where blue-0 has worked on t1."""
    layout = Layout(tmp_path / "the volume")
    make_workspace(layout, BLUE)
    (layout.workspace(BLUE) / "state" / "transcripts").mkdir()
    transcript(layout).write_text("{}\n")
    account(layout).write_text("{}")
    return layout


def transcript(layout: Layout) -> Path:
    """What the runtime wrote of attempt 1 of t1."""
    return layout.workspace(BLUE) / "state" / "transcripts" / transcript_file(T1, 1)


def account(layout: Layout) -> Path:
    """What the broker wrote of attempt 1 of t1."""
    return layout.workspace(BLUE) / "ledger" / ledger_file(T1, 1)


def kept(layout: Layout) -> Path:
    """Where a transcript outlives its workspace."""
    return layout.transcripts / transcript_file(T1, 1)


def worked() -> Ledger:
    """t1 was done by blue-0."""
    ledger = start_pool("blue-0", runner=CLAUDE)
    ledger.do(submit("t1"))
    ledger.do(finish("t1"))
    return ledger


def end_agent(ledger: Ledger) -> None:
    """The Agent is gone, with its pods."""
    ledger.do(RemoveAgent(agent=AgentName("blue"), uid="uid-of-blue"))
    ledger.wait(120)


def keep_house(layout: Layout, ledger: Ledger, until: Callable[[], bool]) -> None:
    """Make rounds until that is so."""

    async def run() -> None:
        settled = asyncio.Event()
        settled.set()
        wiring = HouseWiring(
            submit=lambda command: None,
            clean=lambda replica, tasks: None,
            close=lambda replica: None,
            pods=set,
            settled=settled,
            is_deposed=lambda: False,
        )
        api = Api(connector(None), "default")  # nothing is to be deleted, so that it is never asked
        rounds = asyncio.create_task(Housekeeping(api, layout, ledger.state, wiring).run())
        await asyncio.to_thread(wait_for, until, "the house is in order", every=0.01)
        rounds.cancel()
        await asyncio.wait([rounds])

    asyncio.run(run())


def test_transcripts_outlive_the_agent(layout: Layout) -> None:
    """Its workspace goes; what its Tasks' people may want to read is kept."""
    ledger = worked()
    end_agent(ledger)
    keep_house(layout, ledger, lambda: not layout.workspace(BLUE).exists())

    assert kept(layout).read_text() == "{}\n"


def test_transcripts_go_with_their_task(layout: Layout) -> None:
    """Nobody can ask for them any more."""
    ledger = worked()
    end_agent(ledger)
    keep_house(layout, ledger, lambda: not layout.workspace(BLUE).exists())
    ledger.do(remove("t1"))
    keep_house(layout, ledger, lambda: not kept(layout).exists())

    assert not kept(layout).exists()


def test_ledgers_go_with_their_task(layout: Layout) -> None:
    """Until then they may be read again."""
    ledger = worked()
    ledger.do(submit("t2"))
    other = account(layout).with_name(ledger_file(TaskUid("t2"), 1))
    other.write_text("{}")
    ledger.do(remove("t1"))
    keep_house(layout, ledger, lambda: not account(layout).exists())

    assert other.exists()


def test_a_workspace_that_is_needed_again_stays(layout: Layout) -> None:
    """The Agent was made anew before the round."""
    ledger = worked()
    end_agent(ledger)
    ledger.do(declare(uid="another", runner=CLAUDE))
    ledger.do(register("blue-0", "pod-of-blue-0/2"))
    ledger.do(remove("t1"))
    keep_house(layout, ledger, lambda: not account(layout).exists())

    assert transcript(layout).exists()
