"""Shared context: from ConfigMaps to files, and away again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from support.archives import a_file, a_special, file_map, folder_maps, pack
from watchbill_coordination.core.commands import PublishContext, WithdrawContext
from watchbill_coordination.storage.layout import Layout
from watchbill_operator.context import Settled, SharedContext, digest_of

FOLDER = pack(a_file("src/a.py", b"print()"), a_file("b.txt", bytes(range(256)) * 20))


class Volume:
    """A volume, what the log calls published, and one operator's view of the ConfigMaps."""

    def __init__(self, root: Path) -> None:
        self.layout = Layout(root)
        self.layout.orchestration.mkdir(parents=True)
        self.published: dict[str, str] = {}
        self.context = SharedContext(self.layout)

    def see(self, *bodies: dict[str, Any]) -> None:
        """Observe ConfigMaps."""
        for body in bodies:
            self.context.shelf.see(body)

    def restart(self) -> None:
        """Another operator takes over: nothing is left but volume and log."""
        self.context = SharedContext(self.layout)
        self.context.clear_temporary()

    def settle(self, *, listed: bool = True) -> Settled:
        """Settle and commit until nothing is to be done; return what the last round found."""
        for _ in range(10):
            settled = self.context.settle(self.published, listed=listed)
            for command in settled.commands:
                if isinstance(command, PublishContext):
                    self.published[command.path] = command.digest
                elif isinstance(command, WithdrawContext):
                    self.published.pop(command.path)
            if not settled.commands:
                return settled
        raise AssertionError("it never comes to rest")

    def names(self) -> set[str]:
        """Files below shared-context."""
        root = self.layout.shared_context
        return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


@pytest.fixture
def volume(tmp_path: Path) -> Volume:
    """An empty one, in a path with a space."""
    return Volume(tmp_path / "a volume")


def test_a_file_is_written_and_published(volume: Volume) -> None:
    """With the digest of its content, readable for agents."""
    volume.see(file_map("notes", {"requirements.md": "be good"}))
    volume.settle()

    assert (volume.layout.shared_context / "requirements.md").read_text() == "be good"
    assert volume.published == {"requirements.md": digest_of(b"be good")}


def test_binary_data_is_written_as_it_is(volume: Volume) -> None:
    """Base64 is the API's business."""
    body = file_map("logo", {})
    body["binaryData"] = {"logo.bin": "AAEC"}
    volume.see(body)
    volume.settle()

    assert (volume.layout.shared_context / "logo.bin").read_bytes() == b"\x00\x01\x02"


def test_a_changed_file_is_replaced(volume: Volume) -> None:
    """And published with its new digest."""
    volume.see(file_map("notes", {"a.md": "old"}))
    volume.settle()
    volume.see(file_map("notes", {"a.md": "new"}, version="2"))
    volume.settle()

    assert (volume.layout.shared_context / "a.md").read_text() == "new"
    assert volume.published["a.md"] == digest_of(b"new")


def test_a_withdrawn_file_is_removed_after_the_log_knows(volume: Volume) -> None:
    """First the event, then the file."""
    volume.see(file_map("notes", {"a.md": "x"}))
    volume.settle()
    volume.context.shelf.forget("notes")

    first = volume.context.settle(volume.published, listed=True)
    assert first.commands == (WithdrawContext(path="a.md"),)
    assert volume.names() == {"a.md"}
    volume.settle()
    assert volume.names() == set()


def test_a_crash_between_event_and_removal_leaves_nothing_for_ever(volume: Volume) -> None:
    """The next operator knows what it put there."""
    volume.see(file_map("notes", {"a.md": "x"}))
    volume.settle()
    volume.published.clear()
    volume.restart()
    volume.settle()

    assert volume.names() == set()


def test_nothing_counts_as_gone_before_all_was_listed(volume: Volume) -> None:
    """An operator that just started has seen no ConfigMap yet."""
    volume.see(file_map("notes", {"a.md": "x"}))
    volume.settle()
    volume.restart()

    assert volume.settle(listed=False).commands == ()
    assert volume.names() == {"a.md"}


def test_files_of_others_are_never_removed(volume: Volume) -> None:
    """The operator's own, results, and what a person copied onto the volume."""
    shared = volume.layout.shared_context
    (shared / "results" / "t1").mkdir(parents=True)
    for name in ("project-state.md", "results/t1/stdout", "by-hand.md"):
        (shared / name).write_text("x")
    volume.see(file_map("notes", {"a.md": "x"}))
    volume.settle()
    volume.context.shelf.forget("notes")
    volume.settle()

    assert volume.names() == {"project-state.md", "results/t1/stdout", "by-hand.md"}


@pytest.mark.parametrize("key", ["project-state.md", "results", "input", ".hidden", "-x", "..", "a b"])
def test_a_reserved_name_is_refused_with_a_finding(volume: Volume, key: str) -> None:
    """Nobody writes the operator's files through a ConfigMap."""
    volume.see(file_map("bad", {key: "x"}))
    settled = volume.settle()

    assert volume.names() == set()
    assert [finding.reason for finding in settled.findings["bad"]] == ["NameNotAllowed"]


def test_of_two_that_offer_a_file_the_elder_wins(volume: Volume) -> None:
    """The other is told."""
    volume.see(file_map("late", {"a.md": "late"}, created="2026-02-01T00:00:00Z"), file_map("early", {"a.md": "early"}))
    settled = volume.settle()

    assert (volume.layout.shared_context / "a.md").read_text() == "early"
    assert [finding.reason for finding in settled.findings["late"]] == ["NameTaken"]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)], ids=str)
