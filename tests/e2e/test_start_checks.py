"""What an operator asks before it stands for election, answered by a real API server."""

from __future__ import annotations

import json
from typing import Any

import pytest

from support.rivals import start_rival
from support.system import System
from support.waiting import wait_for
from watchbill_operator.crd_paths import find_older

DOCUMENT = "/openapi/v3/apis/watchbill.dev/v1alpha1"
FEWER_RIGHTS = [("agents/status", "patch"), ("pods", "delete")]


def without(rules: list[dict[str, Any]], resource: str, verb: str) -> list[dict[str, Any]]:
    """The rules of a Role but for one verb on one resource, which may stand beside others in a rule."""
    left = []
    for rule in rules:
        same = [each for each in rule["resources"] if each != resource]
        left.append({**rule, "resources": same})
        verbs = [each for each in rule["verbs"] if each != verb]
        left.append({**rule, "resources": [each for each in rule["resources"] if each == resource], "verbs": verbs})
    return [rule for rule in left if rule["resources"] and rule["verbs"]]


@pytest.mark.parametrize(("resource", "verb"), FEWER_RIGHTS)
def test_an_operator_without_one_verb_names_it_and_goes_on_when_it_is_granted(
    own_system: System, resource: str, verb: str
) -> None:
    """It stands for no election before."""
    if not own_system.has_guards:
        pytest.skip("the small API server checks no rights: run with --control-plane=real")
    role = own_system.get("role", "watchbill-operator") or {}
    fewer = json.dumps({"rules": without(role["rules"], resource, verb)})
    own_system.kubectl("patch", "role", "watchbill-operator", "--type=merge", "-p", fewer)

    second = start_rival(own_system, "second", own_system.operator_environment())
    try:
        group = " (watchbill.dev)" if resource.endswith("/status") else ""
        said = f"waiting: the ServiceAccount watchbill-operator lacks `{verb} {resource}`{group}: apply again"
        wait_for(lambda: said in second.log, f"the log says: {said}")
        assert " leads" not in second.log

        own_system.kubectl(
            "patch", "role", "watchbill-operator", "--type=merge", "-p", json.dumps({"rules": role["rules"]})
        )
        wait_for(lambda: " leads" in second.log, "it stands by")
    finally:
        second.end()


def test_a_real_server_describes_every_field_that_the_operator_knows(system: System) -> None:
    """So that a field which is not described is one that the CRD lacks."""
    if not system.has_guards:
        pytest.skip("what the small API server describes is shown with the operator: run with --control-plane=real")
    document = json.loads(system.kubectl("get", "--raw", DOCUMENT))

    assert find_older(document) == ""
    for schema in document["components"]["schemas"].values():
        (schema.get("properties") or {}).pop("spec", None)
    assert "(it lacks spec)" in find_older(document)
