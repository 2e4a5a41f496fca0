"""Taking over results that an agent left as it liked."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from support.volume import REPLICA, TRAPS, make_volume
from support.waiting import wait_for
from watchbill_coordination.core.specs import TaskUid
from watchbill_coordination.storage.layout import Layout
from watchbill_coordination.storage.results import (
    MAX_DEPTH,
    MAX_ENTRIES,
    MAX_RESULT_BYTES,
    ResultCopied,
    ResultRefused,
    copy_result,
    discard_result,
    publish_result,
    sync_results,
)

UID = TaskUid("0d5a9f6e-3e0c")


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return make_volume(tmp_path)


@pytest.fixture
def result(layout: Layout) -> Path:
    """The folder that attempt 2 fills."""
    folder = layout.workspace(REPLICA) / "work" / UID / "attempt-2" / "result"
    folder.mkdir(parents=True)
    return folder


def copy(layout: Layout) -> ResultCopied | ResultRefused:
    """Copy and publish."""
    copied = copy_result(layout, REPLICA, UID, 2)
    if isinstance(copied, ResultCopied):
        publish_result(layout, UID, copied)
        discard_result(copied)
        sync_results(layout)
    return copied


def refusal(layout: Layout) -> str:
    """Return why it is refused; then nothing was copied."""
    refused = copy(layout)
    assert isinstance(refused, ResultRefused)
    assert os.listdir(layout.results) == []
    return refused.reason


def test_files_and_folders_are_copied_as_they_are(layout: Layout, result: Path) -> None:
    """Names, content, and the right to execute."""
    (result / "a" / "b").mkdir(parents=True)
    (result / "a" / "b" / "prüfung.txt").write_text("text")
    (result / "run.sh").write_text("#!/bin/sh")
    (result / "run.sh").chmod(0o700)

    assert copy(layout) == ResultCopied(files=2, bytes=13)

    copied = layout.result(UID)
    assert (copied / "a" / "b" / "prüfung.txt").read_text() == "text"
    assert os.access(copied / "run.sh", os.X_OK)
    assert (copied / "run.sh").stat().st_mode & 0o077 == 0o055


def test_copying_again_replaces_what_a_crash_left(layout: Layout, result: Path) -> None:
    """The caller could not record the first copy."""
    (result / "old").touch()
    copy(layout)
    (result / "old").unlink()
    (result / "new").touch()

    assert copy(layout) == ResultCopied(files=1, bytes=0)
    assert os.listdir(layout.result(UID)) == ["new"]
    assert os.listdir(layout.results) == [UID]


def test_an_attempt_without_a_result_folder_has_an_empty_result(layout: Layout) -> None:
    """Dependants find a folder without files."""
    assert copy(layout) == ResultCopied(files=0, bytes=0)
    assert os.listdir(layout.result(UID)) == []


@pytest.mark.parametrize("trap", TRAPS)
def test_a_trap_is_refused_by_name(layout: Layout, result: Path, trap: str) -> None:
    """Nothing is followed, and nothing blocks."""
    TRAPS[trap](result / "trap")

    assert "trap" in refusal(layout)


def test_a_link_to_a_folder_is_refused(layout: Layout, result: Path) -> None:
    """Also within the result."""
    (result / "real").mkdir()
    (result / "also").symlink_to("real")

    assert "also" in refusal(layout)


@pytest.mark.parametrize("level", ["result", "attempt", "task"])
def test_a_link_in_the_place_of_a_folder_above_is_refused(layout: Layout, result: Path, level: str) -> None:
    """The agent owns all of them."""
    (result / "file").touch()
    place = {"result": result, "attempt": result.parent, "task": result.parent.parent}[level]
    moved = layout.workspace(REPLICA) / "work" / "moved"
    place.rename(moved)
    place.symlink_to(moved)

    assert "symbolic link" in refusal(layout)


def test_a_result_of_exactly_the_limit_is_taken(layout: Layout, result: Path) -> None:
    """One MiB in all."""
    (result / "a").write_bytes(b"x" * (MAX_RESULT_BYTES - 1))
    (result / "b").write_bytes(b"x")

    assert copy(layout) == ResultCopied(files=2, bytes=MAX_RESULT_BYTES)


def test_a_byte_more_is_refused(layout: Layout, result: Path) -> None:
    """The file that is too much is named."""
    (result / "a").write_bytes(b"x" * MAX_RESULT_BYTES)
    (result / "b").write_bytes(b"x")

    assert f"more than {MAX_RESULT_BYTES} bytes, with b" in refusal(layout)


def test_too_many_files_are_refused(layout: Layout, result: Path) -> None:
    """However small."""
    for number in range(MAX_ENTRIES + 1):
        (result / str(number)).touch()

    assert f"more than {MAX_ENTRIES}" in refusal(layout)


def test_too_many_files_in_many_folders_are_refused(layout: Layout, result: Path) -> None:
    """All count together."""
    for number in range(20):
        (result / str(number)).mkdir()
        for inner in range(60):
            (result / str(number) / str(inner)).touch()

    assert f"more than {MAX_ENTRIES}" in refusal(layout)


def test_a_tree_that_is_too_deep_is_refused(layout: Layout, result: Path) -> None:
    """Long before a path is too long for the system."""
    deepest = result.joinpath(*["d"] * MAX_DEPTH)
    deepest.mkdir(parents=True)

    assert f"more than {MAX_DEPTH} folders" in refusal(layout)


@pytest.mark.parametrize("name", [b"new\nline", b"\xff", b"\x1b[2J"])
def test_a_name_that_is_not_printable_is_refused(layout: Layout, result: Path, name: bytes) -> None:
    """It would be shown to people and read by programs of others."""
    (result / os.fsdecode(name)).touch()

    assert "not printable" in refusal(layout)
    assert refusal(layout).isprintable()


@pytest.mark.parametrize("make", [Path.mkdir, Path.touch])
def test_what_cannot_be_read_is_refused(layout: Layout, result: Path, make: Callable[..., None]) -> None:
    """A folder or file without rights."""
    make(result / "closed", mode=0)
    if os.access(result / "closed", os.R_OK):
        pytest.skip("this user reads everything")

    assert "closed" in refusal(layout)


def test_a_folder_that_is_swapped_for_a_link_before_it_is_opened_is_refused(
    layout: Layout, result: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look at its name and the call that opens it."""
    secret = layout.root / "secret"
    secret.mkdir()
    (secret / "file").write_text("secret")
    (result / "folder").mkdir()
    genuine: Callable[..., int] = os.open

    def treacherous(path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if path == "folder":
            (result / "folder").rmdir()
            (result / "folder").symlink_to(secret)
        return genuine(path, flags, mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", treacherous)

    assert "folder" in refusal(layout)


def test_a_volume_that_cannot_be_written_is_an_error_of_the_system(
    layout: Layout, result: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No refusal: the attempt is not to blame. Nothing half written stays."""
    (result / "file").write_text("text")

    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)

    with pytest.raises(OSError, match="No space left"):
        copy(layout)
    assert os.listdir(layout.results) == []


SWAPPER = """
import os, sys
folder, secret = sys.argv[1:]
place = os.path.join(folder, "swapped")
while True:
    for make in (lambda: open(place, "w").close(), lambda: os.symlink(secret, place), lambda: os.mkfifo(place),
                 lambda: os.symlink(os.path.dirname(secret), place), lambda: os.mkdir(place)):
        make()
        os.rmdir(place) if os.path.isdir(place) and not os.path.islink(place) else os.unlink(place)
"""


def test_a_process_that_swaps_files_all_the_time_gets_nothing_copied_from_elsewhere(
    layout: Layout, result: Path
) -> None:
    """A hundred copies race with it; none of them follows it out of its folder, and none waits for its FIFO."""
    outside = layout.orchestration / "secret"
    outside.write_text("secret")
    swapper = subprocess.Popen([sys.executable, "-c", SWAPPER, str(result), str(outside)])
    outcomes: set[type] = set()
    try:
        wait_for(lambda: os.path.lexists(result / "swapped"), "the swapper to begin", every=0.001)
        for _ in range(100):
            outcomes.add(type(copy(layout)))
            copied = [file for file in layout.results.rglob("*") if file.is_file()]
            assert not any("secret" in file.read_text() for file in copied)
    finally:
        swapper.kill()
        swapper.wait()
    assert outcomes <= {ResultCopied, ResultRefused}
