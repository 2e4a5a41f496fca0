"""Processes that die at the n-th thing they do to a disk, played in one process.

Invariant: once dead, nothing reaches the disk any more, also not from `finally` blocks: what is left is what a kill
would have left.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

DISK_CALLS = ("open", "link", "rename", "unlink", "mkdir", "fsync", "fdatasync", "pwrite", "ftruncate")


class Died(BaseException):
    """The process is no more."""


@contextlib.contextmanager
def dying_at(step: int) -> Iterator[Callable[[], int]]:
    """Let the disk calls below go through up to number `step`, from 0; yields how many were made."""
    made = 0

    def wrap(call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **keywords: Any) -> Any:
            nonlocal made
            if made >= step:
                raise Died
            made += 1
            return call(*arguments, **keywords)

        return counted

    with pytest.MonkeyPatch.context() as patch:
        for name in DISK_CALLS:
            patch.setattr(os, name, wrap(getattr(os, name)))
        yield lambda: made
