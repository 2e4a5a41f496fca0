"""One writer: epochs, the fence, and processes that die at any moment."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from support.logs import HOLDER, NOW, list_seqs, list_types, open_log, queued, write_log
from watchbill_coordination.storage.epochs import (
    KEPT_EPOCHS,
    Holder,
    acquire_epoch,
    load_highest_epoch,
    load_holder,
    load_own_holder,
)
from watchbill_coordination.storage.faults import Fenced, LogPoisoned, WriterAlive
from watchbill_coordination.storage.layout import Layout
from watchbill_coordination.storage.reading import load_records, read_log
from watchbill_coordination.storage.verify import verify_log
from watchbill_coordination.storage.writer import is_alive, load_writer

CHATTERBOX = """
import sys
from pathlib import Path
sys.path[:0] = {path}
from support.logs import NOW, group, open_log
from watchbill_coordination.storage.faults import Fenced
log = open_log(Path(sys.argv[1]))
number = 0
try:
    while True:
        log.append_group(group(number), NOW + number)
        log.append_group(group(number), NOW + number)
        print(log.commit(), log.committed_h.hex(), flush=True)
        number += 1
except Fenced:
    sys.exit(75)
"""


def test_a_deposed_writer_is_told_before_it_acknowledges(tmp_path: Path) -> None:
    """Its batch reached the disk, but the next writer sealed its file before that, so nobody ever reads it."""
    first = open_log(tmp_path)
    first.append(queued(1), NOW)
    first.commit()
    second = open_log(tmp_path)

    first.append(queued(2), NOW)
    with pytest.raises(Fenced, match="epoch 2 was claimed by test"):
        first.commit()

    second.append(queued(3), NOW)
    second.commit()
    assert [r.event for r in read_log(Layout(tmp_path)) if r.event in (queued(1), queued(2), queued(3))] == [
        queued(1),
        queued(3),
    ]


def test_a_deposed_writer_stays_deposed(tmp_path: Path) -> None:
    """It cannot try again."""
    first = open_log(tmp_path)
    open_log(tmp_path)
    first.append(queued(1), NOW)
    with pytest.raises(Fenced):
        first.commit()

    with pytest.raises(LogPoisoned):
        first.append(queued(2), NOW)


def test_a_stale_claimant_that_publishes_late_takes_nothing_away(tmp_path: Path) -> None:
    """It renames over event-log.jsonl, but the newer segment keeps its own name, and the log goes on from it."""
    write_log(tmp_path, 1)
    layout = Layout(tmp_path)
    second = open_log(tmp_path)
    second.append(queued(2), NOW)
    second.commit()
    stale = layout.orchestration / "stale"
    stale.write_bytes(min(layout.segments.glob("*.jsonl")).read_bytes())
    stale.rename(layout.active)

    third = open_log(tmp_path)

    assert queued(2) in [recorded.event for recorded in read_log(layout)]
    assert layout.active.samefile(layout.segments / f"{third.seq:020d}-3.open")


def test_an_epoch_goes_on_from_what_is_known_elsewhere(tmp_path: Path) -> None:
    """A volume that lost its epochs never hands out a lower one than the objects' status carries."""
    assert acquire_epoch(Layout(tmp_path), HOLDER, floor=41).epoch == 42
    assert acquire_epoch(Layout(tmp_path), HOLDER, floor=7).epoch == 43


