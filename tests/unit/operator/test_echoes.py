"""Which changes of a Task are looked at, and which are only our own status coming back."""

from __future__ import annotations

from typing import Any

import pytest

from watchbill_operator.handlers import is_echo


def change(kind: str | None = "MODIFIED", *, generation: int = 1, told: int | None = 1, **metadata: Any) -> Any:
    """A watch event of a Task whose status tells of a generation."""
    status = {} if told is None else {"observedGeneration": told}
    return {"type": kind, "object": {"metadata": {"generation": generation, **metadata}, "status": status}}


def test_a_status_of_the_present_generation_is_an_echo() -> None:
    """Nothing but the status can have changed."""
    assert is_echo(change())


def test_a_new_spec_is_no_echo() -> None:
    """Its generation is one that the status does not tell of yet."""
    assert not is_echo(change(generation=2))


@pytest.mark.parametrize("kind", ["ADDED", "DELETED", None])
def test_only_changes_are_echoes(kind: str | None) -> None:
    """What is listed, new or gone is looked at whatever its status says."""
    assert not is_echo(change(kind))


def test_a_task_on_its_way_out_is_no_echo() -> None:
    """Somebody's finalizer keeps it, but it is to be treated as gone."""
    assert not is_echo(change(deletionTimestamp="2026-01-01T00:00:00Z"))


def test_a_task_without_a_status_is_no_echo() -> None:
    """Nobody has told of any generation."""
    assert not is_echo(change(told=None))
