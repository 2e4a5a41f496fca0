"""The comparison itself: what it takes for the same, and what it does not let pass."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from support.differential import Answer
from support.differential_compare import Normaliser, find_differences, judge
from support.differential_record import find_known, keep_only, load_recording, record_scenario
from support.differential_requests import Obj, Scenario, Step, build_path, fill_in, load_scenarios

WORDS = {"ns": "diff-abc", "group": "xyz.example.com"}
REFUSED: Obj = {
    "kind": "Status",
    "status": "Failure",
    "code": 422,
    "reason": "Invalid",
    "message": 'Widget "w" is invalid: [spec.a: Required value, spec.b: Invalid value: 1: too small]',
    "details": {
        "name": "w",
        "causes": [
            {"reason": "FieldValueRequired", "field": "spec.a", "message": "Required value"},
            {"reason": "FieldValueInvalid", "field": "spec.b", "message": "Invalid value: 1: too small"},
        ],
    },
}


def answer(body: Any, status: int = 200) -> Answer:
    """Return what a server would send."""
    return Answer(status, json.dumps(body), "application/json", ())


def normalise(body: Any, status: int = 200, **step: Any) -> Obj:
    """Return one answer made comparable."""
    return Normaliser().normalise(Step(id="it", **step), answer(body, status), WORDS)


def find(expected: Any, got: Any) -> list[str]:
    """Return the paths that differ between two answers."""
    return [each.path for each in find_differences(normalise(*expected), normalise(*got))]


def stored(version: str, uid: str = "7d1f8f6e-5a55-4a3e-9a35-1b1c3f1d2e4f", name: str = "a") -> Obj:
    """Return an object as a server shows it."""
    return {"kind": "ConfigMap", "metadata": {"name": name, "resourceVersion": version, "uid": uid}}


def test_another_status_code_is_a_difference() -> None:
    """Also where the bodies are alike."""
    assert find((REFUSED, 422), (REFUSED, 400)) == ["status"]


def test_another_reason_is_a_difference() -> None:
    """Clients decide by it."""
    assert find((REFUSED, 422), ({**REFUSED, "reason": "BadRequest"}, 422)) == ["reason"]


def test_causes_are_a_set() -> None:
    """Their order says nothing, and a cause that is told twice is told."""
    causes = REFUSED["details"]["causes"]
    turned = {**REFUSED, "details": {**REFUSED["details"], "causes": [*reversed(causes), causes[0]]}}

    assert find((REFUSED, 422), (turned, 422)) == []


def test_a_missing_cause_is_a_difference() -> None:
    """It is named by its reason and field."""
    fewer = {**REFUSED, "details": {**REFUSED["details"], "causes": REFUSED["details"]["causes"][:1]}}

    assert find((REFUSED, 422), (fewer, 422)) == ["causes/FieldValueInvalid spec.b"]


def test_the_words_of_a_cause_are_compared() -> None:
    """People read them."""
    causes = [{**each, "message": "Required value: really"} for each in REFUSED["details"]["causes"][:1]]
    other = {**REFUSED, "details": {**REFUSED["details"], "causes": causes}}

    assert "causes/FieldValueRequired spec.a/0" in find((REFUSED, 422), (other, 422))


def test_uids_and_versions_of_two_servers_are_the_same() -> None:
    """They are known by the step in which they were seen first."""
    assert find((stored("5"),), (stored("812", "0a1f8f6e-5a55-4a3e-9a35-1b1c3f1d2e4f"),)) == []


@pytest.mark.parametrize(("second", "is_same"), [("5", True), ("6", False)])
def test_an_update_that_should_change_nothing_is_seen_to_change_nothing(second: str, is_same: bool) -> None:
    """A version that was seen before is another answer than a new one."""
    quiet, other = Normaliser(), Normaliser()
    for normaliser in (quiet, other):
        normaliser.normalise(Step(id="create"), answer(stored("5")), WORDS)

    expected = quiet.normalise(Step(id="patch"), answer(stored("5")), WORDS)
    got = other.normalise(Step(id="patch"), answer(stored(second)), WORDS)

    assert (find_differences(expected, got) == []) is is_same


def test_times_of_now_are_the_servers_and_others_are_data() -> None:
    """A time that a client sent must come back as it was."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    assert normalise({"a": now, "b": "2020-01-01T10:00:00Z"})["body"] == {"a": "<time>", "b": "2020-01-01T10:00:00Z"}


