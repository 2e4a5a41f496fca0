"""Label and field selectors, JSON paths, ages."""

from __future__ import annotations

from typing import Any

import pytest

from watchbill_local.server.errors import ApiError
from watchbill_local.server.jsonpath import parse_jsonpath
from watchbill_local.server.kinds import build_kinds
from watchbill_local.server.selectors import parse_field_selector, parse_label_selector
from watchbill_local.server.times import age_of, human_duration, parse_time

LABELS = {"app": "web", "tier": "front", "example.com/a": ""}
PODS = next(kind for kind in build_kinds() if kind.kind == "Pod")


@pytest.mark.parametrize(
    ("text", "selected"),
    [
        ("app=web", True),
        ("app==web", True),
        ("app = db", False),
        ("app!=db", True),
        ("none!=x", True),
        ("app in (web, db)", True),
        ("app in (db)", False),
        ("app notin (db)", True),
        ("none notin (db)", True),
        ("app,tier", True),
        ("!none", True),
        ("!app", False),
        ("example.com/a=", True),
        ("app=web,tier in (front,back),!none", True),
        ("app=web,tier=back", False),
    ],
)
def test_a_label_selector_selects(text: str, selected: bool) -> None:
    """The grammar of kubectl's -l but for comparisons of numbers."""
    predicate = parse_label_selector(text)
    assert predicate is not None
    assert predicate(LABELS) is selected


@pytest.mark.parametrize("text", [None, "", "  "])
def test_no_label_selector_selects_everything(text: str | None) -> None:
    """None spares the test of each object."""
    assert parse_label_selector(text) is None


@pytest.mark.parametrize("text", ["a=b=c", "a in b", ",", "a=b,,c", "-a=b", "a=b c", "size>x"])
def test_a_malformed_label_selector_is_a_bad_request(text: str) -> None:
    """400 in upstream's words."""
    with pytest.raises(ApiError) as refused:
        parse_label_selector(text)
    assert refused.value.code == 400
    assert refused.value.message.startswith("unable to parse requirement: ")


@pytest.mark.parametrize(
    ("text", "selected"),
    [
        ("metadata.name=p", True),
        ("metadata.name!=p", False),
        ("status.phase=Running,spec.nodeName=", True),
        ("spec.nodeName==n", False),
        ("spec.hostNetwork=true", True),
    ],
)
def test_a_field_selector_selects(text: str, selected: bool) -> None:
    """Absent fields are empty texts."""
    predicate = parse_field_selector(text, PODS)
    assert predicate is not None
    value = {"metadata": {"name": "p"}, "spec": {"hostNetwork": True}, "status": {"phase": "Running"}}
    assert predicate(value) is selected


@pytest.mark.parametrize("text", ["status.message=x", "metadata.name"])
def test_a_field_that_cannot_be_selected_is_a_bad_request(text: str) -> None:
    """Each kind says what can be selected."""
    with pytest.raises(ApiError) as refused:
        parse_field_selector(text, PODS)
    assert refused.value.code == 400


VALUE: dict[str, Any] = {
    "spec": {"replicas": 3, "list": [{"n": 1}, {"n": 2}]},
    "metadata": {"labels": {"a.b/c": "x"}},
    "status": {"conditions": [{"type": "Ready", "status": "True"}, {"type": "Live", "status": "False"}]},
}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (".spec.replicas", [3]),
        ("{.spec.replicas}", [3]),
        ("$.spec.replicas", [3]),
        (".spec.none.deeper", []),
        (".spec.list[*].n", [1, 2]),
        (".spec.list[1].n", [2]),
        (".spec.list[-1].n", [2]),
        (".spec.list[7].n", []),
        ('.status.conditions[?(@.type=="Ready")].status', ["True"]),
        (".status.conditions[?(@.type!='Ready')].status", ["False"]),
        (".spec.list[?(@.n==2)].n", [2]),
        (r".metadata.labels.a\.b/c", ["x"]),
        (".metadata.labels['a.b/c']", ["x"]),
    ],
)
def test_a_json_path_finds(path: str, found: list[Any]) -> None:
    """The forms that printer columns use."""
    assert parse_jsonpath(path)(VALUE) == found


@pytest.mark.parametrize("path", [".a[", ".a[?(@.b)]", ".a[x]"])
def test_a_path_beyond_the_supported_part_is_an_error(path: str) -> None:
    """A column that could never show anything is refused with its CRD."""
    with pytest.raises(ValueError, match="unrecognized"):
        parse_jsonpath(path)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "<invalid>"),
        (-1, "0s"),
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (200, "3m20s"),
        (600, "10m"),
        (10_799, "179m"),
        (10_800, "3h"),
        (11_100, "3h5m"),
        (8 * 3600, "8h"),
        (47 * 3600, "47h"),
        (2 * 86400, "2d"),
        (2 * 86400 + 3600, "2d1h"),
        (8 * 86400, "8d"),
        (729 * 86400, "729d"),
        (730 * 86400, "2y"),
        (800 * 86400, "2y70d"),
        (8 * 365 * 86400, "8y"),
    ],
)
def test_a_duration_reads_as_kubectl_prints_it(seconds: float, text: str) -> None:
    """The steps of upstream's HumanDuration."""
    assert human_duration(seconds) == text


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1970-01-01T00:01:00Z", 60.0),
        ("1970-01-01T01:01:00+01:00", 60.0),
        ("1970-01-01T00:00:01.500000Z", 1.5),
        ("1970-01-01", None),
        ("soon", None),
    ],
)
def test_a_time_of_the_api_is_read(text: str, seconds: float | None) -> None:
    """RFC 3339 with a zone; anything else is no time."""
    assert parse_time(text) == seconds


def test_an_age_without_a_time_is_unknown() -> None:
    """Objects without a creation time do not break a table."""
    assert age_of(None, 0) == age_of("soon", 0) == "<unknown>"
