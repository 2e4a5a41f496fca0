"""Objects of any shape: each is accepted or refused, and none breaks the server."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from watchbill_local.server.crds import build_resources
from watchbill_local.server.errors import ApiError
from watchbill_local.server.kinds import build_kinds
from watchbill_local.server.metadata import check_metadata
from watchbill_local.server.resource import Resource
from watchbill_local.server.typed_fields import decode_fields
from watchbill_local.server.values import copy_value

Obj = dict[str, Any]
CREATED = "2026-11-22T12:00:00Z"
NOW = 1795348860.0
KINDS = {kind.qualified: kind for kind in build_kinds()}

ENDED = {"terminated": {"exitCode": 1, "finishedAt": CREATED}}
OBJECTS: dict[str, Obj] = {
    "pods": {
        "spec": {
            "containers": [
                {"name": "a", "image": "x", "ports": [{"containerPort": 1}], "resources": {"limits": {"cpu": "1"}}}
            ],
            "initContainers": [{"name": "i", "image": "y", "volumeMounts": [{"name": "v", "mountPath": "/"}]}],
            "volumes": [{"name": "v", "emptyDir": {}}],
            "tolerations": [{"key": "a"}],
        },
        "status": {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [{"name": "a", "ready": True, "restartCount": 1, "state": ENDED, "lastState": ENDED}],
            "initContainerStatuses": [{"state": {"waiting": {"reason": "x"}}}],
        },
    },
    "configmaps": {"data": {"a": "b"}, "binaryData": {"c": "ZA=="}},
    "secrets": {"data": {"a": "YQ=="}, "stringData": {"b": "c"}, "type": "Opaque"},
    "events": {
        "involvedObject": {"kind": "Pod", "name": "p", "namespace": "default"},
        "source": {"component": "c"},
        "series": {"count": 2, "lastObservedTime": CREATED},
        "message": "m",
    },
    "nodes": {"status": {"addresses": [{"type": "InternalIP", "address": "x"}], "nodeInfo": {"osImage": "o"}}},
    "services": {"spec": {"ports": [{"port": 80}], "selector": {"a": "b"}}},
    "persistentvolumeclaims": {
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    },
    "roles.rbac.authorization.k8s.io": {"rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]},
    "rolebindings.rbac.authorization.k8s.io": {
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"},
        "subjects": [{"kind": "ServiceAccount", "name": "a", "namespace": "b"}],
    },
    "leases.coordination.k8s.io": {"spec": {"holderIdentity": "me", "leaseDurationSeconds": 15}},
    "customresourcedefinitions.apiextensions.k8s.io": {
        "spec": {
            "group": "x.org",
            "scope": "Namespaced",
            "names": {"plural": "as", "kind": "A"},
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {
                        "openAPIV3Schema": {
                            "type": "object",
                            "properties": {
                                "spec": {
                                    "type": "object",
                                    "required": ["n"],
                                    "properties": {
                                        "n": {"type": "integer", "minimum": 1, "default": 2},
                                        "m": {
                                            "type": "object",
                                            "additionalProperties": {"type": "string", "pattern": "^a"},
                                        },
                                        "l": {
                                            "type": "array",
                                            "x-kubernetes-list-type": "set",
                                            "items": {"type": "string", "enum": ["a"]},
                                        },
                                    },
                                    "x-kubernetes-validations": [{"rule": "self.n > 1", "message": "m"}],
                                }
                            },
                        }
                    },
                    "subresources": {"scale": {"specReplicasPath": ".spec.n", "statusReplicasPath": ".status.n"}},
                    "additionalPrinterColumns": [{"name": "N", "type": "integer", "jsonPath": ".spec.n"}],
                    "selectableFields": [{"jsonPath": ".spec.n"}],
                }
            ],
        }
    },
}
METADATA: Obj = {
    "name": "a",
    "namespace": "default",
    "labels": {"a": "b"},
    "finalizers": ["x.org/f"],
    "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u", "controller": True}],
}
JUNK: list[Any] = [None, 0, -1, 1.5, True, "", "é", [], {}, [None], {"a": None}, [[]], {"a": {}}, 2**40]


def build_object(name: str) -> Obj:
    """Return a sound object of a kind; the name of a definition follows from what it defines."""
    own = {"name": "as.x.org"} if name.startswith("customresourcedefinitions") else {}
    return copy_value({"metadata": {**METADATA, **own}, **OBJECTS[name]})


def list_paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the paths of all members and items of a value."""
    if isinstance(value, (dict, list)):
        keys = value.keys() if isinstance(value, dict) else range(len(value))
        return [below for key in keys for below in ((*path, key), *list_paths(value[key], (*path, key)))]
    return []


def replace_at(value: Any, path: tuple[Any, ...], junk: Any) -> Any:
    """Return a copy of a value with one part replaced."""
    changed = copy_value(value)
    place = changed
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = copy_value(junk)
    return changed


def admit(resource: Resource, value: Obj) -> bool:
    """Do to an object what the server does on its way in; whether it was accepted."""
    try:
        decode_fields(resource, value)
        causes = check_metadata(resource, value["metadata"])
        if resource.fill:
            resource.fill(value, None, CREATED)
        causes += resource.check(value, None) if resource.check else []
    except ApiError:
        return False
    return not causes


@pytest.mark.parametrize("name", OBJECTS)
def test_a_sound_object_is_accepted_and_shown(name: str) -> None:
    """The objects that are spoilt below are sound themselves."""
    value = build_object(name)
    assert admit(KINDS[name], value)
    assert len(KINDS[name].row(value, NOW)) == len(KINDS[name].columns)


@given(data=st.data())
@settings(max_examples=300, deadline=None)
def test_an_object_of_any_shape_is_accepted_or_refused(data: st.DataObject) -> None:
    """No junk in any place raises anything but a refusal, and what is accepted can be shown and served."""
    name = data.draw(st.sampled_from(sorted(OBJECTS)))
    value = build_object(name)
    path = data.draw(
        st.sampled_from([path for path in list_paths(value) if path[:2] not in {("metadata",), ("metadata", "name")}])
    )
    value = replace_at(value, path, data.draw(st.sampled_from(JUNK)))
    accepted = admit(KINDS[name], value)
    if accepted:
        assert len(KINDS[name].row(value, NOW)) == len(KINDS[name].columns)
    for resource in build_resources(value) if accepted and "versions" in value.get("spec", {}) else []:
        assert resource.schema is not None
        custom: Obj = {"metadata": {"name": "a"}, "spec": {"n": 2, "m": {"k": "a"}, "l": ["a"]}}
        resource.schema.normalise(custom)
        resource.schema.check(custom, copy_value(custom))
        assert len(resource.row(custom, NOW)) == len(resource.columns)
