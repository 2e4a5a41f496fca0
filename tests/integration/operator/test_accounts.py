"""Grants, ledgers and transcripts on a real volume, with hostile contents."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from support.deciding import Ledger, declare, finish, register, remove, start_pool, submit
from support.volume import TRAPS
from support.volumes import do, open_coordinator
from watchbill_coordination.core.assignments import Outgoing
from watchbill_coordination.core.specs import ReplicaName, TaskUid
from watchbill_coordination.core.usage import Usage
from watchbill_coordination.storage.layout import Layout, ledger_file, transcript_file
from watchbill_operator.actions import CommitActions
from watchbill_operator.grants import GrantsWriter
from watchbill_operator.ledgers import list_ledgers, read_ledger, remove_ledgers
from watchbill_operator.mailroom import Mailroom
from watchbill_operator.transcripts import (
    SIZE_LIMIT,
    forget_transcripts,
    keep_transcripts,
    list_kept,
    list_transcripts,
    plan_forgetting,
    plan_keeping,
)
from watchbill_operator.workspaces import make_workspace

BLUE = ReplicaName("blue-0")
T1 = TaskUid("t1")


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """A volume with one workspace, in a path with a space."""
    layout = Layout(tmp_path / "the volume")
    make_workspace(layout, BLUE)
    return layout


def working() -> Ledger:
    """Attempt 1 of t1 is with blue-0, which works with a model."""
    ledger = start_pool("blue-0", runner={"claude": {}})
    ledger.do(submit("t1"))
    return ledger


def grants(layout: Layout) -> Path:
    """The file that blue-0's broker obeys."""
    return layout.workspace(BLUE) / "grants" / "grants.json"


def put_ledger(layout: Layout, task: str = "t1", attempt: int = 1, **members: object) -> Path:
    """What a broker writes."""
    path = layout.workspace(BLUE) / "ledger" / ledger_file(TaskUid(task), attempt)
    path.write_text(json.dumps({"v": 1, "task": task, "attempt": attempt, **members}))
    return path


def put_transcript(layout: Layout, task: str = "t1", attempt: int = 1, text: str = "{}\n") -> Path:
    """What a runtime writes."""
    folder = layout.workspace(BLUE) / "state" / "transcripts"
    folder.mkdir(exist_ok=True)
    path = folder / transcript_file(TaskUid(task), attempt)
    path.write_text(text)
    return path


def test_grants_are_written_for_the_broker_alone(layout: Layout) -> None:
    """It can read them whatever its uid."""
    GrantsWriter(layout, working().state).update(BLUE)

    assert json.loads(grants(layout).read_text())["attempts"] == [{"task": "t1", "attempt": 1, "budgetUSD": None}]
    assert grants(layout).stat().st_mode & 0o777 == 0o644


class LookingMailroom(Mailroom):
    """Notes what lies in grants/ whenever it delivers."""

    found: str = ""

    def deliver(self, replica: ReplicaName, pending: Iterable[Outgoing], *, ep: int, seq: int) -> None:
        """Look instead of writing."""
        self.found = (self._layout.workspace(replica) / "grants" / "grants.json").read_text()


def test_grants_are_written_before_mail_is(tmp_path: Path) -> None:
    """An agent that has its order finds the model open."""
    coordinator = open_coordinator(tmp_path)
    make_workspace(coordinator.layout, BLUE)
    do(coordinator, declare(runner={"claude": {}}), register(), submit("t1"))
    mailroom = LookingMailroom(
        coordinator.layout, coordinator.state, lambda mail: None, is_deposed=lambda: False, local=False
    )
    nobody: Any = None  # neither pods nor patches nor figures are reached
    CommitActions(coordinator, mailroom, nobody, nobody, tell=(nobody, nobody)).deliver([BLUE])
    mailroom.shut()
    coordinator.close()

    assert '"task":"t1"' in mailroom.found


def test_a_replica_without_a_model_gets_no_file(layout: Layout) -> None:
    """A pool of commands costs nothing."""
    ledger = start_pool("blue-0")
    ledger.do(submit("t1"))
    GrantsWriter(layout, ledger.state).update(BLUE)

    assert not grants(layout).exists()


def test_what_has_not_changed_is_not_written_again(layout: Layout) -> None:
    """Most commits change nothing in it."""
    ledger = working()
    writer = GrantsWriter(layout, ledger.state)
    writer.update(BLUE)
    before = grants(layout).stat().st_ino
    writer.update(BLUE)
    writer.mend()

    assert grants(layout).stat().st_ino == before


def test_grants_that_somebody_changed_are_mended(layout: Layout) -> None:
    """The log says who may use the model."""
    writer = GrantsWriter(layout, working().state)
    writer.update(BLUE)
    grants(layout).write_text('{"v":1,"attempts":[]}')
    writer.mend()

    assert "t1" in grants(layout).read_text()


