"""What an object of the API means, and which observations are old news."""

from __future__ import annotations

from typing import Any

import pytest

from watchbill_coordination.core.commands import DeclareAgent, RemoveAgent, RemoveTask, SubmitTask
from watchbill_operator.observations import (
    REMEMBERED_DELETIONS,
    Observation,
    Sightings,
    parse_agent,
    parse_observation,
    parse_task,
)


def seen(uid: str = "u1", version: str = "5", *, kind: str = "Task", deleted: bool = False, **more: Any) -> Observation:
    """An observation."""
    metadata = {"name": "a", "uid": uid, "resourceVersion": version, "generation": 2, **more.pop("metadata", {})}
    body = {"metadata": metadata, "spec": {"prompt": "x"}, **more}
    return Observation(kind, body, deleted)


def test_an_older_version_is_dropped() -> None:
    """A LIST may be overtaken by the watch."""
    sightings = Sightings()
    sightings.admit(seen(version="7"))

    assert not sightings.admit(seen(version="6"))


def test_the_same_version_is_admitted_again() -> None:
    """A reconcile looks at everything anew."""
    sightings = Sightings()
    sightings.admit(seen(version="7"))

    assert sightings.admit(seen(version="7"))


def test_a_deleted_object_does_not_come_back() -> None:
    """Its late changes may arrive after its deletion."""
    sightings = Sightings()
    assert sightings.admit(seen(deleted=True))

    assert not sightings.admit(seen(version="99"))


def test_an_object_of_the_same_name_is_another_object() -> None:
    """The uid counts."""
    sightings = Sightings()
    sightings.admit(seen("u1", deleted=True))

    assert sightings.admit(seen("u2", version="1"))


def test_deletions_are_forgotten_some_time() -> None:
    """The memory has a bound."""
    sightings = Sightings()
    for number in range(REMEMBERED_DELETIONS + 10):
        sightings.forget(str(number))

    assert len(sightings.removed) == REMEMBERED_DELETIONS


def test_a_task_is_submitted_with_its_uid() -> None:
    """The name is a label for people."""
    assert parse_task(seen()) == [SubmitTask(task="u1", name="a", spec={"prompt": "x"}, generation=2)]


def test_a_task_that_a_foreign_finalizer_keeps_counts_as_deleted() -> None:
    """Its user asked for its end."""
    leaving = seen(metadata={"deletionTimestamp": "2026-01-01T00:00:00Z"})

    assert parse_task(leaving) == [RemoveTask(task="u1")]


def test_an_agent_is_declared() -> None:
    """With its whole spec: the log takes what decides something."""
    assert parse_agent(seen(kind="Agent", spec={"role": "blue"})) == [
        DeclareAgent(agent="a", uid="u1", generation=2, spec={"role": "blue"})
    ]


def test_a_deleted_agent_is_removed() -> None:
    """By its uid, so that its successor of the same name stays."""
    assert parse_agent(seen(kind="Agent", deleted=True)) == [RemoveAgent(agent="a", uid="u1")]


@pytest.mark.parametrize("spec", [None, "text", ["list"], {"priority": "high", "replicas": "many"}])
def test_an_object_with_a_spec_that_cannot_be_read_yields_nothing(spec: Any) -> None:
    """The schema keeps it out; what comes nevertheless does no harm."""
    assert parse_task(seen(spec=spec)) == []
    assert parse_agent(seen(kind="Agent", spec=spec)) == []


@pytest.mark.parametrize("body", [{}, {"metadata": None}, {"metadata": {"name": "a"}}, {"metadata": {"uid": "u"}}])
def test_what_has_no_name_or_uid_is_no_observation(body: Any) -> None:
    """It cannot be spoken of."""
    assert parse_observation("Task", body) is None
