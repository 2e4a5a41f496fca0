"""Custom kinds: several versions of one object, and what a change of the definition does."""

from __future__ import annotations

import copy
import itertools

from support.api_server import MERGE, ApiServer, Obj, widget, widget_definition

DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


def two_versions(plural: str, storage: str) -> Obj:
    """Return a definition that serves v1alpha1 and v1."""
    definition = widget_definition(plural, "versions.example")
    newer = definition["spec"]["versions"][0]
    older = {**copy.deepcopy(newer), "name": "v1alpha1", "deprecated": True}
    definition["spec"]["versions"] = [older, newer]
    for version in (older, newer):
        version["storage"] = version["name"] == storage
    return definition


def test_an_object_is_served_in_every_version(server: ApiServer, namespace: str) -> None:
    """Written in one, read and watched in another, with one uid; the deprecated one warns."""
    server.create(DEFINITIONS, two_versions("doors", "v1"))
    new, old = (f"/apis/versions.example/{version}/namespaces/{namespace}/doors" for version in ("v1", "v1alpha1"))
    made = server.create(old, {**widget("one"), "apiVersion": "versions.example/v1alpha1", "kind": "Door"})

    read = server.get(f"{new}/one")
    warned = server.call("GET", f"{old}/one")
    with server.watch(old) as events:
        seen = next(events)["object"]

    assert (made["apiVersion"], read["apiVersion"]) == ("versions.example/v1alpha1", "versions.example/v1")
    assert (read["metadata"]["uid"], seen["apiVersion"]) == (made["metadata"]["uid"], "versions.example/v1alpha1")
    assert "deprecated" in warned.headers["Warning"]


def test_a_change_of_the_storage_version_brings_old_objects_along(server: ApiServer, namespace: str) -> None:
    """Whatever they were stored as."""
    server.create(DEFINITIONS, two_versions("gates", "v1alpha1"))
    path = f"/apis/versions.example/v1/namespaces/{namespace}/gates"
    server.create(path, {**widget("one"), "apiVersion": "versions.example/v1", "kind": "Gate"})

    versions = two_versions("gates", "v1")["spec"]["versions"]
    server.patch(f"{DEFINITIONS}/gates.versions.example", {"spec": {"versions": versions}})

    assert server.get(f"{path}/one")["apiVersion"] == "versions.example/v1"
    assert server.get(f"{DEFINITIONS}/gates.versions.example")["status"]["storedVersions"] == ["v1alpha1", "v1"]


def test_a_definition_is_established_in_its_first_answer(server: ApiServer) -> None:
    """kubectl wait --for=condition=Established has nothing to wait for."""
    made = server.create(DEFINITIONS, widget_definition("locks", "quick.example"))

    conditions = {each["type"]: each["status"] for each in made["status"]["conditions"]}
    assert conditions == {"NamesAccepted": "True", "Established": "True"}


def test_group_and_scope_cannot_change(server: ApiServer) -> None:
    """422: objects would be lost to their clients."""
    server.create(DEFINITIONS, widget_definition("walls", "fixed.example"))

    reply = server.call("PATCH", f"{DEFINITIONS}/walls.fixed.example", {"spec": {"scope": "Cluster"}}, MERGE)

    assert reply.status == 422


def test_a_definition_that_breaks_rules_is_refused(server: ApiServer) -> None:
    """Each mistake by its path: name, storage version, schema."""
    definition = widget_definition("roofs", "wrong.example")
    definition["metadata"]["name"] = "other"
    definition["spec"]["versions"][0]["storage"] = False
    del definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["type"]

    status = server.call("POST", DEFINITIONS, definition).obj

    assert status["code"] == 422
    fields = {cause["field"] for cause in status["details"]["causes"]}
    assert fields >= {"metadata.name", "spec.versions", "spec.validation.openAPIV3Schema.type"}


def test_a_cluster_wide_kind_has_no_namespace(server: ApiServer) -> None:
    """Its path is that of the group, and a namespaced path is none of its."""
    definition = widget_definition("suns", "space.example")
    definition["spec"]["scope"] = "Cluster"
    server.create(DEFINITIONS, definition)
    sun = {**widget("one"), "apiVersion": "space.example/v1", "kind": "Sun"}

    made = server.create("/apis/space.example/v1/suns", sun)

    assert "namespace" not in made["metadata"]
    assert server.call("GET", "/apis/space.example/v1/namespaces/default/suns/one").status == 404


def test_a_watch_sees_objects_that_a_deleted_definition_takes_along(server: ApiServer, namespace: str) -> None:
    """Controllers learn that their objects are gone."""
    server.create(DEFINITIONS, widget_definition("moons", "space2.example"))
    path = f"/apis/space2.example/v1/namespaces/{namespace}/moons"
    server.create(path, {**widget("one"), "apiVersion": "space2.example/v1", "kind": "Moon"})

    with server.watch(path) as events:
        next(events)
        server.delete(f"{DEFINITIONS}/moons.space2.example")
        seen = [event["type"] for event in itertools.islice(events, 1)]

    assert seen == ["DELETED"]


def test_a_watch_ends_with_its_kind(server: ApiServer) -> None:
    """Its client would wait for ever; the objects are seen to go before."""
    path = "/apis/ends.example.com/v1/namespaces/default/goners"
    server.create(DEFINITIONS, widget_definition("goners", "ends.example.com"))
    server.create(path, {**widget("one"), "apiVersion": "ends.example.com/v1", "kind": "Goner"})

    with server.watch(path) as events:
        first = next(events)
        server.delete(f"{DEFINITIONS}/goners.ends.example.com")
        rest = [event["type"] for event in events]

    assert (first["type"], rest) == ("ADDED", ["DELETED"])
