"""The Task objects that attempts ask for."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchbill_coordination.core.requests import ChildOrder
from watchbill_coordination.core.specs import ReplicaName, TaskUid
from watchbill_operator.children import build_child, build_label, is_from
from watchbill_operator.observations import Observation, parse_parent

LABEL = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?")
ORDER = ChildOrder(
    parent=TaskUid("uid-1"),
    parent_name="plan",
    agent=ReplicaName("blue-0"),
    attempt=2,
    request=7,
    spec={"prompt": "search", "role": "blue"},
)


def test_the_task_says_where_it_comes_from() -> None:
    """Its label for people and selectors, its annotations for us."""
    body = build_child("search-0123abcd", ORDER, "crew")

    assert body["metadata"] == {
        "name": "search-0123abcd",
        "namespace": "crew",
        "labels": {"watchbill.dev/parent": "plan"},
        "annotations": {
            "watchbill.dev/parent-uid": "uid-1",
            "watchbill.dev/parent-attempt": "2",
            "watchbill.dev/request": "7",
        },
    }
    assert body["spec"] == {"prompt": "search", "role": "blue"}


def test_a_task_that_was_made_is_recognised() -> None:
    """After an operator that died before it could say so."""
    assert is_from(build_child("search-0123abcd", ORDER, "crew"), ORDER)


@pytest.mark.parametrize("change", [{"watchbill.dev/request": "8"}, {"watchbill.dev/parent-uid": "uid-2"}])
def test_another_ones_task_is_not_taken_for_ours(change: dict[str, str]) -> None:
    """Though it has the name."""
    body = build_child("search-0123abcd", ORDER, "crew")
    body["metadata"]["annotations"] |= change

    assert not is_from(body, ORDER)


def test_a_task_without_annotations_is_a_users() -> None:
    """Whatever it is called."""
    assert not is_from({"metadata": {"name": "search-0123abcd"}}, ORDER)


@given(st.from_regex(r"[a-z0-9]([-a-z0-9.]{0,250}[a-z0-9])?", fullmatch=True))
def test_every_parents_name_makes_a_legal_label(name: str) -> None:
    """Names have 253 characters, labels 63."""
    label = build_label(name)

    assert len(label) <= 63
    assert LABEL.fullmatch(label)


def test_the_parent_is_told_to_the_log() -> None:
    """By the annotation of the object that was observed."""
    body = build_child("search-0123abcd", ORDER, "crew")

    assert parse_parent(Observation("Task", body)) == "uid-1"


@pytest.mark.parametrize("annotations", [None, {}, [], {"watchbill.dev/parent-uid": "../x" * 999}])
def test_an_annotation_that_is_no_uid_is_none(annotations: object) -> None:
    """Users can write there what they like."""
    assert parse_parent(Observation("Task", {"metadata": {"annotations": annotations}})) == ""
