"""Merge, JSON and strategic merge patches."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchbill_local.server.errors import ApiError
from watchbill_local.server.patch import apply_json_patch, apply_merge_patch, apply_strategic_patch
from watchbill_local.server.values import copy_value

Obj = dict[str, Any]


@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [
        ({"a": 1, "b": 2}, {"b": None, "c": 3}, {"a": 1, "c": 3}),
        ({"a": {"b": 1, "c": 2}}, {"a": {"c": None}}, {"a": {"b": 1}}),
        ({"a": [1, 2]}, {"a": [3]}, {"a": [3]}),
        ({"a": 1}, {"a": {"b": {"c": None, "d": 1}}}, {"a": {"b": {"d": 1}}}),
        ({}, {}, {}),
    ],
)
def test_a_merge_patch_merges_objects_and_replaces_the_rest(target: Obj, patch: Obj, result: Obj) -> None:
    """RFC 7386, also null inside what is new."""
    assert apply_merge_patch(target, patch) == result


@pytest.mark.parametrize(
    ("operations", "result"),
    [
        ([{"op": "add", "path": "/c", "value": 3}], {"a": [1, 2], "b": {"x/y": 1}, "c": 3}),
        ([{"op": "add", "path": "/a/1", "value": 9}], {"a": [1, 9, 2], "b": {"x/y": 1}}),
        ([{"op": "add", "path": "/a/-", "value": 9}], {"a": [1, 2, 9], "b": {"x/y": 1}}),
        ([{"op": "remove", "path": "/a/0"}], {"a": [2], "b": {"x/y": 1}}),
        ([{"op": "replace", "path": "/b/x~1y", "value": 5}], {"a": [1, 2], "b": {"x/y": 5}}),
        ([{"op": "move", "from": "/b", "path": "/d"}], {"a": [1, 2], "d": {"x/y": 1}}),
        ([{"op": "copy", "from": "/a", "path": "/b/c"}], {"a": [1, 2], "b": {"x/y": 1, "c": [1, 2]}}),
        ([{"op": "test", "path": "/a/1", "value": 2}, {"op": "remove", "path": "/b"}], {"a": [1, 2]}),
        ([{"op": "test", "path": "/none", "value": None}], {"a": [1, 2], "b": {"x/y": 1}}),
        ([{"op": "replace", "path": "", "value": {"z": 1}}], {"z": 1}),
    ],
)
def test_a_json_patch_applies_its_operations_in_order(operations: list[Obj], result: Obj) -> None:
    """RFC 6902."""
    assert apply_json_patch({"a": [1, 2], "b": {"x/y": 1}}, operations) == result


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "test", "path": "/a", "value": 2},
        {"op": "test", "path": "/a", "value": True},
        {"op": "test", "path": "/b/c", "value": 1},
        {"op": "remove", "path": "/b"},
        {"op": "replace", "path": "/b/c", "value": 1},
        {"op": "add", "path": "/b/c", "value": 1},
        {"op": "add", "path": "/l/5", "value": 1},
        {"op": "remove", "path": "/l/x"},
        {"op": "turn", "path": "/a"},
        {"op": "add", "path": "a", "value": 1},
    ],
)
def test_a_json_patch_that_does_not_apply_is_unprocessable(operation: Obj) -> None:
    """422 Invalid with upstream's one sentence; kopf reads the code of a failing test on resourceVersion."""
    with pytest.raises(ApiError) as refused:
        apply_json_patch({"a": 1, "l": []}, [operation])
    status = refused.value.status()
    assert (status["code"], status["reason"]) == (422, "Invalid")
    assert status["message"] == "the server rejected our request due to an error in our request"


def test_a_json_patch_must_be_a_list() -> None:
    """An object is a 400: the patch cannot be read."""
    with pytest.raises(ApiError) as refused:
        apply_json_patch({}, {"op": "add"})
    assert refused.value.code == 400


def pod(**spec: Any) -> Obj:
    """Return a pod with two containers."""
    containers = [{"name": "a", "image": "1", "env": [{"name": "X", "value": "1"}]}, {"name": "b", "image": "2"}]
    return {"metadata": {"name": "p", "finalizers": ["f/a"]}, "spec": {"containers": containers, **spec}}


