"""When the broker looks at its grants again."""

from __future__ import annotations

import asyncio
import errno
import os
from pathlib import Path

import pytest

from watchbill_broker import watching
from watchbill_broker.watching import FolderWatch


def notices_replacement(folder: Path, *, notify: str = "inotify") -> bool:
    """Whether a watch ends its wait after the file was replaced, and only then."""

    async def run() -> bool:
        watch = FolderWatch(folder, "grants.json", notify=notify)
        replace(folder, "1")
        await asyncio.wait_for(watch.wait(), 90)
        waiting = asyncio.ensure_future(watch.wait())
        await asyncio.sleep(0)
        was_quiet = not waiting.done()
        replace(folder, "2")
        await asyncio.wait_for(waiting, 90)
        watch.close()
        return was_quiet

    return asyncio.run(run())


def replace(folder: Path, content: str) -> None:
    """As the operator does it."""
    (folder / "new").write_text(content)
    (folder / "new").rename(folder / "grants.json")


@pytest.mark.parametrize("notify", ["inotify", "poll"])
def test_a_replaced_file_is_noticed(tmp_path: Path, notify: str) -> None:
    """By notification and by looking."""
    assert notices_replacement(tmp_path, notify=notify)


def test_a_user_without_watches_left_is_served_by_looking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user has 128 of them on many machines, and a fleet is larger."""

    def refuse() -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(watching, "Inotify", refuse)

    assert notices_replacement(tmp_path)


def test_a_folder_that_is_made_anew_is_found_again(tmp_path: Path) -> None:
    """Its watch went with the old one; looking now and then does not."""
    folder = tmp_path / "grants"
    folder.mkdir()

    async def run() -> None:
        watch = FolderWatch(folder, "grants.json", notify="inotify")
        replace(folder, "1")
        await asyncio.wait_for(watch.wait(), 90)
        (folder / "grants.json").unlink()
        folder.rmdir()
        await asyncio.wait_for(watch.wait(), 90)
        folder.mkdir()
        replace(folder, "2")

        await asyncio.wait_for(watch.wait(), 90)
        watch.close()

    asyncio.run(run())
    assert (folder / "grants.json").read_text() == "2"
