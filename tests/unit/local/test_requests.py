"""Requests as values: what a path names, which form an Accept header wants, how a deletion is meant."""

from __future__ import annotations

import pytest

from watchbill_local.server.deletion import DeleteOptions, decide_finalizers, decide_grace, parse_delete_options
from watchbill_local.server.errors import ApiError
from watchbill_local.server.exchange import Target, parse_accept, parse_target
from watchbill_local.server.kinds import build_kinds

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
    ("header", "form"),
    [
        ("", ("", "")),
        ("*/*", ("", "")),
        ("application/vnd.kubernetes.protobuf, application/json", ("", "")),
        ("application/json;as=Table;v=v1;g=meta.k8s.io,application/json", ("Table", "v1")),
        ("application/json; as=Table; v=v1beta1; g=meta.k8s.io", ("Table", "v1beta1")),
        ("application/json;as=Table;v=v9;g=meta.k8s.io,application/json", ("", "")),
        ("application/json, application/json;as=Table;v=v1;g=meta.k8s.io", ("", "")),
        ("application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io", ("PartialObjectMetadata", "v1")),
    ],
)
def test_the_first_form_that_can_be_given_is_taken(header: str, form: tuple[str, str]) -> None:
    """A Table or metadata alone in its version, or plain JSON; what the server does not know is passed over."""
    assert parse_accept(header) == form


def test_a_form_that_cannot_be_given_is_not_acceptable() -> None:
    """406, where nothing else would do for the client."""
    with pytest.raises(ApiError) as refused:
        parse_accept("text/plain, application/json;as=Table;v=v9;g=meta.k8s.io")

    assert refused.value.code == 406


def test_delete_options_come_in_the_body() -> None:
    """The query is not looked at where there is one, as upstream."""
    body = {"gracePeriodSeconds": 30, "propagationPolicy": "Background", "preconditions": {"uid": "u"}}

    options = parse_delete_options(body, {"gracePeriodSeconds": "0"})

    assert options == DeleteOptions(policy="Background", uid="u", grace_seconds=30)


def test_delete_options_come_in_the_query() -> None:
    """curl without a body."""
    options = parse_delete_options(None, {"gracePeriodSeconds": "0", "propagationPolicy": "Orphan", "dryRun": "All"})

    assert options == DeleteOptions(policy="Orphan", grace_seconds=0, dry_run=True)


@pytest.mark.parametrize(("orphans", "policy"), [(True, "Orphan"), (False, "Background")])
def test_the_old_way_to_orphan_is_understood(orphans: bool, policy: str) -> None:
    """orphanDependents, from before there were policies."""
    assert parse_delete_options({"orphanDependents": orphans}, {}).policy == policy


def test_a_negative_grace_is_the_shortest() -> None:
    """As upstream."""
    assert parse_delete_options({"gracePeriodSeconds": -1}, {}).grace_seconds == 1


@pytest.mark.parametrize(
    ("body", "query", "code"),
    [
        ({"propagationPolicy": "Odd"}, {}, 422),
        ({"propagationPolicy": "Orphan", "orphanDependents": True}, {}, 422),
        ({"dryRun": ["Some"]}, {}, 422),
        ({"gracePeriodSeconds": "soon"}, {}, 400),
        ({"propagationPolicy": 3}, {}, 400),
        ({"kind": "Pod", "apiVersion": "v1"}, {}, 400),
        ([], {}, 400),
        (None, {"propagationPolicy": "Odd"}, 422),
        (None, {"gracePeriodSeconds": "soon"}, 400),
    ],
)
def test_a_deletion_that_cannot_be_done_as_asked_is_refused(body: object, query: dict[str, str], code: int) -> None:
    """Before anything happens, with the codes of a real server."""
    with pytest.raises(ApiError) as refusal:
        parse_delete_options(body, query)

    assert refusal.value.code == code


@pytest.mark.parametrize(
    ("present", "policy", "finalizers"),
    [
        ([], None, []),
        (["a"], "Foreground", ["a", "foregroundDeletion"]),
        (["a"], "Orphan", ["a", "orphan"]),
        (["foregroundDeletion", "a"], "Background", ["a"]),
        (["foregroundDeletion"], "Orphan", ["orphan"]),
        (["orphan"], None, ["orphan"]),
    ],
)
def test_a_policy_takes_the_place_of_an_earlier_one(
    present: list[str], policy: str | None, finalizers: list[str]
) -> None:
    """No policy leaves the finalizers as they are; other finalizers always stay."""
    assert decide_finalizers(present, policy) == finalizers


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
