"""The Tasks of the quickstarts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from watchbill_cli.archive import Archive
from watchbill_cli.home import data_file
from watchbill_cli.quickstart import COMMAND, PROMPTS, Quickstart, Step, load_quickstart
from watchbill_coordination.core.specs import TYPES_BY_ROLE
from watchbill_local.model.scripts import SCRIPTS

SOURCE = Archive(data=b"", digest="5" * 64, files=1)
KINDS = (COMMAND, "scripted", "claude")


@pytest.fixture(params=KINDS)
def quickstart(request: pytest.FixtureRequest) -> Quickstart:
    """One of each kind."""
    return load_quickstart(SOURCE, request.param)


def test_every_task_waits_for_tasks_that_come_before_it(quickstart: Quickstart) -> None:
    """A diamond has no loop and no end that is open."""
    known: set[str] = set()
    for body in quickstart.build_tasks():
        assert set(body["spec"].get("dependsOn", ())) <= known
        known.add(body["metadata"]["name"])


def test_every_task_has_a_role_that_does_it(quickstart: Quickstart) -> None:
    """By the types that the three roles bring."""
    types = {kind for kinds in TYPES_BY_ROLE.values() for kind in kinds}

    assert {body["spec"]["type"] for body in quickstart.build_tasks()} <= types


def test_every_task_has_a_command_or_a_prompt(quickstart: Quickstart) -> None:
    """As its kind says."""
    member = "command" if quickstart.kind == COMMAND else "prompt"

    assert all(body["spec"][member] for body in quickstart.build_tasks())


def test_what_changes_an_answer_changes_the_names() -> None:
    """Input, programs or prompts, and who answers; the same again has its result already."""
    first = load_quickstart(SOURCE, "scripted")
    others = [load_quickstart(SOURCE, kind) for kind in KINDS if kind != "scripted"]
    others += [replace(first, source=replace(SOURCE, digest="6" * 64)), replace(first, work=SOURCE)]

    assert load_quickstart(SOURCE, "scripted").suffix == first.suffix
    assert first.suffix not in {other.suffix for other in others}


@pytest.mark.parametrize("step", PROMPTS, ids=lambda step: step.name)
def test_the_scripted_model_knows_every_prompt(step: Step) -> None:
    """By one phrase, so that no two scripts could play."""
    text = data_file(f"samples/prompts/{step.work}").read_text().lower()

    assert len([phrase for phrase in SCRIPTS if phrase in text]) == 1


def ended(quickstart: Quickstart, phase: str, attempts: dict[str, int]) -> list[dict[str, Any]]:
    """Its Tasks as they ended, with so many attempts by the first part of the name."""
    tasks = quickstart.build_tasks()
    for task in tasks:
        task["status"] = {"phase": phase, "attempts": attempts.get(task["metadata"]["name"].rsplit("-", 1)[0], 0)}
    return tasks


@pytest.mark.parametrize(("phase", "again"), [("Failed", 5), ("Cancelled", 5), ("Succeeded", 0), ("Running", 0)])
def test_what_failed_is_done_again(phase: str, again: int) -> None:
    """The same command with another key or gateway must not show the failure of before."""
    quickstart = load_quickstart(SOURCE, "claude")

    assert len(quickstart.find_failed(ended(quickstart, phase, {}))) == again


@pytest.mark.parametrize(
    ("attempts", "name"),
    [({"overview": 1, "tally": 1}, "tally"), ({"definitions": 1}, "definitions"), ({}, "")],
)
def test_the_transcript_that_is_named_is_there(attempts: dict[str, int], name: str) -> None:
    """The tally's says most, but a Task that never began has none."""
    quickstart = load_quickstart(SOURCE, "claude")

    assert quickstart.find_session(ended(quickstart, "Failed", attempts)).rpartition("-")[0] == name
