"""A coordinator that dies again and again in the middle of things, and what its successors know."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from support.deciding import accept, declare, finish, register, remove, report, submit
from support.dying import Died, dying_at
from support.volumes import NOW, open_coordinator
from watchbill_coordination.coordinator.coordinator import Coordinator
from watchbill_coordination.coordinator.verify import verify
from watchbill_coordination.core.commands import Command
from watchbill_coordination.core.events import Recorded
from watchbill_coordination.core.evolve import fold
from watchbill_coordination.storage.layout import Layout
from watchbill_coordination.storage.reading import read_log

TURNS = 60
LIVES = 6


def _invent(chance: random.Random) -> Command:
    """Any command about a few tasks and agents, sensible or not."""
    uid = f"t-{chance.randrange(8)}"
    replica = f"blue-{chance.randrange(2)}"
    incarnation = f"pod-of-{replica}/{chance.randrange(1, 3)}"
    attempt = chance.randrange(1, 3)
    locks = [{"name": "one"}] if chance.random() < 0.4 else []
    return chance.choice(
        [
            declare(replicas=chance.randrange(1, 3)),
            register(replica, incarnation),
            submit(uid, locks=locks, priority=chance.randrange(1000)),
            submit(uid, dependsOn=[f"t-{chance.randrange(8)}"]),
            remove(uid),
            accept(uid, replica=replica, incarnation=incarnation, attempt=attempt),
            finish(uid, chance.choice(["Succeeded", "Failed", "GivenBack"]), replica=replica, attempt=attempt),
            report(uid, replica=replica, attempt=attempt, cost_usd=chance.random()),
        ]
    )


def _live(root: Path, chance: random.Random, acknowledged: list[Recorded]) -> None:
    """One life: open, do things, die somewhere. What a commit returned is acknowledged."""
    opened: list[Coordinator] = []
    try:
        with dying_at(chance.randrange(400)):
            opened.append(open_coordinator(root))
            _work(opened[0], chance, acknowledged)
            opened[0].close()
    except Died:
        for coordinator in opened:
            coordinator.abandon()


def _work(coordinator: Coordinator, chance: random.Random, acknowledged: list[Recorded]) -> None:
    for turn in range(TURNS):
        coordinator.stage([_invent(chance) for _ in range(chance.randrange(3))], NOW + len(acknowledged) + turn)
        acknowledged += coordinator.commit().records
        if chance.random() < 0.2:
            coordinator.write_projections()


@pytest.mark.parametrize("seed", range(12))
def test_whatever_was_acknowledged_is_known_to_every_successor(tmp_path: Path, seed: int) -> None:
    """After each death the log is whole, holds every acknowledged event, and folds to what the next one begins with."""
    chance = random.Random(seed)
    acknowledged: list[Recorded] = []
    for _ in range(LIVES):
        _live(tmp_path, chance, acknowledged)

        coordinator = open_coordinator(tmp_path)
        coordinator.abandon()

        records = list(read_log(Layout(tmp_path)))
        assert [record for record in acknowledged if records[record.seq - 1] != record] == []
        assert coordinator.state == fold(records)
        assert verify(Layout(tmp_path)).faults == ()
