"""The operator writes an inbox, the agent reads it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from support.volume import REPLICA, make_volume
from watchbill_coordination.codec.messages import MessageFile
from watchbill_coordination.core.messages import Ack, Drain, Message, Released
from watchbill_coordination.storage.layout import Layout
from watchbill_coordination.storage.mailbox import InboxWriter, OutboxReader
from watchbill_coordination.storage.mailbox_agent import InboxReader, OutboxWriter

DRAIN = Drain(deadline_seconds=30.0)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return make_volume(tmp_path)


@pytest.fixture
def inbox(layout: Layout) -> Path:
    return layout.workspace(REPLICA) / "inbox"


@pytest.fixture
def writer(layout: Layout) -> InboxWriter:
    begun = InboxWriter(layout, REPLICA)
    begun.reset()
    return begun


def read(reader: InboxReader) -> list[Message]:
    return [message for file in reader.poll() for message in file.messages]


def test_a_delivered_message_is_read_once(writer: InboxWriter, inbox: Path) -> None:
    """And its number is what the agent reports as read."""
    writer.deliver("drain", DRAIN, 1, 5)
    reader = InboxReader(inbox)

    assert read(reader) == [DRAIN]
    assert read(reader) == []
    assert reader.read == 5 * 1024


def test_a_key_has_one_file_at_a_time(writer: InboxWriter, inbox: Path) -> None:
    """Delivering is idempotent, so that it can follow from state."""
    assert writer.deliver("drain", DRAIN, 1, 5)
    assert not writer.deliver("drain", DRAIN, 1, 6)

    assert len(os.listdir(inbox)) == 1


def test_what_was_read_is_removed_and_its_key_is_free(writer: InboxWriter, inbox: Path) -> None:
    """What lies behind the number stays."""
    writer.deliver("a", DRAIN, 1, 5)
    writer.deliver("b", DRAIN, 1, 5)

    writer.forget(5 * 1024)

    assert len(os.listdir(inbox)) == 1
    assert writer.deliver("a", DRAIN, 1, 5)
    assert not writer.deliver("b", DRAIN, 1, 5)


def test_numbers_grow_over_a_restart_of_the_operator(layout: Layout, writer: InboxWriter, inbox: Path) -> None:
    """From the files that lie there, or from the place in the log when none does."""
    for key in ("a", "b", "c"):
        writer.deliver(key, DRAIN, 1, 5)
    reader = InboxReader(inbox)
    reader.poll()
    before = reader.read
    again = InboxWriter(layout, REPLICA)
    again.reset()
    assert os.listdir(inbox) == []

    again.deliver("a", DRAIN, 2, 5)

    assert read(reader) == [DRAIN]
    assert reader.read > before


def test_a_lower_epoch_is_not_obeyed(layout: Layout, writer: InboxWriter, inbox: Path) -> None:
    """A deposed operator may still write."""
    reader = InboxReader(inbox)
    writer.deliver("new", DRAIN, 7, 9)
    reader.poll()

    writer.deliver("old", Ack(names=("x",), seq=1), 6, 9)

    assert read(reader) == []


def test_a_higher_epoch_may_begin_with_lower_numbers(layout: Layout, writer: InboxWriter, inbox: Path) -> None:
    """A restored log is shorter; what the agent reports as read follows the new numbers."""
    reader = InboxReader(inbox)
    writer.deliver("old", DRAIN, 1, 1000)
    reader.poll()
    writer.reset()
    restored = InboxWriter(layout, REPLICA)
    restored.reset()

    restored.deliver("new", DRAIN, 2, 3)

    assert read(reader) == [DRAIN]
    assert reader.read == 3 * 1024


def test_an_inbox_without_its_folder_is_an_error_of_the_system(
    layout: Layout, writer: InboxWriter, inbox: Path
) -> None:
    """The caller makes it again."""
    inbox.rmdir()

    with pytest.raises(FileNotFoundError):
        writer.deliver("drain", DRAIN, 1, 5)
    inbox.mkdir()
    assert writer.deliver("drain", DRAIN, 1, 5)


def test_an_agent_removes_only_mailbox_files_on_acknowledgement(layout: Layout) -> None:
    """Not what another name would lead to."""
    outbox = layout.workspace(REPLICA) / "outbox"
    precious = layout.workspace(REPLICA) / "state" / "precious"
    precious.touch()
    writer = OutboxWriter(outbox, REPLICA, "pod/1", start=1)
    name = writer.send([DRAIN], read=0, sync=True)

    writer.remove(["../state/precious", name, name])

    assert precious.exists()
    assert os.listdir(outbox) == []


def test_numbers_grow_over_the_lives_of_an_agent(layout: Layout) -> None:
    """However short a life was: what it wrote is read before what the next one writes."""
    outbox = layout.workspace(REPLICA) / "outbox"
    first = OutboxWriter(outbox, REPLICA, "pod/7", start=7)
    names = [first.send([DRAIN], read=0, sync=False) for _ in range(3)]

    names.append(OutboxWriter(outbox, REPLICA, "pod/8", start=8).send([DRAIN], read=0, sync=False))

    assert names == sorted(names)


def test_a_start_in_the_year_2200_has_numbers_that_are_read(layout: Layout) -> None:
    """They stay below the bound that all readers agree on."""
    outbox = layout.workspace(REPLICA) / "outbox"
    start = 7_258_118_400_000
    OutboxWriter(outbox, REPLICA, f"pod/{start}", start=start).send(
        [Released(incarnation=f"pod/{start}")], read=0, sync=False
    )

    (file,) = OutboxReader(layout, REPLICA).poll()
    assert isinstance(file, MessageFile)


def test_half_written_files_of_a_former_life_are_swept(layout: Layout) -> None:
    """They were never sent."""
    outbox = layout.workspace(REPLICA) / "outbox"
    (outbox / ".tmp-1-x").touch()

    OutboxWriter(outbox, REPLICA, "pod/2", start=2).sweep()

    assert os.listdir(outbox) == []


def test_a_file_that_cannot_be_read_now_is_not_passed_over(writer: InboxWriter, inbox: Path) -> None:
    """Otherwise the operator would remove it as read."""
    writer.deliver("first", DRAIN, 1, 5)
    (first,) = inbox.iterdir()
    content = first.read_bytes()
    first.unlink()
    first.mkdir()
    writer.deliver("second", Ack(names=("x",), seq=1), 1, 5)
    reader = InboxReader(inbox)
    assert read(reader) == []
    assert reader.read == 0

    first.rmdir()
    first.write_bytes(content)

    assert read(reader) == [DRAIN, Ack(names=("x",), seq=1)]
