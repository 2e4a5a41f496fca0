"""Create, read, update and delete, as clients of the real server know them."""

from __future__ import annotations

import pytest

from support.api_server import JSON_PATCH, MERGE, STRATEGIC, ApiServer, config_map, pod, widget


def test_a_new_object_gets_identity_and_generation(server: ApiServer, widgets: str) -> None:
    """The server owns uid, creation time, resource version and generation."""
    metadata = server.create(widgets, widget("one", uid="mine", generation=7))["metadata"]

    assert metadata["uid"] != "mine"
    assert metadata["generation"] == 1
    assert metadata["resourceVersion"].isdigit()
    assert metadata["creationTimestamp"].endswith("Z")


def test_defaults_of_the_schema_are_filled_in(server: ApiServer, widgets: str) -> None:
    """A field that is left out has its default at once."""
    assert server.create(widgets, widget("one"))["spec"]["replicas"] == 1


def test_the_status_of_a_new_object_is_the_default_whatever_the_client_sent(server: ApiServer, widgets: str) -> None:
    """Status is written by its subresource alone; the schema's default stands there from the start."""
    created = server.create(widgets, {**widget("one"), "status": {"phase": "Done"}})

    assert created["status"] == {"phase": "Pending"}


def test_an_update_of_the_object_leaves_the_status_alone(server: ApiServer, widgets: str) -> None:
    """A PUT on the object with another status changes the rest."""
    created = server.create(widgets, widget("one"))
    changed = {**created, "spec": {"color": "red", "replicas": 2}, "status": {"phase": "Done"}}

    updated = server.call("PUT", f"{widgets}/one", changed).obj

    assert updated["status"] == {"phase": "Pending"}
    assert updated["spec"]["replicas"] == 2


def test_an_update_of_the_status_leaves_the_object_alone(server: ApiServer, widgets: str) -> None:
    """A patch of the status subresource changes neither spec nor labels nor generation."""
    server.create(widgets, widget("one"))
    patch = {"status": {"phase": "Done"}, "spec": {"replicas": 5}, "metadata": {"labels": {"a": "b"}}}

    patched = server.patch(f"{widgets}/one/status", patch)

    assert patched["status"]["phase"] == "Done"
    assert patched["spec"]["replicas"] == 1
    assert "labels" not in patched["metadata"]
    assert patched["metadata"]["generation"] == 1


def test_a_change_of_the_spec_raises_the_generation(server: ApiServer, widgets: str) -> None:
    """Generation counts what the user wants, not what the controller says."""
    server.create(widgets, widget("one"))

    assert server.patch(f"{widgets}/one", {"spec": {"replicas": 2}})["metadata"]["generation"] == 2
    assert server.patch(f"{widgets}/one", {"metadata": {"labels": {"a": "b"}}})["metadata"]["generation"] == 2


@pytest.mark.parametrize(
    ("subresource", "patch"),
    [
        ("", {"spec": {"color": "red"}}),
        ("", {"metadata": {"labels": None}}),
        ("/status", {"status": {"phase": "Pending"}}),
    ],
)
def test_a_patch_that_changes_nothing_keeps_the_resource_version(
    server: ApiServer, widgets: str, subresource: str, patch: dict[str, object]
) -> None:
    """Controllers that patch what is already so must not wake themselves."""
    created = server.create(widgets, widget("one"))

    patched = server.patch(f"{widgets}/one{subresource}", patch)

    assert patched["metadata"]["resourceVersion"] == created["metadata"]["resourceVersion"]


def test_a_name_that_is_taken_is_refused(server: ApiServer, widgets: str) -> None:
    """409 AlreadyExists, in upstream's words."""
    server.create(widgets, widget("one"))

    status = server.call("POST", widgets, widget("one")).obj

    assert (status["code"], status["reason"]) == (409, "AlreadyExists")
    assert status["message"] == 'widgets.example.com "one" already exists'


def test_a_generated_name_begins_as_asked_and_is_unique(server: ApiServer, widgets: str) -> None:
    """generateName gives each object five letters of its own."""
    made = {server.create(widgets, widget("", generateName="run-"))["metadata"]["name"] for _ in range(5)}

    assert len(made) == 5
    assert all(name.startswith("run-") and len(name) == 9 for name in made)


