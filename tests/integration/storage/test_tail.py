"""A writer died: what the next one makes of the log's end, at every byte and for every bit."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.logs import (
    NOW,
    damage,
    group,
    list_seqs,
    list_types,
    open_log,
    read_active,
    write_log,
)
from watchbill_coordination.core.events import LogTruncated
from watchbill_coordination.storage.faults import AcknowledgedLost, LogCorrupt, StorageFault
from watchbill_coordination.storage.layout import Layout
from watchbill_coordination.storage.reading import read_log
from watchbill_coordination.storage.recovery import recover
from watchbill_coordination.storage.verify import verify_log


@pytest.fixture
def torn(tmp_path: Path) -> tuple[Path, bytes, int]:
    """A log whose last group was written and never acknowledged: root, its bytes, where the acknowledged ones end."""
    write_log(tmp_path, 3)
    log = open_log(tmp_path)
    log.append_group(group(10), NOW)
    log.commit()
    end, head = log.committed_bytes, log.layout.head.read_bytes()
    log.append_group(group(99), NOW)
    log.commit()
    log.abandon()
    log.layout.head.write_bytes(head)
    return tmp_path, read_active(tmp_path), end


@pytest.mark.long
def test_a_log_torn_at_any_byte_keeps_what_was_acknowledged(torn: tuple[Path, bytes, int]) -> None:
    """Whatever part of an unacknowledged batch is on disk: nothing before it is lost, nothing is appended behind it."""
    root, content, end = torn
    layout = Layout(root)
    acknowledged = list_seqs(root)[:-2]
    opened = max(layout.segments.iterdir())
    sealed = opened.with_suffix(".jsonl")
    head = layout.head.read_bytes()

    for length in range(end, len(content)):
        _bring_back(layout, opened, content[:length], head)

        open_log(root).abandon()

        assert list_seqs(root)[: len(acknowledged)] == acknowledged, length
        assert sealed.read_bytes() == content[:length], length
        tails = [r.event for r in read_log(layout) if isinstance(r.event, LogTruncated)]
        assert [tail.length for tail in tails] == ([length - end] if length > end else []), length
        for path in layout.quarantine.glob("*"):
            assert path.read_bytes() == content[end:length]
            path.unlink()
        newest = max(layout.segments.glob("*.open"), key=lambda path: int(path.stem.partition("-")[2]))
        newest.unlink()
        layout.active.unlink()
        sealed.rename(opened)


def _bring_back(layout: Layout, opened: Path, content: bytes, head: bytes) -> None:
    """Make the volume as a killed writer left it."""
    opened.write_bytes(content)
    layout.active.unlink(missing_ok=True)
    layout.active.hardlink_to(opened)
    layout.head.write_bytes(head)


def test_half_a_group_is_dropped_as_a_whole(torn: tuple[Path, bytes, int]) -> None:
    """A whole record whose group is not whole never happened."""
    root, content, end = torn
    first_line = content.index(b"\n", end) + 1
    damage(root, content[:first_line])

    open_log(root).abandon()

    assert list_types(root)[-2:] == ["SegmentOpened", "LogTruncated"]
    assert "task-99" not in str(list(read_log(Layout(root))))


@pytest.mark.parametrize("filler", [b"\0" * 4096, b"\xff" * 100, b'{"v":1,"seq":9', b"\n\n{\n"])
def test_what_a_power_cut_leaves_behind_the_last_record_is_put_aside(tmp_path: Path, filler: bytes) -> None:
    """Zeros, rubbish and beginnings are a tail, kept in quarantine."""
    write_log(tmp_path, 2)
    before = list_seqs(tmp_path)
    damage(tmp_path, read_active(tmp_path) + filler)

    open_log(tmp_path).abandon()

    assert list_seqs(tmp_path)[: len(before)] == before
    assert [path.read_bytes() for path in Layout(tmp_path).quarantine.iterdir()] == [filler]


def test_empty_lines_at_the_end_are_nothing(tmp_path: Path) -> None:
    """No tail is reported where no byte says anything."""
    write_log(tmp_path, 2)
    damage(tmp_path, read_active(tmp_path) + b"\n\n\n")

    open_log(tmp_path).abandon()

    assert list_types(tmp_path)[-1] == "SegmentOpened"


@pytest.mark.long
def test_every_flipped_bit_of_a_log_is_found(tmp_path: Path) -> None:
    """With the head beside it, damage to any acknowledged record is a fault, also to the very last."""
    write_log(tmp_path, 2)
    content = read_active(tmp_path)

    for place in range(len(content) * 8):
        flipped = bytearray(content)
        flipped[place // 8] ^= 1 << place % 8
        damage(tmp_path, bytes(flipped))
        assert verify_log(Layout(tmp_path)).findings, place


def test_every_truncation_of_a_log_is_found(tmp_path: Path) -> None:
    """An acknowledged record that vanished is not taken for a torn one."""
    write_log(tmp_path, 2)
    content = read_active(tmp_path)

    for length in range(len(content)):
        damage(tmp_path, content[:length])
        with pytest.raises(LogCorrupt):
            recover(Layout(tmp_path), lambda record: None)


def test_a_vanished_acknowledged_record_is_named(tmp_path: Path) -> None:
    """The fault says file, offset and which records are missing."""
    write_log(tmp_path, 3)
    lines = read_active(tmp_path).splitlines(keepends=True)
    kept = b"".join(lines[:-2])
    damage(tmp_path, kept)

    with pytest.raises(AcknowledgedLost, match="records 6 to 7 were acknowledged") as caught:
        open_log(tmp_path)

    assert (caught.value.offset, caught.value.seq) == (len(kept), 6)


def test_damage_before_whole_records_stops_the_writer(tmp_path: Path) -> None:
    """Without a head too: what has whole records behind it is no torn tail."""
    write_log(tmp_path, 3)
    Layout(tmp_path).head.unlink()
    lines = read_active(tmp_path).splitlines(keepends=True)
    lines[2] = lines[2].replace(b"task-0", b"task-7")
    damage(tmp_path, b"".join(lines))

    with pytest.raises(LogCorrupt, match="the checksum does not fit the line; whole records follow") as caught:
        open_log(tmp_path)

    assert (caught.value.offset, caught.value.seq) == (len(lines[0] + lines[1]), 3)


@pytest.mark.parametrize("change", ["swap", "repeat", "delete", "join", "bom", "crlf"])
def test_rearranged_lines_are_found(tmp_path: Path, change: str) -> None:
    """Each line is whole by itself; the chain and the numbers tell."""
    write_log(tmp_path, 3)
    lines = read_active(tmp_path).splitlines(keepends=True)
    changed = {
        "swap": [*lines[:2], lines[3], lines[2], *lines[4:]],
        "repeat": [*lines, lines[-1]],
        "delete": [*lines[:3], *lines[4:]],
        "join": [lines[0], lines[1].rstrip(b"\n"), *lines[2:]],
        "bom": [b"\xef\xbb\xbf", *lines],
        "crlf": [line.replace(b"\n", b"\r\n") for line in lines],
    }[change]
    damage(tmp_path, b"".join(changed))

    with pytest.raises(StorageFault):
        open_log(tmp_path)


def test_a_log_that_is_gone_is_not_begun_anew(tmp_path: Path) -> None:
    """The head remembers that there was one."""
    write_log(tmp_path, 1)
    layout = Layout(tmp_path)
    for path in (layout.active, *layout.segments.iterdir()):
        path.unlink()

    with pytest.raises(AcknowledgedLost, match="the log is gone"):
        open_log(tmp_path)


def test_a_log_of_another_volume_is_refused(tmp_path: Path) -> None:
    """The head knows the record that it acknowledged."""
    one, other = tmp_path / "one", tmp_path / "other"
    write_log(one, 2)
    write_log(other, 2)
    Layout(one).head.write_bytes(Layout(other).head.read_bytes())

    with pytest.raises(LogCorrupt, match="is not the one"):
        open_log(one)


def test_a_damaged_sealed_segment_is_named(tmp_path: Path) -> None:
    """Its successor knows its length and digest."""
    write_log(tmp_path, 2)
    write_log(tmp_path, 2)
    first = min(Layout(tmp_path).segments.glob("*.jsonl"))
    content = bytearray(first.read_bytes())
    content[-80] ^= 1
    first.write_bytes(content)

    with pytest.raises(LogCorrupt) as caught:
        open_log(tmp_path)

    assert caught.value.file == first


def test_a_missing_segment_is_named(tmp_path: Path) -> None:
    """The chain back from the newest segment is whole or the log is not opened."""
    write_log(tmp_path, 1)
    write_log(tmp_path, 1)
    write_log(tmp_path, 1)
    missing = min(Layout(tmp_path).segments.glob("*.jsonl"))
    missing.unlink()

    with pytest.raises(LogCorrupt, match=f"its predecessor {missing.name} is missing"):
        open_log(tmp_path)