def test_a_folder_is_unpacked_when_all_its_parts_are_there(volume: Volume, order: tuple[int, ...]) -> None:
    """In whatever order they come."""
    maps = folder_maps(FOLDER, parts=3)
    path = f"input/{digest_of(FOLDER)[:16]}"
    for number in order[:2]:
        volume.see(maps[number])
        assert volume.settle().commands == ()
        assert volume.published == {}
    volume.see(maps[order[2]])
    volume.settle()

    assert volume.published == {path: digest_of(FOLDER)}
    assert volume.names() == {f"{path}/src/a.py", f"{path}/b.txt"}


def test_the_contents_of_an_unpacked_folder_are_let_go_of(volume: Volume) -> None:
    """An operator holds no archives in memory."""
    volume.see(*folder_maps(FOLDER, parts=2))
    volume.settle()

    held = [shelved.part.content for shelved in volume.context.shelf.volumes.values() if shelved.part]
    assert held == [b"", b""]


def test_a_folder_goes_with_the_last_of_its_parts(volume: Volume) -> None:
    """Somebody deletes the ConfigMaps one after another."""
    maps = folder_maps(FOLDER, parts=2)
    volume.see(*maps)
    volume.settle()
    volume.context.shelf.forget(maps[0]["metadata"]["name"])
    volume.settle()
    assert len(volume.published) == 1
    volume.context.shelf.forget(maps[1]["metadata"]["name"])
    volume.settle()

    assert volume.published == {}
    assert list(volume.layout.inputs.iterdir()) == []


def test_a_restart_publishes_nothing_again(volume: Volume) -> None:
    """What lies there and is published is right."""
    volume.see(file_map("notes", {"a.md": "x"}), *folder_maps(FOLDER))
    volume.settle()
    before = dict(volume.published)
    volume.restart()
    volume.see(file_map("notes", {"a.md": "x"}), *folder_maps(FOLDER))

    assert volume.context.settle(volume.published, listed=True).commands == ()
    assert volume.published == before


def test_what_vanished_from_the_volume_comes_back(volume: Volume) -> None:
    """Reconciled from what is there, not from what was done once."""
    volume.see(file_map("notes", {"a.md": "x"}))
    volume.settle()
    (volume.layout.shared_context / "a.md").unlink()
    volume.settle()

    assert volume.names() == {"a.md"}


REFUSED_FOLDERS = {
    "an attack": ("ArchiveRefused", folder_maps(pack(a_special("l", b"2", "/etc")))),
    "no archive": ("ArchiveRefused", folder_maps(b"plain text")),
    "another digest": ("DigestMismatch", folder_maps(FOLDER, digest="0" * 64)),
}


@pytest.mark.parametrize(("reason", "maps"), REFUSED_FOLDERS.values(), ids=REFUSED_FOLDERS.keys())
def test_a_bad_folder_is_told_and_not_published(volume: Volume, reason: str, maps: list[dict[str, Any]]) -> None:
    """It stops nothing else."""
    volume.see(*maps, file_map("notes", {"a.md": "x"}))
    settled = volume.settle()

    assert [finding.reason for findings in settled.findings.values() for finding in findings] == [reason]
    assert set(volume.published) == {"a.md"}


def test_a_refused_folder_is_told_of_each_of_its_config_maps(volume: Volume) -> None:
    """Whoever describes one of them reads why; Tasks that wait for the path are told by the path."""
    maps = folder_maps(b"plain text", parts=2)
    volume.see(*maps)
    settled = volume.settle()
    [(path, refusal)] = settled.refused.items()

    assert path == f"input/{digest_of(b'plain text')[:16]}"
    assert settled.findings == {body["metadata"]["name"]: (refusal,) for body in maps}


def test_a_bad_folder_that_was_mended_is_unpacked(volume: Volume) -> None:
    """The refusal belongs to the content, not to the name."""
    bad = folder_maps(FOLDER)[0]
    good = folder_maps(FOLDER)[0]
    bad["binaryData"] = {"part": "AAAA"}
    good["metadata"]["resourceVersion"] = "2"
    volume.see(bad)
    volume.settle()
    volume.see(good)
    settled = volume.settle()

    assert settled.findings == settled.refused == {}
    assert len(volume.published) == 1


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        ("watchbill.dev/digest", "abc"),
        ("watchbill.dev/part", "-1"),
        ("watchbill.dev/part", "1"),
        ("watchbill.dev/parts", "1000"),
        ("watchbill.dev/parts", "many"),
    ],
)
def test_a_part_with_a_wrong_annotation_is_told(volume: Volume, annotation: str, value: str) -> None:
    """By the name of its ConfigMap."""
    body = folder_maps(FOLDER)[0]
    body["metadata"]["annotations"][annotation] = value
    volume.see(body)

    assert [finding.reason for finding in volume.settle().findings[body["metadata"]["name"]]] == ["Malformed"]


def test_an_unknown_form_is_told(volume: Volume) -> None:
    """The label has two values."""
    body = file_map("odd", {"a": "x"})
    body["metadata"]["labels"]["watchbill.dev/shared-context"] = "tree"
    volume.see(body)

    assert [finding.reason for finding in volume.settle().findings["odd"]] == ["UnknownForm"]