def test_a_put_of_a_custom_resource_needs_a_resource_version(server: ApiServer, widgets: str) -> None:
    """422, as an update that cannot know what it overwrites is a mistake."""
    server.create(widgets, widget("one"))

    status = server.call("PUT", f"{widgets}/one", widget("one")).obj

    assert status["code"] == 422
    assert status["details"]["causes"][0]["field"] == "metadata.resourceVersion"


def test_a_put_with_a_stale_resource_version_conflicts(server: ApiServer, widgets: str) -> None:
    """409 Conflict: somebody else was faster."""
    created = server.create(widgets, widget("one"))
    server.patch(f"{widgets}/one", {"spec": {"replicas": 2}})

    status = server.call("PUT", f"{widgets}/one", created).obj

    assert (status["code"], status["reason"]) == (409, "Conflict")


def test_a_config_map_may_be_put_without_a_resource_version(server: ApiServer, namespace: str) -> None:
    """Core kinds allow an unconditional update."""
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    server.create(path, config_map("one", {"a": "1"}))

    assert server.call("PUT", f"{path}/one", config_map("one", {"a": "2"})).obj["data"] == {"a": "2"}


def test_a_failing_json_patch_test_is_a_422(server: ApiServer, widgets: str) -> None:
    """kopf's finalizer patches begin with a test of the resource version and rely on this code."""
    server.create(widgets, widget("one"))
    operations = [{"op": "test", "path": "/metadata/resourceVersion", "value": "1"}]

    assert server.call("PATCH", f"{widgets}/one", operations, JSON_PATCH).status == 422


def test_a_strategic_patch_merges_containers_by_name(server: ApiServer, namespace: str) -> None:
    """kubectl apply and set image send one container and mean just that."""
    path = f"/api/v1/namespaces/{namespace}/pods"
    server.create(path, pod("one", {"containers": [{"name": "a", "image": "x:1"}, {"name": "b", "image": "y:1"}]}))

    patched = server.patch(f"{path}/one", {"spec": {"containers": [{"name": "b", "image": "y:2"}]}}, STRATEGIC)

    assert [each["image"] for each in patched["spec"]["containers"]] == ["x:1", "y:2"]


def test_a_strategic_patch_of_a_custom_resource_is_unsupported(server: ApiServer, widgets: str) -> None:
    """415, upon which kubectl falls back to a merge patch."""
    server.create(widgets, widget("one"))

    assert server.call("PATCH", f"{widgets}/one", {}, STRATEGIC).status == 415


def test_an_invalid_object_is_refused_with_every_cause(server: ApiServer, widgets: str) -> None:
    """422 with field and reason of each mistake."""
    status = server.call("POST", widgets, widget("one", {"color": "pink", "replicas": 11})).obj

    assert status["code"] == 422
    assert {cause["field"] for cause in status["details"]["causes"]} >= {"spec.color", "spec.replicas"}


def test_a_rule_over_old_and_new_is_enforced(server: ApiServer, widgets: str) -> None:
    """CEL sees the stored object as oldSelf."""
    server.create(widgets, widget("one"))

    reply = server.call("PATCH", f"{widgets}/one", {"spec": {"color": "blue"}}, MERGE)

    assert reply.status == 422
    assert "color is immutable" in reply.obj["message"]


@pytest.mark.parametrize(
    ("validation", "code", "warns"), [("Strict", 400, False), ("Warn", 201, True), ("Ignore", 201, False)]
)
def test_unknown_fields_are_refused_warned_of_or_ignored_as_asked(
    server: ApiServer, widgets: str, validation: str, code: int, warns: bool
) -> None:
    """fieldValidation decides; the field is never stored."""
    wrong = widget("one", {"color": "red", "wrong": 1})

    reply = server.call("POST", f"{widgets}?fieldValidation={validation}", wrong)

    assert reply.status == code
    assert ("Warning" in reply.headers) is warns
    assert "wrong" not in reply.obj.get("spec", {})


