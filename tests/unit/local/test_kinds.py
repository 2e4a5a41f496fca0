"""The built-in kinds: defaults, checks and the cells of their tables."""

from __future__ import annotations

from typing import Any

import pytest

from watchbill_local.server.kinds import build_kinds
from watchbill_local.server.metadata import check_metadata
from watchbill_local.server.names import check_label, check_qualified_name, check_subdomain
from watchbill_local.server.resource import Resource

Obj = dict[str, Any]
CREATED = "2026-11-22T12:00:00Z"
NOW = 1795348860.0  # one minute later
KINDS = {kind.qualified: kind for kind in build_kinds()}


def pod(status: Obj | None = None, **metadata: Any) -> Obj:
    """Return a pod of one container with a status."""
    spec = {"containers": [{"name": "main", "image": "busybox"}], "restartPolicy": "Always"}
    return {"metadata": {"name": "p", "creationTimestamp": CREATED, **metadata}, "spec": spec, "status": status or {}}


def filled(kind: str, value: Obj) -> Obj:
    """Return a new object as the server would store it."""
    resource = KINDS[kind]
    value.setdefault("metadata", {"name": "x"})
    if resource.fill:
        resource.fill(value, None, CREATED)
    return value


def check(kind: str, value: Obj, old: Obj | None = None) -> list[tuple[str, str]]:
    """Return reason and field of what is wrong."""
    resource = KINDS[kind]
    assert resource.check is not None
    return [(cause.reason, cause.field) for cause in resource.check(value, old)]


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.qualified)
def test_every_kind_has_one_cell_for_each_column(kind: Resource) -> None:
    """Also for an object that holds nothing but its name."""
    assert len(kind.row({"metadata": {"name": "x"}}, NOW)) == len(kind.columns)


@pytest.mark.parametrize(
    ("name", "kind", "short_name", "namespaced"),
    [
        ("pods", "Pod", "po", True),
        ("namespaces", "Namespace", "ns", False),
        ("nodes", "Node", "no", False),
        ("configmaps", "ConfigMap", "cm", True),
        ("persistentvolumeclaims", "PersistentVolumeClaim", "pvc", True),
        ("customresourcedefinitions.apiextensions.k8s.io", "CustomResourceDefinition", "crd", False),
    ],
)
def test_a_kind_has_the_names_that_kubectl_knows(name: str, kind: str, short_name: str, namespaced: bool) -> None:
    """Plural, kind, short name, scope."""
    resource = KINDS[name]
    assert (resource.kind, resource.short_names[0], resource.namespaced) == (kind, short_name, namespaced)


def test_a_new_pod_is_completed_as_upstream_does() -> None:
    """Defaults, pull policy by tag, eviction tolerations, phase and class of service."""
    spec: Obj = {"containers": [{"name": "a", "image": "x:1"}, {"name": "b", "image": "r:5000/x"}]}
    value = filled("pods", {"spec": spec})
    assert [container["imagePullPolicy"] for container in value["spec"]["containers"]] == ["IfNotPresent", "Always"]
    assert (value["spec"]["restartPolicy"], value["spec"]["terminationGracePeriodSeconds"]) == ("Always", 30)
    assert [toleration["tolerationSeconds"] for toleration in value["spec"]["tolerations"]] == [300, 300]
    assert value["status"] == {"phase": "Pending", "qosClass": "BestEffort"}


def test_a_pod_without_a_spec_gets_no_containers() -> None:
    """Defaults of containers are for those that are there."""
    assert "containers" not in filled("pods", {})["spec"]