def test_grants_that_could_not_be_written_are_written_later(layout: Layout) -> None:
    """The failure is no end of the operator."""
    writer = GrantsWriter(layout, working().state)
    folder = grants(layout).parent
    folder.rename(folder.with_name("away"))
    writer.update(BLUE)
    folder.with_name("away").rename(folder)
    writer.mend()

    assert "t1" in grants(layout).read_text()


def test_a_ledger_is_read(layout: Layout) -> None:
    """As its broker wrote it."""
    put_ledger(layout, requests=2, outputTokens=7, costUSD=0.5)
    account = read_ledger(layout, BLUE, T1, 1)

    assert account is not None
    assert account.usage == Usage(requests=2, output_tokens=7, cost_usd=0.5)


@pytest.mark.parametrize("trap", TRAPS.values(), ids=TRAPS.keys())
def test_a_trap_in_place_of_a_ledger_counts_for_nothing(layout: Layout, trap: Callable[[Path], object]) -> None:
    """Nothing is followed, and nothing is waited for."""
    trap(layout.workspace(BLUE) / "ledger" / ledger_file(T1, 1))

    assert read_ledger(layout, BLUE, T1, 1) is None


def test_ledgers_are_listed_and_removed(layout: Layout) -> None:
    """Other files in the folder are left alone."""
    put_ledger(layout)
    stranger = layout.workspace(BLUE) / "ledger" / "README"
    stranger.write_text("x")
    found = list_ledgers(layout, BLUE)
    remove_ledgers(layout, BLUE, found)

    assert found == [(T1, 1)]
    assert os.listdir(stranger.parent) == ["README"]


def test_a_transcript_outlives_its_workspace(layout: Layout) -> None:
    """As long as its Task is there."""
    ledger = working()
    put_transcript(layout, text='{"kind":"init"}\n')
    kept = keep_transcripts(layout, BLUE, plan_keeping(list_transcripts(layout, BLUE), BLUE, ledger.state))

    assert kept == 1
    assert (layout.transcripts / "t1-1.jsonl").read_text() == '{"kind":"init"}\n'


def test_a_transcript_of_a_task_that_is_gone_is_not_kept(layout: Layout) -> None:
    """Nobody can ask for it."""
    ledger = working()
    put_transcript(layout)
    put_transcript(layout, "unknown")
    ledger.do(remove("t1"))

    assert plan_keeping(list_transcripts(layout, BLUE), BLUE, ledger.state) == []


def test_a_transcript_of_an_attempt_that_another_replica_had_is_not_kept() -> None:
    """A workspace speaks for its own attempts; of earlier ones it is not known whose they were."""
    ledger = working()
    ledger.do(register("blue-0", "pod-of-blue-0/2"))

    assert plan_keeping([(T1, 1), (T1, 2), (T1, 3)], ReplicaName("blue-7"), ledger.state) == [(T1, 1)]


@pytest.mark.parametrize("trap", [name for name in TRAPS if name != "sparse file"])
def test_a_trap_in_place_of_a_transcript_is_not_kept(layout: Layout, trap: str) -> None:
    """What it leads to is nobody's transcript."""
    put_transcript(layout).unlink()
    TRAPS[trap](layout.workspace(BLUE) / "state" / "transcripts" / "t1-1.jsonl")

    assert keep_transcripts(layout, BLUE, [(T1, 1)]) == 0
    assert list_kept(layout) == []


def test_a_transcript_that_is_too_long_is_kept_up_to_the_limit(layout: Layout) -> None:
    """Its beginning is worth more than nothing."""
    os.truncate(put_transcript(layout), SIZE_LIMIT + 1)
    keep_transcripts(layout, BLUE, [(T1, 1)])

    assert (layout.transcripts / "t1-1.jsonl").stat().st_size == SIZE_LIMIT


def test_a_transcript_that_was_kept_is_not_replaced(layout: Layout) -> None:
    """Whoever comes later may have made it up."""
    put_transcript(layout, text="first")
    keep_transcripts(layout, BLUE, [(T1, 1)])
    put_transcript(layout, text="second")

    assert keep_transcripts(layout, BLUE, [(T1, 1)]) == 0
    assert (layout.transcripts / "t1-1.jsonl").read_text() == "first"


def test_kept_transcripts_go_with_their_task(layout: Layout) -> None:
    """They lie there no longer than it does."""
    ledger = working()
    put_transcript(layout)
    keep_transcripts(layout, BLUE, [(T1, 1)])
    before = plan_forgetting(list_kept(layout), ledger.state)
    ledger.do(finish("t1"))
    ledger.do(remove("t1"))
    forget_transcripts(layout, plan_forgetting(list_kept(layout), ledger.state))

    assert before == []
    assert list_kept(layout) == []
