"""Requests as values: what a path names, which form an Accept header wants, how a deletion is meant."""

from __future__ import annotations

import pytest

from watchbill_local.server.errors import ApiError
from watchbill_local.server.exchange import Target, parse_accept, parse_target
from watchbill_local.server.kinds import build_kinds
from watchbill_local.server.objects import DeleteOptions, decide_grace, parse_delete_options

PODS = next(kind for kind in build_kinds() if kind.plural == "pods")
CONFIG_MAPS = next(kind for kind in build_kinds() if kind.plural == "configmaps")


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/api/v1/pods", Target("", "v1", "pods")),
        ("/api/v1/namespaces/a/pods/b/log", Target("", "v1", "pods", "a", "b", "log")),
        ("/api/v1/namespaces", Target("", "v1", "namespaces")),
        ("/api/v1/namespaces/a", Target("", "v1", "namespaces", None, "a")),
        ("/api/v1/namespaces/a/status", Target("", "v1", "namespaces", None, "a", "status")),
        ("/apis/g.example/v2/namespaces/a/things/", Target("g.example", "v2", "things", "a")),
        ("/apis/g.example/v2/things/b/scale", Target("g.example", "v2", "things", None, "b", "scale")),
        ("/apis/g.example/v2", None),
        ("/api/v1", None),
        ("/version", None),
        ("/", None),
    ],
)
def test_a_path_names_a_resource_an_object_or_neither(path: str, target: Target | None) -> None:
    """The URL scheme of Kubernetes, both groups and both scopes."""
    assert parse_target(path) == target


@pytest.mark.parametrize(
    ("header", "table"),
    [
        ("", ""),
        ("*/*", ""),
        ("application/vnd.kubernetes.protobuf, application/json", ""),
        ("application/json;as=Table;v=v1;g=meta.k8s.io,application/json", "v1"),
        ("application/json; as=Table; v=v1beta1; g=meta.k8s.io", "v1beta1"),
        ("application/json;as=Table;v=v9;g=meta.k8s.io,application/json", ""),
        ("application/json, application/json;as=Table;v=v1;g=meta.k8s.io", ""),
    ],
)
def test_the_first_form_that_can_be_given_is_taken(header: str, table: str) -> None:
    """A Table in its version, or plain JSON; what the server does not know is passed over."""
    assert parse_accept(header) == table


def test_the_query_overrides_the_body_of_a_deletion() -> None:
    """As upstream decodes them."""
    body = {"gracePeriodSeconds": 30, "propagationPolicy": "Background", "preconditions": {"uid": "u"}}

    options = parse_delete_options(body, {"gracePeriodSeconds": "0"})

    assert options == DeleteOptions(uid="u", grace_seconds=0)


@pytest.mark.parametrize(
    "body", [{"propagationPolicy": "Orphan"}, {"gracePeriodSeconds": "soon"}, {"gracePeriodSeconds": -1}]
)
def test_a_deletion_that_cannot_be_done_as_asked_is_refused(body: dict[str, object]) -> None:
    """400, before anything happens."""
    with pytest.raises(ApiError) as refusal:
        parse_delete_options(body, {})

    assert refusal.value.code == 400


@pytest.mark.parametrize(
    ("spec", "phase", "asked", "grace"),
    [
        ({"nodeName": "n"}, "Running", None, 30),
        ({"nodeName": "n", "terminationGracePeriodSeconds": 5}, "Running", None, 5),
        ({"nodeName": "n", "terminationGracePeriodSeconds": 5}, "Running", 60, 60),
        ({"nodeName": "n"}, "Running", 0, 0),
        ({"nodeName": "n"}, "Succeeded", None, 0),
        ({}, "Pending", None, 0),
    ],
)
def test_only_a_pod_that_a_node_may_be_running_has_grace(
    spec: dict[str, object], phase: str, asked: int | None, grace: int
) -> None:
    """What was asked for, else what its spec says."""
    assert decide_grace(PODS, {"spec": spec, "status": {"phase": phase}}, asked) == grace


def test_other_kinds_have_no_grace() -> None:
    """gracePeriodSeconds means nothing to a ConfigMap."""
    assert decide_grace(CONFIG_MAPS, {"spec": {"nodeName": "n"}}, 30) == 0
