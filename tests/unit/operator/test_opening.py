"""How an operator opens the log while its event loop has other things to do."""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path

import pytest

from support.logs import HOLDER
from support.volumes import hold_up_opening
from watchbill_operator import main
from watchbill_operator.main import open_coordinator


def list_open_files(root: Path) -> list[str]:
    """Files of the volume that this process has open."""
    found = []
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # the one of the listing
            found.append(os.readlink(f"/proc/self/fd/{number}"))
    return [path for path in found if path.startswith(str(root))]


def test_an_opening_that_is_cancelled_leaves_no_log_open(tmp_path: Path) -> None:
    """It cannot be stopped half-way: it is waited for, and what it opened is let go."""
    pipe = hold_up_opening(tmp_path)

    async def run() -> None:
        opening = asyncio.create_task(open_coordinator(tmp_path, HOLDER, 0))
        writer = await asyncio.to_thread(os.open, pipe, os.O_WRONLY)  # waits until the opening is there
        opening.cancel()
        await asyncio.sleep(0)
        pipe.unlink()
        os.close(writer)
        with pytest.raises(asyncio.CancelledError):
            await opening
        assert list_open_files(tmp_path) == []

    asyncio.run(run())


def test_an_operator_that_reads_a_long_log_has_not_stood_still(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """/healthz would else fail, and the kubelet kill each operator before it has read the log."""
    monkeypatch.setattr(main, "BEAT_SECONDS", 0.01)
    pipe = hold_up_opening(tmp_path)

    async def run() -> None:
        beats = asyncio.Semaphore(0)
        opening = asyncio.create_task(open_coordinator(tmp_path, HOLDER, 0, beat=beats.release))
        writer = await asyncio.to_thread(os.open, pipe, os.O_WRONLY)  # waits until the opening is there
        try:
            async with asyncio.timeout(60):
                await beats.acquire()
                await beats.acquire()
            assert not opening.done()
        finally:
            pipe.unlink()
            os.close(writer)
            (await opening).abandon()

    asyncio.run(run())
