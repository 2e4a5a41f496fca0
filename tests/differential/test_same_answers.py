"""The small server answers as the real one does, but for what the table of known differences explains.

Each scenario is one test. Its requests are in requests/, the real server's answers in recorded/, the known differences
in known.yaml. To record anew: pytest tests/differential --control-plane=real --record
"""

from __future__ import annotations

import itertools
import subprocess
from pathlib import Path

import pytest

from support.differential import Answer, Run
from support.differential_compare import Normaliser, find_differences, judge
from support.differential_record import (
    Answers,
    find_known,
    keep_only,
    load_known,
    load_recording,
    record_scenario,
)
from support.differential_requests import Scenario, Step, load_scenarios
from support.real_control_plane import CHECKOUT

HERE = Path(__file__).parent
RECORDED = HERE / "recorded"
SCENARIOS = load_scenarios(HERE / "requests")
KNOWN = load_known(HERE / "known.yaml")
THEMES = {theme: list(group) for theme, group in itertools.groupby(SCENARIOS, key=lambda each: each.theme)}


def ask(run: Run, scenario: Scenario) -> Answers:
    """Send a scenario's requests; returns what came back, made comparable."""
    normaliser = Normaliser()
    return {step.id: normaliser.normalise(step, answer, words) for step, answer, words in run.run_scenario(scenario)}


def describe(scenario: Scenario, step: Step, findings: list[str]) -> str:
    """Say which request it is, and what was expected and got."""
    return f"{scenario.theme}/{scenario.name}/{step.id} ({step.send or step.watch})\n    " + "\n    ".join(findings)


def compare(scenario: Scenario, expected: Answers, got: Answers, *, is_small: bool) -> list[str]:
    """Return what is wrong with the answers to a scenario; differences are known of the small server alone."""
    wrong = []
    for step in scenario.requests:
        known = find_known(KNOWN, scenario, step.id) if is_small else {}
        findings = judge(find_differences(expected.get(step.id), got.get(step.id)), known)
        wrong += [describe(scenario, step, findings)] if findings else []
    return wrong


@pytest.mark.parametrize("scenario", SCENARIOS, ids=[f"{each.theme}: {each.name}" for each in SCENARIOS])
def test_the_same_requests_get_the_same_answers(
    scenario: Scenario, small: Run, real: Run | None, is_recording: bool
) -> None:
    """Status, reason, causes, words, bodies, and the order of watch events."""
    recorded: Answers = load_recording(RECORDED, scenario.theme)["scenarios"].get(scenario.name, {})
    expected, wrong = recorded, []
    if real is not None:
        expected = ask(real, scenario)
        if is_recording:
            record_scenario(RECORDED, scenario, expected, find_version(real))
        else:
            wrong = [f"recorded, but not so: {each}" for each in compare(scenario, recorded, expected, is_small=False)]

    wrong += compare(scenario, expected, ask(small, scenario), is_small=True)

    assert not wrong, "\n" + "\n".join(wrong)


@pytest.mark.parametrize("theme", sorted(THEMES))
def test_the_recording_has_every_request_and_no_other(theme: str, is_recording: bool) -> None:
    """A request without an answer would compare nothing."""
    names = [each.name for each in THEMES[theme]]
    if is_recording:
        keep_only(RECORDED, theme, names)

    recording = load_recording(RECORDED, theme)

    assert recording["kubernetes"].startswith("v1.36.")
    assert list(recording["scenarios"]) == names
    for scenario in THEMES[theme]:
        assert list(recording["scenarios"][scenario.name]) == [step.id for step in scenario.requests]


@pytest.mark.parametrize("theme", sorted(THEMES))
def test_what_a_scenario_begins_with_is_created(theme: str) -> None:
    """Else all that follows would be about an object that is not there."""
    recorded = load_recording(RECORDED, theme)["scenarios"]
    begun = {(name, key): answer for name, answers in recorded.items() for key, answer in answers.items()}

    failed = [place for place, answer in begun.items() if place[1] == "create" and answer["status"] != 201]

    assert failed == []


def test_there_are_enough_requests() -> None:
    """At least two hundred, in the themes of an API server."""
    assert sum(len(each.requests) for each in SCENARIOS) >= 200
    assert len(THEMES) >= 8


def test_every_known_difference_is_about_a_request_and_has_its_reason() -> None:
    """The table speaks of requests that are there, once each path, in sentences."""
    requests = {f"{each.theme}/{each.name}/{step.id}" for each in SCENARIOS for step in each.requests}
    places = [(key, path) for each in KNOWN for key, paths in each["requests"].items() for path in paths]

    assert [key for key, _ in places if key not in requests] == []
    assert len(places) == len(set(places))
    assert [each for each in KNOWN if len(each["reason"].split()) < 5] == []


def test_the_recording_is_of_the_version_that_is_built() -> None:
    """Raising go.mod means recording anew: pytest tests/differential --control-plane=real --record."""
    argv = [CHECKOUT / "scripts" / "control-plane", "version"]
    built = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()

    assert {load_recording(RECORDED, theme)["kubernetes"] for theme in THEMES} == {f"v{built}"}


def find_version(run: Run) -> str:
    """The version that a server says it has."""
    answer: Answer = run.send(Step(send="GET /version"), {})
    return str(answer.json["gitVersion"])