def test_true_is_not_one() -> None:
    """Python takes them for equal, JSON does not."""
    assert find(({"a": 1},), ({"a": True},)) == ["body/a"]


def test_watch_events_are_compared_in_their_order() -> None:
    """Two events that change places are a difference."""
    lines = [json.dumps({"type": kind, "object": stored("5")}) for kind in ("ADDED", "DELETED")]
    texts = ["\n".join(lines), "\n".join(reversed(lines))]
    step = Step(id="it", watch="cm", show=("type",))

    first, second = (Normaliser().normalise(step, Answer(200, text, "application/json", ()), WORDS) for text in texts)

    assert [each.path for each in find_differences(first, second)] == ["events/0/type", "events/1/type"]


def test_a_new_difference_is_told_with_what_was_expected_and_got() -> None:
    """So that the failure says what to look at."""
    differences = find_differences({"status": 201}, {"status": 200})

    assert judge(differences, {}) == ["new difference: status: expected 201, got 200"]


def test_a_known_difference_passes_as_long_as_it_is_the_one_that_is_known() -> None:
    """The table holds what the small server says, so that another answer is new again."""
    differences = find_differences({"status": 201}, {"status": 415})

    assert judge(differences, {"status": 415}) == []
    assert judge(differences, {"status": 404}) == ["new difference: status: expected 201, got 415"]


def test_a_path_stands_for_all_below_it_and_null_for_any_value() -> None:
    """So that one entry explains a whole body."""
    differences = find_differences({"body": {"a": 1, "b": {"c": 2}}}, {"body": {"a": 3, "b": {"c": 4}}})

    assert judge(differences, {"body": None}) == []


def test_a_known_difference_that_is_gone_is_told() -> None:
    """The table must not explain what is not there."""
    assert judge([], {"status": 415}) == ["known difference that is no longer there: status"]


def test_a_recording_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    """Scenario by scenario, in the order of the requests; what is no longer asked goes."""
    first, second = (Scenario("theme", name, ()) for name in ("first", "second"))
    record_scenario(tmp_path, second, {"b": {"status": 200}, "a": {"status": 404, "text": "ü"}}, "v1.36.3")
    record_scenario(tmp_path, first, {"c": {"status": 201}}, "v1.36.3")

    keep_only(tmp_path, "theme", ["first", "second"])

    scenarios = load_recording(tmp_path, "theme")["scenarios"]
    assert list(scenarios) == ["first", "second"]
    assert list(scenarios["second"].items()) == [("b", {"status": 200}), ("a", {"status": 404, "text": "ü"})]


def test_what_is_known_of_a_request_is_found_in_all_entries() -> None:
    """One request may differ for two reasons."""
    known = [
        {"reason": "one", "requests": {"theme/name/id": {"status": 404}}},
        {"reason": "two", "requests": {"theme/name/id": {"body": None}, "theme/name/other": {"status": 1}}},
    ]

    assert find_known(known, Scenario("theme", "name", ()), "id") == {"status": 404, "body": None}


def test_paths_begin_with_a_place_or_a_slash() -> None:
    """Words of the run are filled in, and spaces are written as a URL has them."""
    assert build_path("cm/a?labelSelector=a in (b)", WORDS) == (
        "/api/v1/namespaces/diff-abc/configmaps/a?labelSelector=a%20in%20(b)"
    )
    assert build_path("/apis/{group}/v1", WORDS) == "/apis/xyz.example.com/v1"


def test_a_long_text_is_written_shortly() -> None:
    """Limits are tested without pages of text."""
    assert fill_in("{x*3} {ns}", WORDS) == "xxx diff-abc"


def test_two_steps_of_one_id_are_refused(tmp_path: Path) -> None:
    """Their answers would be taken for one another's."""
    (tmp_path / "theme.yaml").write_text("name: [{id: a, send: GET cm}, {id: a, send: GET cm/a}]")

    with pytest.raises(ValueError, match="not unique"):
        load_scenarios(tmp_path)
