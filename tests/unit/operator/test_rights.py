"""The operator's table of rights: the Role grants exactly these, and what lacks is told with its fix."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from watchbill_operator.rights import NEEDED, Right, find_lacking, is_granted, tell_lacking

BASE = Path(__file__).resolve().parents[3] / "manifests" / "base"


def load_rules() -> list[dict[str, Any]]:
    """The rules of the Role that ships."""
    documents = YAML(typ="safe").load_all((BASE / "rbac.yaml").read_text())
    [role] = [item for item in documents if item["kind"] == "Role"]
    rules: list[dict[str, Any]] = role["rules"]
    return rules


def test_the_role_grants_what_the_operator_needs_and_no_more() -> None:
    """One table in the operator, one file for kubectl."""
    granted = {
        Right(group, resource, verb, name)
        for rule in load_rules()
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
        for name in rule.get("resourceNames", [""])
    }

    assert granted == set(NEEDED)


@pytest.mark.parametrize("right", NEEDED, ids=str)
def test_a_role_without_one_verb_lacks_that_one(right: Right) -> None:
    """Whichever it is."""
    rules = [
        {**rule, "verbs": [verb]}
        for rule in load_rules()
        for verb in rule["verbs"]
        if not is_granted(right, {**rule, "verbs": [verb]})
    ]

    assert right in find_lacking(rules)


@pytest.mark.parametrize(
    "rule",
    [
        {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]},
        {"apiGroups": ["watchbill.dev"], "resources": ["*/status"], "verbs": ["patch", "get"]},
        {"apiGroups": ["watchbill.dev"], "resources": ["agents/status"], "verbs": ["*"], "resourceNames": []},
    ],
)
def test_wider_rules_give_a_right_too(rule: dict[str, Any]) -> None:
    """An administrator's, for one."""
    assert is_granted(Right("watchbill.dev", "agents/status", "patch"), rule)


@pytest.mark.parametrize(
    "rule",
    [
        {},
        {"apiGroups": [""], "resources": ["agents/status"], "verbs": ["patch"]},
        {"apiGroups": ["watchbill.dev"], "resources": ["agents"], "verbs": ["patch"]},
        {"apiGroups": ["watchbill.dev"], "resources": ["agents/status"], "verbs": ["patch"], "resourceNames": ["blue"]},
        {"apiGroups": "watchbill.dev", "resources": {}, "verbs": 1},
    ],
)
def test_other_rules_do_not_give_it(rule: dict[str, Any]) -> None:
    """Of one object, of another group, or no rules at all."""
    assert not is_granted(Right("watchbill.dev", "agents/status", "patch"), rule)


def test_one_right_that_lacks_is_told_with_its_group_and_the_fix() -> None:
    """In one sentence."""
    told = tell_lacking([Right("watchbill.dev", "agents/status", "patch")])

    assert told == (
        "the ServiceAccount watchbill-operator lacks `patch agents/status` (watchbill.dev): "
        "apply again what was installed, whose Role has all"
    )


def test_of_many_rights_three_are_named() -> None:
    """Where there is no Role at all, all of them lack."""
    assert f" and {len(NEEDED) - 3} more: apply" in tell_lacking(find_lacking([]))
