"""Bodies that no sane client sends: each is refused or taken, none breaks the server."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest

from support.api_server import MERGE, ApiServer, Obj, pod, widget, widget_definition

JUNK: list[Any] = [None, 5, "x", [], {}, [None], {"a": 1}]
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
METADATA: Obj = {
    "name": "n",
    "generateName": "g",
    "labels": {"a": "b"},
    "annotations": {"a": "b"},
    "finalizers": ["a.b/c"],
    "ownerReferences": [{"apiVersion": "v1", "kind": "X", "name": "x", "uid": "u", "controller": True}],
}
CONTAINER: Obj = {
    "name": "i",
    "image": "x",
    "ports": [{"containerPort": 1}],
    "volumeMounts": [{"name": "v", "mountPath": "/v"}],
}
POD_SPEC: Obj = {
    "initContainers": [CONTAINER],
    "volumes": [{"name": "v", "emptyDir": {}}],
    "tolerations": [{"key": "x"}],
    "serviceAccountName": "default",
    "terminationGracePeriodSeconds": 5,
}
ABOUT = {"kind": "Pod", "name": "x", "namespace": "default"}
SEEDS: dict[str, Obj] = {
    "/apis/example.com/v1/namespaces/default/widgets": widget("n"),
    "/api/v1/namespaces/default/pods": pod("n", POD_SPEC),
    "/api/v1/namespaces/default/events": {"involvedObject": ABOUT, "source": {"component": "c"}, "count": 1},
    "/apis/coordination.k8s.io/v1/namespaces/default/leases": {"spec": {"holderIdentity": "x", "leaseTransitions": 1}},
    "/api/v1/namespaces/default/secrets": {"stringData": {"a": "b"}, "data": {"c": "ZA=="}},
    "/api/v1/namespaces/default/configmaps": {"data": {"a": "b"}},
    "/api/v1/nodes": {"status": {"addresses": [{"type": "InternalIP", "address": "x"}], "nodeInfo": {"a": "b"}}},
    "/apis/apiextensions.k8s.io/v1/customresourcedefinitions": widget_definition("fuzzes", "fuzz.example"),
}


def places(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Yield the path of every part of a JSON value."""
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, below in members:
        yield (*path, key)
        yield from places(below, (*path, key))


def replaced(value: Obj, path: tuple[str | int, ...], junk: Any) -> Obj:
    """Return a copy in which one part is junk."""
    copied = copy.deepcopy(value)
    parent: Any = copied
    for key in path[:-1]:
        parent = parent[key]
    parent[path[-1]] = junk
    return copied


@pytest.mark.parametrize("path", SEEDS)
def test_junk_in_any_place_is_refused_or_kept_and_breaks_nothing(server: ApiServer, path: str) -> None:
    """Every part of an object replaced by things of every type: never a 500, and the list still has its Table."""
    seed = {**SEEDS[path], "metadata": {**METADATA, "name": SEEDS[path].get("metadata", {}).get("name", "n")}}
    broken = []
    for place in places(seed):
        for junk in JUNK:
            made = server.call("POST", path, replaced(seed, place, junk))
            replies = [made]
            if made.status == 201:
                one = f"{path}/{made.obj['metadata']['name']}"
                replies.append(server.call("GET", path, headers={"Accept": TABLE}))
                replies.append(server.call("DELETE", f"{one}?gracePeriodSeconds=0"))
                replies.append(server.call("PATCH", one, {"metadata": {"finalizers": None}}, MERGE))
            broken += [(place, junk, reply.text) for reply in replies if reply.status >= 500]

    assert broken == []
    assert server.process is not None
    assert server.process.poll() is None