def test_an_epoch_has_one_owner(tmp_path: Path) -> None:
    """Many claim at once, and no two get the same number."""
    layout = Layout(tmp_path)
    claimed: list[int] = []
    threads = [threading.Thread(target=lambda: claimed.append(acquire_epoch(layout, HOLDER).epoch)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(claimed) == list(range(1, 9))


def test_old_claims_are_removed(tmp_path: Path) -> None:
    """The folder stays small enough to be listed after each sync."""
    layout = Layout(tmp_path)
    for _ in range(KEPT_EPOCHS + 5):
        acquire_epoch(layout, HOLDER).release()

    assert len(list(layout.epochs.iterdir())) == KEPT_EPOCHS
    assert load_highest_epoch(layout) == KEPT_EPOCHS + 5


def test_a_claim_says_whose_it_is(tmp_path: Path) -> None:
    """A successor can find out whether that process lives."""
    layout = Layout(tmp_path)
    holder = load_own_holder("operator", pod_uid="pod-1")

    assert load_holder(layout, acquire_epoch(layout, holder).epoch) == holder
    assert is_alive(holder) is True


def test_a_process_id_that_was_given_again_is_not_the_holder() -> None:
    """The start time tells."""
    own = load_own_holder("operator")

    assert is_alive(Holder("x", own.host, own.boot_id, own.pid, own.start_time + 1)) is False
    assert is_alive(Holder("x", own.host, "another boot", own.pid, own.start_time)) is False
    assert is_alive(Holder("x", "another host", own.boot_id, own.pid, own.start_time)) is None


def test_who_asks_to_be_alone_is_told_who_is_there(tmp_path: Path) -> None:
    """A repair on the same host is refused with the name of the writer."""
    open_log(tmp_path)

    with pytest.raises(WriterAlive, match=r"test \(process \d+ on"):
        open_log(tmp_path, is_exclusive=True)


def test_a_writer_lives_until_it_lets_go(tmp_path: Path) -> None:
    """Its process may go on, and a deposed one may still be there: what counts is the highest claim."""
    layout = Layout(tmp_path)
    first, second = open_log(tmp_path), open_log(tmp_path)
    first.abandon()
    living = load_writer(layout)
    second.abandon()
    gone = load_writer(layout)

    assert living is not None
    assert gone is not None
    assert (living.epoch, living.is_alive, gone.epoch, gone.is_alive) == (2, True, 2, False)


def test_every_epoch_has_a_segment_of_its_own(tmp_path: Path) -> None:
    """Also after a clean end: the file that was closed is sealed and never written to again."""
    write_log(tmp_path, 1, closed=True)
    write_log(tmp_path, 1, closed=True)

    assert list_types(tmp_path) == [
        *("LogOpened", "TaskQueued", "TaskCancelled", "LogSealed"),
        *("SegmentOpened", "TaskQueued", "TaskCancelled", "LogSealed"),
    ]
    assert [r.ep for r in read_log(Layout(tmp_path))] == [1] * 4 + [2] * 4


def test_the_log_id_stays_for_ever(tmp_path: Path) -> None:
    """It tells one volume from another."""
    assert write_log(tmp_path, 1).log_id == write_log(tmp_path, 1).log_id != write_log(tmp_path / "x", 1).log_id


def test_time_never_goes_back_in_the_log(tmp_path: Path) -> None:
    """A clock that was set back yields equal times, not smaller ones."""
    log = open_log(tmp_path)
    later = log.append(queued(1), 2 * NOW)

    assert log.append(queued(2), NOW).ts == later.ts


@pytest.mark.parametrize("seed", range(6))
def test_a_killed_writer_loses_nothing_that_it_acknowledged(tmp_path: Path, seed: int) -> None:
    """Killed at random moments, again and again, each life goes on where the last one's acknowledgements ended."""
    moments = random.Random(seed)
    acknowledged = 0
    for _ in range(4):
        acknowledged = max(acknowledged, _chatter_and_kill(tmp_path, moments.randrange(1, 60)))
        assert list_seqs(tmp_path)[-1] >= acknowledged
        report = verify_log(Layout(tmp_path))
        assert [finding for finding in report.findings if finding.is_fault and finding.kind != "Torn"] == []

    open_log(tmp_path).close()
    seqs = list_seqs(tmp_path)
    assert seqs == list(range(1, len(seqs) + 1))


def _start_chatter(root: Path) -> subprocess.Popen[str]:
    script = CHATTERBOX.format(path=[path for path in sys.path if path])
    return subprocess.Popen([sys.executable, "-c", script, str(root)], stdout=subprocess.PIPE, text=True)


def _listen(process: subprocess.Popen[str], commits: int) -> list[str]:
    assert process.stdout is not None
    return [process.stdout.readline() for _ in range(commits)]


def _chatter_and_kill(root: Path, commits: int) -> int:
    """Run a writer until it acknowledged so many commits, kill it, and return the last seq that it told."""
    process = _start_chatter(root)
    lines = _listen(process, commits)
    process.send_signal(signal.SIGKILL)
    rest, _ = process.communicate(timeout=20)
    told = [line for line in [*lines, *rest.splitlines(keepends=True)] if line.endswith("\n")]
    return int(told[-1].split()[0])


@pytest.mark.parametrize("seed", range(4))
def test_a_writer_that_wakes_up_late_acknowledges_nothing_that_is_not_read(tmp_path: Path, seed: int) -> None:
    """Stopped, deposed, and woken: every record that it acknowledged is in the log, and it ends as fenced."""
    stopped = _start_chatter(tmp_path)
    lines = _listen(stopped, random.Random(seed).randrange(1, 40))
    stopped.send_signal(signal.SIGSTOP)

    successor = open_log(tmp_path)
    successor.append(queued(1), NOW)
    successor.commit()
    stopped.send_signal(signal.SIGCONT)
    rest, _ = stopped.communicate(timeout=20)
    successor.close()

    assert stopped.returncode == 75
    chain = {record.recorded.seq: record.h.hex() for record in load_records(Layout(tmp_path))}
    told = dict(line.split() for line in [*lines, *rest.splitlines()])
    assert {seq: h for seq, h in told.items() if chain[int(seq)] != h} == {}
    assert [finding for finding in verify_log(Layout(tmp_path)).findings if finding.is_fault] == []


def test_lost_claims_do_not_lower_the_epoch(tmp_path: Path) -> None:
    """The segments remember it; a lower one would be no part of the log."""
    write_log(tmp_path, 1)
    write_log(tmp_path, 1)
    for claim in Layout(tmp_path).epochs.iterdir():
        claim.unlink()

    assert open_log(tmp_path).epoch == 3


def test_a_writer_whose_claim_was_removed_stops(tmp_path: Path) -> None:
    """It could not see a successor any more."""
    log = open_log(tmp_path)
    (Layout(tmp_path).epochs / "1").unlink()
    log.append(queued(1), NOW)

    with pytest.raises(Fenced, match="removed our claim"):
        log.commit()


def test_a_writer_whose_file_was_removed_stops(tmp_path: Path) -> None:
    """What it writes would have no name."""
    log = open_log(tmp_path)
    layout = Layout(tmp_path)
    for path in (layout.active, *layout.segments.iterdir()):
        path.unlink()
    log.append(queued(1), NOW)

    with pytest.raises(LogPoisoned, match="somebody removed it"):
        log.commit()


def test_removing_one_of_its_names_does_not_hurt_the_log(tmp_path: Path) -> None:
    """The file has two until it is sealed."""
    log = open_log(tmp_path)
    Layout(tmp_path).active.unlink()
    log.append(queued(1), NOW)
    log.commit()
    log.abandon()

    open_log(tmp_path).abandon()

    assert list_types(tmp_path) == ["LogOpened", "TaskQueued", "SegmentOpened"]
