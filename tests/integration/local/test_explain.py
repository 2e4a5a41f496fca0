"""OpenAPI v3: what kubectl explains, and what it does with it before it writes."""

from __future__ import annotations

import json

import pytest

from support.api_server import ApiServer, Obj, widget, widget_definition

DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


def explain(server: ApiServer, *arguments: str) -> str:
    """Run `kubectl explain`, which must succeed; runs of white space are one blank."""
    done = server.kubectl("explain", *arguments)
    assert done.returncode == 0, done.stderr
    return " ".join(done.stdout.split())


def read_document(server: ApiServer, path: str) -> Obj:
    """Follow the index of documents to one of them."""
    return server.get(server.get("/openapi/v3")["paths"][path]["serverRelativeURL"])


@pytest.mark.parametrize(
    ("field", "words"),
    [
        ("pods", "Pod is a collection of containers that can run on a host."),
        ("pod.spec.containers.resources", "limits <map[string]Quantity>"),
        ("cm.data", "FIELD: data <map[string]string>"),
        ("lease.spec.renewTime", "renewTime is a time when the current holder of a lease has last updated the lease."),
        ("role.rules.verbs", "Verbs is a list of Verbs that apply to ALL the ResourceKinds"),
        ("crd.spec.versions.schema", "openAPIV3Schema <JSONSchemaProps>"),
        ("widget.spec", "color <string> -required- enum: red, green, blue"),
        ("widget.metadata.ownerReferences", "FIELD: ownerReferences <[]OwnerReference>"),
    ],
)
def test_a_field_is_explained(server: ApiServer, field: str, words: str) -> None:
    """Built-in kinds in the words of their release, custom ones in those of their definition."""
    assert words in explain(server, field)


def test_a_field_is_explained_with_all_below_it(server: ApiServer) -> None:
    """--recursive."""
    said = explain(server, "widget", "--recursive")

    assert "spec <Object> -required- color <string> -required- enum: red, green, blue note <string>" in said


def test_a_field_that_is_none_is_told(server: ApiServer) -> None:
    """Instead of an empty page."""
    done = server.kubectl("explain", "widget.spec.colour")

    assert done.returncode == 1
    assert 'field "colour" does not exist' in done.stderr


@pytest.mark.parametrize("kind", ["ns", "node", "sa", "secret", "svc", "event", "pvc", "clusterrole", "rolebinding"])
def test_every_built_in_kind_is_explained(server: ApiServer, kind: str) -> None:
    """By its short name too."""
    assert "DESCRIPTION:" in explain(server, kind)


def test_a_changed_definition_is_explained_anew(server: ApiServer) -> None:
    """The address of its document changes, so no client shows an old one."""
    definition = widget_definition("doodads", "explained.example")
    server.create(DEFINITIONS, definition)
    before = server.get("/openapi/v3")["paths"]["apis/explained.example/v1"]
    spec = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    spec["properties"]["size"] = {"type": "integer", "description": "how large it is"}

    server.patch(f"{DEFINITIONS}/doodads.explained.example", {"spec": {"versions": definition["spec"]["versions"]}})

    assert server.get("/openapi/v3")["paths"]["apis/explained.example/v1"] != before
    assert "how large it is" in explain(server, "doodads.spec.size")


def test_every_reference_of_a_document_leads_somewhere(server: ApiServer) -> None:
    """A document stands for itself."""
    for path in server.get("/openapi/v3")["paths"]:
        document = read_document(server, path)
        text = json.dumps(document)
        names = {piece.partition('"')[0] for piece in text.split("#/components/schemas/")[1:]}
        assert names <= document["components"]["schemas"].keys()


def test_a_patch_can_be_validated_by_the_server(server: ApiServer) -> None:
    """kubectl looks for this parameter before it sends anything."""
    path = "/apis/example.com/v1/namespaces/{namespace}/widgets/{name}"
    patch = read_document(server, "apis/example.com/v1")["paths"][path]["patch"]

    assert "fieldValidation" in {parameter["name"] for parameter in patch["parameters"]}
    assert set(patch["requestBody"]["content"]) == {"application/merge-patch+json", "application/json-patch+json"}
    assert patch["x-kubernetes-group-version-kind"] == {"group": "example.com", "version": "v1", "kind": "Widget"}


def test_a_schema_that_holds_a_foreign_reference_harms_nobody(server: ApiServer, widgets: str) -> None:
    """Names of members are the definition's own affair, `$ref` too."""
    definition = widget_definition("referrers", "explained.example")
    spec = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    spec["properties"]["$ref"] = {"type": "string", "default": "#/components/schemas/nothing"}
    server.create(DEFINITIONS, definition)
    server.create(widgets, widget("one"))

    assert "Referrer" in explain(server, "referrers")
