"""A cluster that is not as the operator needs it: it waits with one sentence, and goes on by itself."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from support.api_server import ApiServer
from support.operator_process import CRDS, LEASE, OperatorProcess, install_crds
from support.waiting import wait_for

DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
NAMESPACE = "/api/v1/namespaces/default"
RESTRICTED = {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}
Start = Callable[..., OperatorProcess]


def load_definition(path: Path) -> dict[str, Any]:
    """A definition as it ships."""
    loaded: dict[str, Any] = yaml.safe_load(path.read_text())
    return loaded


def make_older(definition: dict[str, Any], *fields: str) -> dict[str, Any]:
    """The same definition without these fields of the spec, and without the rules, which may name them."""
    older = copy.deepcopy(definition)
    schema = older["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    schema.pop("x-kubernetes-validations", None)
    spec = schema["properties"]["spec"]
    spec.pop("x-kubernetes-validations", None)
    for field in fields:
        del spec["properties"][field]
    return older


def wait_until_it_says(operator: OperatorProcess, words: str) -> str:
    """Wait until /readyz has these words; return its whole sentence."""
    wait_for(lambda: operator.status.get("http") and words in operator.get("/readyz")[1], f"it says: {words}")
    code, text = operator.get("/readyz")
    assert code == 503
    return text.strip()


def test_older_definitions_are_named_with_what_they_lack(bare_server: ApiServer, operator: Start) -> None:
    """It stands for no election meanwhile, and leads as soon as the new ones are there."""
    for path in sorted(CRDS.glob("*s.yaml")):
        definition = load_definition(path)
        fields = ("outputSchema", "suspend") if path.stem == "tasks" else ()
        bare_server.create(DEFINITIONS, make_older(definition, *fields))
    one = operator().start()

    said = wait_until_it_says(one, "older version")
    assert said == (
        "the CRD tasks.watchbill.dev is of an older version (it lacks spec.outputSchema and 1 more): "
        "kubectl apply -k crds"
    )
    assert f"waiting: {said}" in one.log
    assert one.get("/healthz")[0] == 200
    assert not bare_server.exists(LEASE)

    for path in sorted(CRDS.glob("*s.yaml")):
        definition = load_definition(path)
        bare_server.patch(f"{DEFINITIONS}/{definition['metadata']['name']}", {"spec": definition["spec"]})
    one.wait_until_leading()
    assert one.get("/readyz") == (200, "ok\n")


def test_definitions_that_are_not_there_are_waited_for(bare_server: ApiServer, operator: Start) -> None:
    """They may be applied after the operator."""
    one = operator().start()

    wait_until_it_says(one, "the CRDs are not installed yet")
    install_crds(bare_server)
    one.wait_until_leading()


def test_a_namespace_that_is_not_restricted_is_waited_for_where_that_is_asked(
    server: ApiServer, operator: Start
) -> None:
    """The sentence has the command that mends it."""
    one = operator(WATCHBILL_REQUIRE_RESTRICTED="true").start()

    said = wait_until_it_says(one, "restricted")
    assert "kubectl label --overwrite namespace default pod-security.kubernetes.io/enforce=restricted" in said
    server.patch(NAMESPACE, RESTRICTED)
    one.wait_until_leading()


def test_a_namespace_of_any_kind_will_do_where_nothing_is_asked(server: ApiServer, operator: Start) -> None:
    """As on this machine; the log tells of it once."""
    one = operator().lead()

    assert one.log.count("enforces no Pod Security standard") == 1