def test_a_dry_run_answers_as_if_and_stores_nothing(server: ApiServer, widgets: str) -> None:
    """kubectl diff and --dry-run=server read the answer; the object must not be there."""
    reply = server.call("POST", f"{widgets}?dryRun=All", widget("one"))

    assert reply.status == 201
    assert reply.obj["spec"]["replicas"] == 1
    assert not server.exists(f"{widgets}/one")


def test_a_dry_run_of_a_delete_deletes_nothing(server: ApiServer, widgets: str) -> None:
    """Neither by query nor by DeleteOptions."""
    server.create(widgets, widget("one"))

    server.delete(f"{widgets}/one?dryRun=All")
    server.delete(f"{widgets}/one", {"dryRun": ["All"]})

    assert server.exists(f"{widgets}/one")


def test_a_finalizer_holds_an_object_until_it_is_taken_off(server: ApiServer, widgets: str) -> None:
    """Deletion marks; the last finalizer's removal deletes."""
    server.create(widgets, widget("one", finalizers=["example.com/hold"]))

    marked = server.delete(f"{widgets}/one")
    assert marked["metadata"]["deletionTimestamp"]
    server.patch(f"{widgets}/one", {"metadata": {"finalizers": None}})

    assert not server.exists(f"{widgets}/one")


def test_an_object_being_deleted_takes_no_new_finalizer(server: ApiServer, widgets: str) -> None:
    """422: nobody may prolong a deletion."""
    server.create(widgets, widget("one", finalizers=["example.com/hold"]))
    server.delete(f"{widgets}/one")

    patch = {"metadata": {"finalizers": ["example.com/hold", "example.com/more"]}}

    assert server.call("PATCH", f"{widgets}/one", patch, MERGE).status == 422


@pytest.mark.parametrize("precondition", [{"uid": "other"}, {"resourceVersion": "1"}])
def test_a_delete_with_a_wrong_precondition_conflicts(
    server: ApiServer, widgets: str, precondition: dict[str, str]
) -> None:
    """409, and the object stays: the client meant another one, or another state."""
    server.create(widgets, widget("one"))

    reply = server.call("DELETE", f"{widgets}/one", {"preconditions": precondition})

    assert reply.status == 409
    assert server.exists(f"{widgets}/one")


def test_a_running_pod_waits_for_its_node(server: ApiServer, namespace: str) -> None:
    """A bound pod is marked with its grace period, and goes when the node deletes it with grace 0."""
    path = f"/api/v1/namespaces/{namespace}/pods"
    server.create(path, pod("one", {"nodeName": "n1", "terminationGracePeriodSeconds": 7}))

    marked = server.delete(f"{path}/one")["metadata"]
    assert marked["deletionGracePeriodSeconds"] == 7
    assert server.exists(f"{path}/one")
    server.delete(f"{path}/one", {"gracePeriodSeconds": 0, "preconditions": {"uid": marked["uid"]}})

    assert not server.exists(f"{path}/one")


def test_a_pod_that_no_node_has_goes_at_once(server: ApiServer, namespace: str) -> None:
    """There is nobody to wait for."""
    path = f"/api/v1/namespaces/{namespace}/pods"
    server.create(path, pod("one"))

    server.delete(f"{path}/one")

    assert not server.exists(f"{path}/one")


def test_a_collection_is_deleted_by_its_selector(server: ApiServer, widgets: str) -> None:
    """deletecollection takes what the selector selects and leaves the rest."""
    server.create(widgets, widget("one", labels={"go": "yes"}))
    server.create(widgets, widget("two"))

    gone = server.delete(f"{widgets}?labelSelector=go%3Dyes")

    assert [item["metadata"]["name"] for item in gone["items"]] == ["one"]
    assert [item["metadata"]["name"] for item in server.get(widgets)["items"]] == ["two"]


def test_pages_of_a_list_show_one_state(server: ApiServer, widgets: str) -> None:
    """An object that is made between two pages is on neither."""
    for name in ("a", "b", "c"):
        server.create(widgets, widget(name))

    first = server.get(f"{widgets}?limit=2")
    server.create(widgets, widget("d"))
    second = server.get(f"{widgets}?limit=2&continue={first['metadata']['continue']}")

    assert first["metadata"]["remainingItemCount"] == 1
    assert [item["metadata"]["name"] for item in second["items"]] == ["c"]
    assert second["metadata"]["continue"] == ""


