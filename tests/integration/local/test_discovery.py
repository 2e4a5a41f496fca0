"""What clients learn about the server before they do anything."""

from __future__ import annotations

import pytest

from support.api_server import ApiServer, Obj, widget, widget_definition

TABLE = "application/json;as=Table;v={};g=meta.k8s.io,application/json"
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


def resource_of(document: Obj, name: str) -> Obj:
    """Return one entry of an APIResourceList."""
    return next(entry for entry in document["resources"] if entry["name"] == name)


@pytest.mark.parametrize("slash", ["", "/"])
def test_a_group_version_lists_its_resources(server: ApiServer, slash: str) -> None:
    """Names, short names, categories and verbs, with and without the slash that pykube sends."""
    entry = resource_of(server.get(f"/apis/example.com/v1{slash}"), "widgets")

    assert (entry["kind"], entry["namespaced"], entry["shortNames"]) == ("Widget", True, ["wi"])
    assert entry["categories"] == ["all"]
    assert {"create", "watch", "deletecollection"} <= set(entry["verbs"])


def test_subresources_have_names_of_their_own_alone(server: ApiServer) -> None:
    """Short names at subresources make kubectl warn of ambiguity."""
    scale = resource_of(server.get("/apis/example.com/v1"), "widgets/scale")

    assert (scale["group"], scale["version"], scale["kind"]) == ("autoscaling", "v1", "Scale")
    assert "shortNames" not in scale


def test_the_core_group_calls_itself_v1(server: ApiServer) -> None:
    """`v1`, not `/v1`: kubectl knows no pod otherwise."""
    document = server.get("/api/v1")

    assert document["groupVersion"] == "v1"
    assert {"pods", "pods/log", "pods/status", "pods/binding", "namespaces", "events"} <= {
        entry["name"] for entry in document["resources"]
    }


def test_groups_name_their_preferred_version(server: ApiServer) -> None:
    """APIGroupList and APIGroup say the same."""
    groups = {group["name"]: group for group in server.get("/apis")["groups"]}

    assert groups["example.com"]["preferredVersion"] == {"groupVersion": "example.com/v1", "version": "v1"}
    assert server.get("/apis/example.com")["preferredVersion"]["version"] == "v1"


def test_a_new_kind_is_discovered_at_once(server: ApiServer) -> None:
    """A client that has created a definition finds the kind."""
    server.create(DEFINITIONS, widget_definition("novelties", "new.example"))

    assert resource_of(server.get("/apis/new.example/v1"), "novelties")["kind"] == "Noveltie"


def test_the_version_says_what_runs_here(server: ApiServer) -> None:
    """Nobody should take this for a real cluster."""
    assert server.get("/version/")["gitVersion"] == "v1.36.0+watchbill-local"


def test_openapi_v2_is_five_bytes_of_protobuf(server: ApiServer) -> None:
    """A valid, empty document: enough for kubectl apply to leave validation to the server."""
    accept = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"

    reply = server.call("GET", "/openapi/v2", headers={"Accept": accept})

    assert reply.text.encode() == b"\x0a\x032.0"


@pytest.mark.parametrize(
    "path", ["/nowhere", "/apis/no.such.group", "/apis/example.com/v9", "/openapi/v3/apis/no.such.group/v1"]
)
def test_an_unknown_path_is_a_404(server: ApiServer, path: str) -> None:
    """As upstream: a Status only where the group is served."""
    reply = server.call("GET", path)

    assert (reply.status, reply.text) == (404, "404 page not found\n")


def test_an_unknown_resource_of_a_served_group_is_a_404_status(server: ApiServer) -> None:
    """In a form that clients understand."""
    reply = server.call("GET", "/api/v1/namespaces/default/odds")

    assert (reply.status, reply.obj["reason"]) == (404, "NotFound")


@pytest.mark.parametrize("version", ["v1", "v1beta1"])
def test_a_list_comes_as_a_table(server: ApiServer, widgets: str, version: str) -> None:
    """Cells stand under their columns; pykube asks for v1beta1."""
    server.create(widgets, widget("one", {"color": "green", "note": "wide"}))

    table = server.get(widgets, Accept=TABLE.format(version))

    assert (table["kind"], table["apiVersion"]) == ("Table", f"meta.k8s.io/{version}")
    row = dict(zip((column["name"] for column in table["columnDefinitions"]), table["rows"][0]["cells"], strict=True))
    assert row == {"Name": "one", "Color": "green", "Phase": "Pending", "Note": "wide"}
    assert table["rows"][0]["object"]["kind"] == "PartialObjectMetadata"


@pytest.mark.parametrize(("include", "kind"), [("Object", "Widget"), ("None", None)])
def test_a_row_carries_as_much_of_its_object_as_asked(
    server: ApiServer, widgets: str, include: str, kind: str | None
) -> None:
    """kubectl get --sort-by needs the whole, and the count of rows needs nothing."""
    server.create(widgets, widget("one"))

    row = server.get(f"{widgets}?includeObject={include}", Accept=TABLE.format("v1"))["rows"][0]

    assert (row["object"] or {}).get("kind") == kind
