"""Reading an outbox that its agent fills as it likes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from support.volume import REPLICA, TRAPS, make_volume, put_message
from watchbill_coordination.core.messages import Released
from watchbill_coordination.storage.layout import Layout
from watchbill_coordination.storage.mailbox import (
    MAX_FILES_PER_POLL,
    MAX_LISTED,
    MAX_QUARANTINED,
    MAX_REPORTED_PER_MINUTE,
    QUARANTINE_BYTES,
    Malformed,
    OutboxReader,
)

NAME = f"{5:020d}-released-00000000.jsonl"


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return make_volume(tmp_path)


@pytest.fixture
def outbox(layout: Layout) -> Path:
    return layout.workspace(REPLICA) / "outbox"


@pytest.fixture
def reader(layout: Layout) -> OutboxReader:
    return OutboxReader(layout, REPLICA)


def test_files_come_once_and_in_the_order_of_their_numbers(layout: Layout, reader: OutboxReader) -> None:
    """Whatever the order of the folder."""
    names = [put_message(layout, number) for number in (30, 4, 200)]

    first = reader.poll()

    assert [file.name for file in first] == [names[1], names[0], names[2]]
    assert not any(isinstance(file, Malformed) for file in first)
    assert reader.poll() == []


def test_a_file_can_be_offered_again(layout: Layout, reader: OutboxReader) -> None:
    """When it could not be dealt with."""
    name = put_message(layout, 1)
    first = reader.poll()

    reader.offer_again(name)

    assert reader.poll() == first


def test_another_reader_begins_anew(layout: Layout, reader: OutboxReader) -> None:
    """After a restart of the operator everything unacknowledged is read again."""
    put_message(layout, 1)

    assert reader.poll() == OutboxReader(layout, REPLICA).poll()


def test_a_file_that_is_being_written_is_left_alone(outbox: Path, reader: OutboxReader) -> None:
    """Its name is temporary."""
    (outbox / f".tmp-12-{NAME}").write_bytes(b'{"half')

    assert reader.poll() == []


def test_without_an_outbox_there_is_nothing_to_read(outbox: Path, reader: OutboxReader) -> None:
    """The replica may be gone."""
    outbox.rmdir()

    assert reader.poll() == []


def test_an_outbox_that_is_a_link_is_not_followed(layout: Layout, outbox: Path, reader: OutboxReader) -> None:
    """Not even to a folder full of messages."""
    put_message(layout, 1)
    outbox.rename(outbox.with_name("elsewhere"))
    outbox.symlink_to("elsewhere")

    assert reader.poll() == []


@pytest.mark.parametrize("name", [NAME, "anything"])
@pytest.mark.parametrize("trap", TRAPS)
def test_a_trap_is_reported_put_away_and_stops_nobody(layout: Layout, outbox: Path, trap: str, name: str) -> None:
    """The reader neither blocks nor follows, and the message behind it is read."""
    TRAPS[trap](outbox / name)
    good = put_message(layout, 6)
    reader = OutboxReader(layout, REPLICA)

    found = {file.name: file for file in reader.poll()}

    bad = found[name]
    assert isinstance(bad, Malformed)
    assert not isinstance(found[good], Malformed)
    reader.quarantine(bad.name)
    assert os.listdir(outbox) == [good]
    assert not any(
        b"secret" in file.read_bytes() or b"root:" in file.read_bytes() for file in layout.quarantine.iterdir()
    )


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"{", b"\xff" * 1000, b"[" * 1000, b'{"v":2}\n'], ids=lambda content: repr(content[:8])
)
def test_a_file_that_is_no_message_is_kept_in_quarantine(
    layout: Layout, outbox: Path, reader: OutboxReader, content: bytes
) -> None:
    """With its content, and out of the outbox."""
    (outbox / NAME).write_bytes(content)

    (bad,) = reader.poll()
    reader.quarantine(bad.name)

    assert isinstance(bad, Malformed)
    assert [file.read_bytes() for file in layout.quarantine.iterdir()] == [content]
    assert os.listdir(outbox) == []


@pytest.mark.parametrize("name", [b"new\nline", b"\xff\xfe", b"\x1b[2J", "ünï".encode(), b" ", b"x" * 255])
def test_a_strange_name_is_told_in_printable_text(outbox: Path, reader: OutboxReader, name: bytes) -> None:
    """It ends up in the log and on terminals; the file behind it is removed all the same."""
    (outbox / os.fsdecode(name)).write_bytes(b"x")

    (bad,) = reader.poll()
    reader.quarantine(bad.name)

    assert bad.name.isprintable()
    assert bad.name.encode()
    assert os.listdir(outbox) == []


def test_quarantine_takes_the_start_of_a_large_file(layout: Layout, outbox: Path, reader: OutboxReader) -> None:
    """64 KiB tell enough."""
    (outbox / NAME).write_bytes(b"x" * 500_000)

    (bad,) = reader.poll()
    reader.quarantine(bad.name)

    assert [file.stat().st_size for file in layout.quarantine.iterdir()] == [QUARANTINE_BYTES]


def test_a_flood_of_bad_files_is_told_ten_times_a_minute(layout: Layout, outbox: Path, reader: OutboxReader) -> None:
    """Otherwise one agent could fill the log; the rest is removed."""
    for number in range(200):
        (outbox / f"bad-{number}").write_bytes(b"x")
    put_message(layout, 1)

    found = reader.poll()

    assert sum(isinstance(file, Malformed) for file in found) == MAX_REPORTED_PER_MINUTE
    assert len(found) == MAX_REPORTED_PER_MINUTE + 1
    assert len(os.listdir(outbox)) == len(found)


def test_quarantine_has_a_limit_for_each_replica(layout: Layout, outbox: Path, reader: OutboxReader) -> None:
    """A file beyond it is removed, not kept."""
    for number in range(MAX_QUARANTINED):
        (layout.quarantine / f"{REPLICA}.{number}").touch()
    (outbox / NAME).write_bytes(b"x")

    (bad,) = reader.poll()
    reader.quarantine(bad.name)

    assert len(os.listdir(layout.quarantine)) == MAX_QUARANTINED
    assert os.listdir(outbox) == []


def test_a_folder_in_the_outbox_is_reported_once(outbox: Path, reader: OutboxReader) -> None:
    """It cannot be unlinked; it stays and stops nobody."""
    (outbox / NAME / "deep").mkdir(parents=True)

    (bad,) = reader.poll()
    reader.quarantine(bad.name)

    assert isinstance(bad, Malformed)
    assert reader.poll() == []


def test_a_flood_of_messages_is_read_in_portions(layout: Layout, reader: OutboxReader) -> None:
    """One poll takes at most 256, so that other agents get their turn, and nothing comes twice."""
    for number in range(1, MAX_LISTED + 100):
        put_message(layout, number)

    portions = [reader.poll() for _ in range(3)]

    assert [len(portion) for portion in portions] == [MAX_FILES_PER_POLL] * 3
    assert len({file.name for portion in portions for file in portion}) == 3 * MAX_FILES_PER_POLL


def test_a_file_that_is_swapped_for_a_link_before_it_is_opened_is_not_followed(
    layout: Layout, outbox: Path, reader: OutboxReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look at the name and the call that opens it."""
    name = put_message(layout, 1)
    secret = layout.root / "secret"
    secret.write_bytes((outbox / name).read_bytes())
    swap_before_open(monkeypatch, name, lambda: (outbox / name).unlink(), lambda: (outbox / name).symlink_to(secret))

    (bad,) = reader.poll()

    assert isinstance(bad, Malformed)
    assert "symbolic link" in bad.reason


def test_a_file_that_is_swapped_for_a_fifo_does_not_block(
    layout: Layout, outbox: Path, reader: OutboxReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Opening a FIFO for reading waits for a writer, unless one asks not to."""
    name = put_message(layout, 1)
    swap_before_open(monkeypatch, name, lambda: (outbox / name).unlink(), lambda: os.mkfifo(outbox / name))

    (bad,) = reader.poll()

    assert isinstance(bad, Malformed)
    assert "FIFO" in bad.reason


def swap_before_open(monkeypatch: pytest.MonkeyPatch, name: str, *steps: Callable[[], object]) -> None:
    """Do these steps right before that name is opened: the worst moment for a reader."""
    genuine = os.open

    def treacherous(path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if path == name:
            for step in steps:
                step()
        return genuine(path, flags, mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", treacherous)


def test_a_message_keeps_what_the_agent_said_it_has_read(layout: Layout, reader: OutboxReader) -> None:
    """The operator removes inbox files up to that number."""
    put_message(layout, 1, Released(incarnation="pod/1"), read=77)

    (file,) = reader.poll()

    assert not isinstance(file, Malformed)
    assert (file.header.read, file.header.incarnation) == (77, "pod/1")