@pytest.mark.parametrize(
    ("resources", "qos"),
    [
        ({}, "BestEffort"),
        ({"requests": {"cpu": "1"}}, "Burstable"),
        ({"limits": {"cpu": "1", "memory": "1Gi"}}, "Guaranteed"),
        ({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1"}}, "Guaranteed"),
        ({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "0.5"}}, "Burstable"),
    ],
)
def test_the_class_of_service_follows_requests_and_limits(resources: Obj, qos: str) -> None:
    """Guaranteed needs both limits and equal requests; a request that is not given is the limit."""
    value = filled("pods", {"spec": {"containers": [{"name": "a", "image": "x", "resources": resources}]}})
    assert value["status"]["qosClass"] == qos


@pytest.mark.parametrize(
    ("change", "causes"),
    [
        ({"containers": []}, [("FieldValueRequired", "spec.containers")]),
        ({"containers": [{"image": "x"}]}, [("FieldValueRequired", "spec.containers[0].name")]),
        ({"containers": [{"name": "A", "image": "x"}]}, [("FieldValueInvalid", "spec.containers[0].name")]),
        ({"containers": [{"name": "a"}]}, [("FieldValueRequired", "spec.containers[0].image")]),
        (
            {"containers": [{"name": "a", "image": "x"}] * 2},
            [("FieldValueDuplicate", "spec.containers[1].name")],
        ),
        (
            {"containers": [{"name": "a", "image": "x", "volumeMounts": [{"name": "v", "mountPath": "/v"}]}]},
            [("FieldValueNotFound", "spec.containers[0].volumeMounts[0].name")],
        ),
        (
            {"volumes": [{"name": "v"}, {"name": "w"}, {"name": "v"}]},
            [("FieldValueDuplicate", "spec.volumes[2].name")],
        ),
        ({"restartPolicy": "Perhaps"}, [("FieldValueNotSupported", "spec.restartPolicy")]),
    ],
)
def test_a_malformed_pod_is_refused(change: Obj, causes: list[tuple[str, str]]) -> None:
    """The mistakes that people make most."""
    value = pod()
    value["spec"].update(change)
    assert check("pods", value) == causes


def test_of_a_pod_only_few_fields_may_change() -> None:
    """The image may, the command and the grace period may not."""
    old, image, command, grace = pod(), pod(), pod(), pod()
    grace["spec"]["terminationGracePeriodSeconds"] = 5
    image["spec"]["containers"][0]["image"] = "other"
    command["spec"]["containers"][0]["command"] = ["sh"]
    assert check("pods", image, old) == []
    assert check("pods", command, old) == check("pods", grace, old) == [("FieldValueForbidden", "spec")]


def test_an_update_does_not_set_the_node_of_a_pod() -> None:
    """That is for its binding, which tells two schedulers apart."""
    free, bound = pod(), pod()
    bound["spec"]["nodeName"] = "a"
    assert check("pods", bound, free) == check("pods", free, bound) == [("FieldValueForbidden", "spec")]


RUNNING = {"name": "main", "ready": True, "state": {"running": {}}, "restartCount": 0}


def ended(code: int, reason: str = "") -> Obj:
    """Return the status of a container that ended."""
    return {"name": "main", "state": {"terminated": {"exitCode": code, "reason": reason}}, "restartCount": 1}


@pytest.mark.parametrize(
    ("status", "word"),
    [
        ({"phase": "Pending"}, "Pending"),
        ({"phase": "Running", "containerStatuses": [RUNNING]}, "Running"),
        ({"phase": "Failed", "reason": "Evicted"}, "Evicted"),
        ({"phase": "Running", "containerStatuses": [ended(1, "Error")]}, "Error"),
        ({"phase": "Running", "containerStatuses": [ended(3)]}, "ExitCode:3"),
        ({"phase": "Succeeded", "containerStatuses": [ended(0, "Completed")]}, "Completed"),
        ({"phase": "Running", "containerStatuses": [ended(0, "Completed"), RUNNING]}, "NotReady"),
        (
            {
                "phase": "Running",
                "containerStatuses": [ended(0, "Completed"), RUNNING],
                "conditions": [{"type": "Ready", "status": "True"}],
            },
            "Running",
        ),
        ({"phase": "Failed", "containerStatuses": [ended(0, "Completed"), ended(2, "Error")]}, "Error"),
        (
            {"phase": "Pending", "containerStatuses": [{"state": {"waiting": {"reason": "ErrImagePull"}}}]},
            "ErrImagePull",
        ),
        ({"phase": "Pending", "initContainerStatuses": [{"state": {"running": {}}}]}, "Init:0/0"),
        ({"phase": "Pending", "initContainerStatuses": [ended(1, "Error")]}, "Init:Error"),
    ],
)
def test_the_status_of_a_pod_is_its_most_telling_reason(status: Obj, word: str) -> None:
    """kubectl's STATUS column."""
    assert KINDS["pods"].row(pod(status), NOW)[2] == word


@pytest.mark.parametrize(("phase", "word"), [("Running", "Terminating"), ("Succeeded", "Succeeded")])
def test_a_pod_that_is_deleted_shows_it_until_it_has_ended(phase: str, word: str) -> None:
    """A finished pod keeps its word."""
    assert KINDS["pods"].row(pod({"phase": phase}, deletionTimestamp=CREATED), NOW)[2] == word


def test_the_row_of_a_pod_counts_ready_containers_and_restarts() -> None:
    """READY, RESTARTS with the time of the last one, AGE, IP and node."""
    last = {"terminated": {"exitCode": 1, "finishedAt": CREATED}}
    status = {
        "phase": "Running",
        "podIP": "127.77.0.1",
        "containerStatuses": [{**RUNNING, "restartCount": 2, "lastState": last}],
    }
    value = pod(status)
    value["spec"]["nodeName"] = "here"
    expected = ["p", "1/1", "Running", "2 (60s ago)", "60s", "127.77.0.1", "here", "<none>", "<none>"]
    assert KINDS["pods"].row(value, NOW) == expected


@pytest.mark.parametrize(
    ("kind", "value", "cells"),
    [
        ("namespaces", {"status": {"phase": "Active"}}, ["x", "Active", "60s"]),
        ("configmaps", {"data": {"a": "1"}, "binaryData": {"b": "Mg=="}}, ["x", 2, "60s"]),
        ("secrets", {"type": "Opaque", "data": {}}, ["x", "Opaque", 0, "60s"]),
        ("leases.coordination.k8s.io", {"spec": {"holderIdentity": "me"}}, ["x", "me", "60s"]),
        ("serviceaccounts", {}, ["x", "60s"]),
        ("roles.rbac.authorization.k8s.io", {}, ["x", CREATED]),
        (
            "rolebindings.rbac.authorization.k8s.io",
            {"roleRef": {"kind": "Role", "name": "r"}},
            ["x", "Role/r", "60s", "", "", ""],
        ),
        (
            "persistentvolumeclaims",
            {"status": {"phase": "Bound", "accessModes": ["ReadWriteMany"], "capacity": {"storage": "1Gi"}}},
            ["x", "Bound", "", "1Gi", "ReadWriteMany", "", "<unset>", "60s", "<unset>"],
        ),
    ],
)
def test_a_row_shows_what_kubectl_shows(kind: str, value: Obj, cells: list[Any]) -> None:
    """The columns of upstream's printers."""
    value["metadata"] = {"name": "x", "creationTimestamp": CREATED}
    assert KINDS[kind].row(value, NOW) == cells


EVENT: Obj = {
    "apiVersion": "v1",
    "kind": "Event",
    "metadata": {"name": "e", "namespace": "default"},
    "involvedObject": {"kind": "Pod", "name": "p", "namespace": "default"},
    "reason": "Started",
    "message": " hello ",
    "type": "Normal",
    "source": {"component": "node", "host": "here"},
    "firstTimestamp": CREATED,
    "lastTimestamp": CREATED,
    "count": 3,
}


def test_the_row_of_an_event_tells_what_happened_to_what() -> None:
    """The wide columns too."""
    row = KINDS["events"].row(EVENT, NOW)
    assert row == ["60s", "Normal", "Started", "pod/p", "", "node", "hello", "60s", 3, "e"]


def test_the_plain_text_of_a_secret_is_encoded() -> None:
    """stringData never stays."""
    value = filled("secrets", {"stringData": {"a": "b"}, "data": {"c": "ZA=="}})
    assert (value["data"], "stringData" in value, value["type"]) == ({"a": "Yg==", "c": "ZA=="}, False, "Opaque")


@pytest.mark.parametrize(
    ("kind", "value", "causes"),
    [
        ("configmaps", {"data": {"a.b-c_D": "x"}, "binaryData": {"e": "eA=="}}, []),
        ("configmaps", {"data": {"a/b": "x"}}, [("FieldValueInvalid", "data[a/b]")]),
        ("configmaps", {"binaryData": {"..a": "x"}}, [("FieldValueInvalid", "binaryData[..a]")]),
        ("configmaps", {"data": {"a": "x" * (2**20 + 1)}}, [("FieldValueTooLong", "[]")]),
        ("configmaps", {"binaryData": {"a": "A" * (2**20 + 4)}}, []),
        ("configmaps", {"binaryData": {"a": "A" * (2**20 // 3 * 4 + 8)}}, [("FieldValueTooLong", "[]")]),
        ("secrets", {"kind": "Secret", "data": {"a": "A" * (2**20 + 4)}}, []),
        ("secrets", {"kind": "Secret", "data": {"a": "A" * (2**20 // 3 * 4 + 8)}}, [("FieldValueTooLong", "data")]),
        ("leases.coordination.k8s.io", {"spec": {"leaseDurationSeconds": 1}}, []),
        (
            "leases.coordination.k8s.io",
            {"spec": {"leaseDurationSeconds": 0}},
            [("FieldValueInvalid", "spec.leaseDurationSeconds")],
        ),
    ],
)
def test_a_built_in_kind_refuses_what_makes_no_sense(kind: str, value: Obj, causes: list[tuple[str, str]]) -> None:
    """The few checks that people meet."""
    assert check(kind, value) == causes


@pytest.mark.parametrize("kind", ["configmaps", "secrets"])
@pytest.mark.parametrize("change", [{"data": {"a": "eQ=="}}, {"binaryData": {"b": "eA=="}}, {"immutable": False}])
def test_what_is_immutable_does_not_change(kind: str, change: Obj) -> None:
    """Neither data nor the mark itself; each refusal names its field."""
    old = {"data": {"a": "eA=="}, "immutable": True}
    assert check(kind, {**old, "metadata": {"labels": {"x": "y"}}}, old) == []
    assert check(kind, {**old, **change}, old) == [("FieldValueForbidden", field) for field in change]


def test_what_is_not_immutable_may_become_so() -> None:
    """Together with its last change."""
    assert check("configmaps", {"data": {"a": "y"}, "immutable": True}, {"data": {"a": "x"}}) == []


def test_a_namespace_is_labelled_with_its_name() -> None:
    """Selectors on namespaces rely on it."""
    value = filled("namespaces", {"metadata": {"name": "n"}})
    assert value["metadata"]["labels"] == {"kubernetes.io/metadata.name": "n"}
    assert (value["spec"], value["status"]) == ({"finalizers": ["kubernetes"]}, {"phase": "Active"})


@pytest.mark.parametrize(
    ("metadata", "field", "message"),
    [
        (
            {"name": "Bad_Name"},
            "metadata.name",
            'Invalid value: "Bad_Name": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric '
            "characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex "
            r"used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
        ),
        (
            {"labels": {"a": "b c"}},
            "metadata.labels",
            'Invalid value: "b c": a valid label must be an empty string or consist of alphanumeric characters, '
            "'-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or "
            "'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')",
        ),
        ({"labels": {"x/": "b"}}, "metadata.labels", 'Invalid value: "x/": name part must be non-empty'),
        ({"annotations": {"a": "x" * 262_144}}, "metadata.annotations", "Too long: may not be more than 262144 bytes"),
        ({"finalizers": ["a/b/c"]}, "metadata.finalizers", 'Invalid value: "a/b/c": a valid label key must consist of'),
        (
            {"ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "p"}]},
            "metadata.ownerReferences.uid",
            'Invalid value: "": must not be empty',
        ),
    ],
)
def test_malformed_metadata_is_told_in_upstreams_words(metadata: Obj, field: str, message: str) -> None:
    """The sentences of kube-apiserver 1.36."""
    cause = check_metadata(KINDS["configmaps"], {"name": "a", **metadata})[0]
    assert cause.field == field
    assert cause.message.startswith(message)


@pytest.mark.parametrize(
    ("problems", "count"),
    [
        (check_label("a" * 63), 0),
        (check_label("a" * 64), 1),
        (check_label("a.b"), 1),
        (check_label("-a"), 1),
        (check_subdomain("a.b-c.d"), 0),
        (check_subdomain("a" * 253), 0),
        (check_subdomain("a" * 254), 1),
        (check_subdomain("a..b"), 1),
        (check_subdomain("a\n"), 1),
        (check_qualified_name("example.com/My.Name_1"), 0),
        (check_qualified_name("/a"), 1),
        (check_qualified_name("EXAMPLE/a"), 1),
        (check_qualified_name("a" * 64), 1),
    ],
)
def test_names_have_their_limits(problems: list[str], count: int) -> None:
    """Lengths and characters of labels, subdomains and keys."""
    assert len(problems) == count