@pytest.mark.parametrize(
    ("patch", "path", "result"),
    [
        (
            {"spec": {"containers": [{"name": "b", "image": "3"}]}},
            ("spec", "containers"),
            [{"name": "a", "image": "1", "env": [{"name": "X", "value": "1"}]}, {"name": "b", "image": "3"}],
        ),
        (
            {
                "spec": {
                    "containers": [
                        {"name": "a", "env": [{"name": "Y", "value": "2"}]},
                        {"name": "b", "$patch": "delete"},
                    ]
                }
            },
            ("spec", "containers"),
            [{"name": "a", "image": "1", "env": [{"name": "Y", "value": "2"}, {"name": "X", "value": "1"}]}],
        ),
        (
            {"spec": {"containers": [{"$patch": "replace"}, {"name": "c", "image": "4"}]}},
            ("spec", "containers"),
            [{"name": "c", "image": "4"}],
        ),
        (
            {
                "spec": {
                    "$setElementOrder/containers": [{"name": "b"}, {"name": "a"}],
                    "containers": [{"name": "b", "tty": True}],
                }
            },
            ("spec", "containers"),
            [
                {"name": "b", "image": "2", "tty": True},
                {"name": "a", "image": "1", "env": [{"name": "X", "value": "1"}]},
            ],
        ),
        ({"metadata": {"finalizers": ["f/b", "f/a"]}}, ("metadata", "finalizers"), ["f/b", "f/a"]),
        ({"metadata": {"$deleteFromPrimitiveList/finalizers": ["f/a"]}}, ("metadata", "finalizers"), []),
        ({"spec": {"tolerations": [{"key": "b"}]}}, ("spec", "tolerations"), [{"key": "b"}]),
        (
            {"spec": {"securityContext": {"$patch": "replace", "runAsUser": 2}}},
            ("spec", "securityContext"),
            {"runAsUser": 2},
        ),
        ({"spec": {"hostNetwork": None}}, ("spec", "hostNetwork"), None),
    ],
)
def test_a_strategic_patch_merges_the_lists_of_pods_by_their_keys(
    patch: Obj, path: tuple[str, str], result: Any
) -> None:
    """Merge keys, directives and atomic lists are those of the Go types."""
    target = pod(
        tolerations=[{"key": "a"}],
        volumes=[{"name": "v", "configMap": {"name": "c"}}],
        securityContext={"runAsUser": 1, "runAsGroup": 1},
        hostNetwork=True,
    )
    patched = apply_strategic_patch(target, patch)
    assert patched[path[0]].get(path[1]) == result


def test_a_strategic_patch_of_conditions_merges_by_type() -> None:
    """What the node sends for a pod's status."""
    target = {"status": {"conditions": [{"type": "Ready", "status": "False"}, {"type": "Other", "status": "True"}]}}
    patch = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
    assert apply_strategic_patch(target, patch)["status"]["conditions"] == [
        {"type": "Ready", "status": "True"},
        {"type": "Other", "status": "True"},
    ]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(0, 9) | st.text("ab", max_size=2),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text("abc", max_size=2), below, max_size=3),
    max_leaves=10,
)
OBJECTS = st.dictionaries(st.text("abc", max_size=2), JSON, max_size=4)


@given(target=OBJECTS, patch=OBJECTS)
def test_no_patch_changes_the_object_that_it_is_applied_to(target: Obj, patch: Obj) -> None:
    """Stored objects are immutable."""
    before = copy_value(target)
    apply_merge_patch(target, patch)
    apply_strategic_patch(target, patch)
    apply_json_patch(target, [{"op": "add", "path": "/a", "value": patch}, {"op": "remove", "path": "/a"}])
    assert target == before


@given(target=OBJECTS, patch=OBJECTS)
def test_a_merge_patch_applied_twice_is_applied_once(target: Obj, patch: Obj) -> None:
    """Merge patches are idempotent."""
    once = apply_merge_patch(target, patch)
    assert apply_merge_patch(once, patch) == once
