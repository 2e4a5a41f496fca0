"""The fields that the operator knows: those of the shipped CRDs, compared with what a cluster serves."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from watchbill_operator.crd_paths import PLURALS, build_paths, find_older, load_known_paths

CHECKOUT = Path(__file__).resolve().parents[3]
Obj = dict[str, Any]


def load_schema(kind: str) -> Obj:
    """The schema that ships."""
    path = CHECKOUT / "crds" / f"{PLURALS[kind]}.yaml"
    loaded: Obj = YAML(typ="safe").load(path.read_text())["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return loaded


def document(**schemas: Obj) -> Obj:
    """An OpenAPI document with these kinds."""
    named = {
        f"dev.watchbill.v1alpha1.{kind}": {
            **schema,
            "x-kubernetes-group-version-kind": [{"group": "watchbill.dev", "kind": kind, "version": "v1alpha1"}],
        }
        for kind, schema in schemas.items()
    }
    return {"components": {"schemas": named}}


@pytest.mark.parametrize("kind", PLURALS)
def test_the_table_is_that_of_the_shipped_definitions(kind: str) -> None:
    """When a field is added, `.venv/bin/python scripts/crd_paths.py` makes it anew."""
    assert list(load_known_paths()[kind]) == build_paths(load_schema(kind))


def test_definitions_that_ship_are_not_older() -> None:
    """Nothing to say."""
    assert find_older(document(Agent=load_schema("Agent"), Task=load_schema("Task"))) == ""


def test_newer_definitions_are_no_trouble() -> None:
    """Fields that this operator does not know are somebody else's."""
    newer = copy.deepcopy(load_schema("Task"))
    newer["properties"]["spec"]["properties"]["tomorrow"] = {"type": "string"}

    assert find_older(document(Task=newer)) == ""


def test_a_field_that_lacks_is_named_without_those_in_it() -> None:
    """All of `spec.runner.claude` counts once."""
    older = copy.deepcopy(load_schema("Agent"))
    del older["properties"]["spec"]["properties"]["runner"]["properties"]["claude"]

    assert find_older(document(Agent=older, Task=load_schema("Task"))) == (
        "the CRD agents.watchbill.dev is of an older version (it lacks spec.runner.claude): kubectl apply -k crds"
    )


@pytest.mark.parametrize("answer", [{}, {"components": None}, {"components": {"schemas": {"x": [], "y": {}}}}])
def test_an_answer_without_our_kinds_proves_nothing(answer: Obj) -> None:
    """Nobody is held up by a server that does not describe them."""
    assert find_older(answer) == ""