def test_a_forgotten_continue_token_is_gone(server: ApiServer, widgets: str) -> None:
    """410 Expired, upon which clients list anew."""
    reply = server.call("GET", f"{widgets}?limit=2&continue=7b-2")

    assert (reply.status, reply.obj["reason"]) == (410, "Expired")


@pytest.mark.parametrize(
    ("selector", "names"),
    [
        ("labelSelector=tier%3Dfront", ["one"]),
        ("labelSelector=tier%20in%20(front,back)", ["one", "two"]),
        ("labelSelector=!tier", ["three"]),
        ("fieldSelector=spec.color%3Dblue", ["two"]),
        ("fieldSelector=metadata.name!%3Done", ["three", "two"]),
    ],
)
def test_lists_obey_selectors(server: ApiServer, widgets: str, selector: str, names: list[str]) -> None:
    """Labels, and fields that the kind offers."""
    server.create(widgets, widget("one", labels={"tier": "front"}))
    server.create(widgets, widget("two", {"color": "blue"}, labels={"tier": "back"}))
    server.create(widgets, widget("three"))

    assert [item["metadata"]["name"] for item in server.get(f"{widgets}?{selector}")["items"]] == names


def test_a_scale_sets_the_replicas_and_nothing_else(server: ApiServer, widgets: str) -> None:
    """The scale subresource reads and writes where the definition says."""
    server.create(widgets, widget("one"))
    server.patch(f"{widgets}/one/status", {"status": {"replicas": 1, "selector": "a=b"}})

    scaled = server.patch(f"{widgets}/one/scale", {"spec": {"replicas": 4}})

    assert scaled["spec"] == {"replicas": 4}
    assert scaled["status"] == {"replicas": 1, "selector": "a=b"}
    assert server.get(f"{widgets}/one")["spec"] == {"color": "red", "replicas": 4}


def test_a_scale_beyond_the_schema_is_refused(server: ApiServer, widgets: str) -> None:
    """The schema's maximum holds on every way in."""
    server.create(widgets, widget("one"))

    assert server.call("PATCH", f"{widgets}/one/scale", {"spec": {"replicas": 11}}, MERGE).status == 422


def test_a_pod_is_bound_once(server: ApiServer, namespace: str) -> None:
    """The second binding conflicts, so that two schedulers cannot both win."""
    path = f"/api/v1/namespaces/{namespace}/pods"
    server.create(path, pod("one"))
    binding = {"target": {"kind": "Node", "name": "n1"}}

    assert server.call("POST", f"{path}/one/binding", binding).status == 201
    assert server.call("POST", f"{path}/one/binding", binding).status == 409
    assert server.get(f"{path}/one")["spec"]["nodeName"] == "n1"


@pytest.mark.parametrize(
    ("body", "kind", "code"),
    [
        (b"{not json", "application/json", 400),
        (b"[]", "application/json", 400),
        (b"k8s\x00abc", "application/vnd.kubernetes.protobuf", 400),
        (b'{"x":"' + b"x" * 3_200_000 + b'"}', "application/json", 413),
    ],
)
def test_a_body_that_cannot_be_read_is_refused(
    server: ApiServer, namespace: str, body: bytes, kind: str, code: int
) -> None:
    """Each with the code that tells the client why."""
    assert server.call("POST", f"/api/v1/namespaces/{namespace}/configmaps", body, kind).status == code


def test_a_name_in_the_body_must_be_that_of_the_path(server: ApiServer, widgets: str) -> None:
    """400: the client has mixed up two objects."""
    created = server.create(widgets, widget("one"))
    server.create(widgets, widget("two"))

    assert server.call("PUT", f"{widgets}/two", created).status == 400


def test_an_object_needs_its_namespace(server: ApiServer) -> None:
    """404 names the namespace that is not there."""
    reply = server.call("POST", "/apis/example.com/v1/namespaces/nowhere/widgets", widget("one"))

    assert (reply.status, reply.obj["message"]) == (404, 'namespaces "nowhere" not found')
