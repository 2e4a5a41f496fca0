"""What an operator asks before it stands for election, answered by a real API server."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from support.local_system import LocalSystem
from support.waiting import wait_for
from watchbill_operator.crd_paths import find_older

DOCUMENT = "/openapi/v3/apis/watchbill.dev/v1alpha1"
FEWER_RIGHTS = [("agents/status", "patch"), ("pods", "delete")]


@contextmanager
def second_operator(system: LocalSystem, folder: Path) -> Iterator[Path]:
    """Another operator process for the same namespace, with the account of the first; yields its log."""
    environment = {
        **system.environment,
        "KUBECONFIG": str(system.home / "run" / "operator-kubeconfig"),
        "WATCHBILL_ROOT": str(system.root),
        "WATCHBILL_NAMESPACE": system.namespace,
    }
    log = folder / "second operator's log"
    with log.open("wb") as stream:
        process = subprocess.Popen([sys.executable, "-m", "watchbill_operator"], env=environment, stderr=stream)
    try:
        yield log
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


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
    own_system: LocalSystem, tmp_path: Path, resource: str, verb: str
) -> None:
    """It stands for no election before."""
    if own_system.plane is None:
        pytest.skip("the small API server checks no rights: run with --control-plane=real")
    role = own_system.get("role", "watchbill-operator") or {}
    fewer = json.dumps({"rules": without(role["rules"], resource, verb)})
    own_system.kubectl("patch", "role", "watchbill-operator", "--type=merge", "-p", fewer)

    with second_operator(own_system, tmp_path) as log:
        group = " (watchbill.dev)" if resource.endswith("/status") else ""
        said = f"waiting: the ServiceAccount watchbill-operator lacks `{verb} {resource}`{group}: apply manifests/base/"
        wait_for(lambda: said in log.read_text(), f"the log says: {said}")
        assert " leads" not in log.read_text()

        own_system.kubectl(
            "patch", "role", "watchbill-operator", "--type=merge", "-p", json.dumps({"rules": role["rules"]})
        )
        wait_for(lambda: " leads" in log.read_text(), "it stands by")


def test_a_real_server_describes_every_field_that_the_operator_knows(system: LocalSystem) -> None:
    """So that a field which is not described is one that the CRD lacks."""
    if system.plane is None:
        pytest.skip("what the small API server describes is shown with the operator: run with --control-plane=real")
    code, answer = system.plane.call("GET", DOCUMENT)
    document = json.loads(answer)

    assert code == 200
    assert find_older(document) == ""
    for schema in document["components"]["schemas"].values():
        (schema.get("properties") or {}).pop("spec", None)
    assert "(it lacks spec)" in find_older(document)
