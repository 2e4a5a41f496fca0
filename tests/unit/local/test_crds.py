"""CustomResourceDefinitions: what is refused at installation, and the resources that they serve."""

from __future__ import annotations

from typing import Any

import pytest

from watchbill_local.server.crds import build_resources, fill_crd, rank_version
from watchbill_local.server.definition_rules import check_crd
from watchbill_local.server.errors import ApiError
from watchbill_local.server.values import copy_value

Obj = dict[str, Any]
NOW = "2026-11-22T12:00:00Z"
SECONDS = 1795348860.0  # one minute later

SPEC_SCHEMA: Obj = {
    "type": "object",
    "properties": {
        "replicas": {"type": "integer", "default": 1},
        "colour": {"type": "string"},
        "on": {"type": "boolean"},
    },
}
DEFINITION: Obj = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "lamps.example.com"},
    "spec": {
        "group": "example.com",
        "scope": "Namespaced",
        "names": {"plural": "lamps", "kind": "Lamp", "shortNames": ["lp"], "categories": ["all"]},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {"spec": SPEC_SCHEMA, "status": {"type": "object"}},
                    }
                },
                "subresources": {
                    "status": {},
                    "scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"},
                },
                "selectableFields": [{"jsonPath": ".spec.colour"}],
                "additionalPrinterColumns": [
                    {"name": "Colour", "type": "string", "jsonPath": ".spec.colour"},
                    {"name": "Replicas", "type": "integer", "jsonPath": ".spec.replicas"},
                    {"name": "On", "type": "boolean", "jsonPath": ".spec.on", "priority": 1},
                    {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
                ],
            }
        ],
    },
}


def build_definition(path: str = "", value: Any = None) -> Obj:
    """Return the definition, completed, with one part changed; numbers in `path` are indexes, None removes."""
    changed: Obj = copy_value(DEFINITION)
    if path:
        *parents, last = [int(part) if part.isdecimal() else part for part in path.split("/")]
        place: Any = changed
        for part in parents:
            place = place[part]
        if value is None:
            del place[last]
        else:
            place[last] = value
    fill_crd(changed, None, NOW)
    return changed


VERSION = "spec/versions/0/"
SCHEMA = VERSION + "schema/openAPIV3Schema/properties/spec"
FIELD = "spec.validation.openAPIV3Schema.properties[spec]"


def test_a_sound_definition_is_accepted_and_established() -> None:
    """What the naming controller would add is there at once."""
    definition = build_definition()
    assert check_crd(definition, None) == []
    assert definition["spec"]["names"]["listKind"] == "LampList"
    assert definition["status"]["storedVersions"] == ["v1"]
    conditions = {condition["type"]: condition["status"] for condition in definition["status"]["conditions"]}
    assert conditions == {"NamesAccepted": "True", "Established": "True"}


@pytest.mark.parametrize(
    ("path", "value", "field", "message"),
    [
        ("spec/group", None, "spec.group", "Required value"),
        ("spec/group", "example", "spec.group", 'Invalid value: "example": should be a domain with at least one dot'),
        ("spec/names/plural", None, "spec.names.plural", "Required value"),
        (
            "spec/names/kind",
            "La_mp",
            "spec.names.kind",
            'Invalid value: "La_mp": may have mixed case, but should otherwise match: a',
        ),
        ("spec/scope", None, "spec.scope", "Required value"),
        (
            "spec/scope",
            "Global",
            "spec.scope",
            'Unsupported value: "Global": supported values: "Cluster", "Namespaced"',
        ),
        (
            "metadata/name",
            "lamp.example.com",
            "metadata.name",
            'Invalid value: "lamp.example.com": must be spec.names.plural+"."+',
        ),
        (VERSION + "storage", False, "spec.versions", "Invalid value: "),
        (VERSION + "schema", None, "spec.versions[0].schema.openAPIV3Schema", "Required value"),
        (
            VERSION + "schema/openAPIV3Schema",
            {"type": "string"},
            "spec.validation.openAPIV3Schema.type",
            'Invalid value: "string": must be object at the root',
        ),
        (SCHEMA, {}, f"{FIELD}.type", "Required value: must not be empty for specified object fields"),
        (SCHEMA, {"type": "list"}, f"{FIELD}.type", 'Unsupported value: "list": supported values: "array", '),
        (SCHEMA, {"type": "array"}, f"{FIELD}.items", "Required value: must be specified"),
        (
            SCHEMA,
            {"type": "string", "pattern": "("},
            f"{FIELD}.pattern",
            'Invalid value: "(": must be a valid regular expression',
        ),
        (
            SCHEMA,
            {**SPEC_SCHEMA, "x-kubernetes-validations": [{"rule": "self.size >"}]},
            f"{FIELD}.x-kubernetes-validations[0].rule",
            'Invalid value: {"Rule":"self.size \\u003e","Message":"","MessageExpression":"","Reason":null,"FieldPath":'
            '"","OptionalOldSelf":null}: compilation failed: ERROR: <input>:1:12: Syntax error: ',
        ),
        (
            VERSION + "additionalPrinterColumns/0/type",
            "text",
            "spec.additionalPrinterColumns[0].type",
            'Invalid value: "text": must be one of boolean,date,integer,number,string',
        ),
        (
            VERSION + "additionalPrinterColumns/0/jsonPath",
            "spec.x",
            "spec.additionalPrinterColumns[0].JSONPath",
            'Invalid value: "spec.x": must be a simple json path starting with .',
        ),
        (
            VERSION + "subresources/scale/specReplicasPath",
            "replicas",
            "spec.subresources.scale.specReplicasPath",
            'Invalid value: "replicas": must be a simple json path starting with .',
        ),
        (
            VERSION + "subresources/scale",
            {"specReplicasPath": ".spec.replicas"},
            "spec.subresources.scale.statusReplicasPath",
            "Required value",
        ),
        (
            VERSION + "selectableFields/0/jsonPath",
            "spec.none",
            "spec.selectableFields[0].jsonPath",
            'Invalid value: "spec.none": must be a simple json path starting with .',
        ),
    ],
)
def test_a_definition_that_could_not_be_served_is_refused(path: str, value: Any, field: str, message: str) -> None:
    """In the words of kube-apiserver 1.36, at the path that it names."""
    causes = check_crd(build_definition(path, value), None)
    assert any(cause.field == field and cause.message.startswith(message) for cause in causes), causes


def test_a_schema_of_a_wrong_shape_is_a_bad_request() -> None:
    """Also where a schema stands beside true and false, so that its type cannot be told before."""
    with pytest.raises(ApiError) as refused:
        check_crd(
            build_definition(SCHEMA, {"type": "object", "additionalProperties": {"type": "string", "pattern": 5}}), None
        )
    assert refused.value.code == 400


def test_the_scope_of_a_definition_never_changes() -> None:
    """Stored objects would be lost."""
    causes = check_crd(build_definition("spec/scope", "Cluster"), build_definition())
    assert [(cause.field, cause.message) for cause in causes] == [
        ("spec.scope", 'Invalid value: "Cluster": field is immutable')
    ]


def test_a_definition_serves_a_resource() -> None:
    """Names, subresources, selectable fields and columns come from the definition."""
    (resource,) = build_resources(build_definition())
    assert (resource.qualified, resource.api_version, resource.singular) == (
        "lamps.example.com",
        "example.com/v1",
        "lamp",
    )
    assert (resource.short_names, resource.categories, resource.subresources) == (
        ("lp",),
        ("all",),
        ("scale", "status"),
    )
    assert resource.field_selectors == {"spec.colour"}
    assert resource.crd == "lamps.example.com"
    assert [(column["name"], column["priority"]) for column in resource.columns] == [
        ("Name", 0),
        ("Colour", 0),
        ("Replicas", 0),
        ("On", 1),
        ("Age", 0),
    ]


@pytest.mark.parametrize(
    ("spec", "cells"),
    [
        ({"colour": "red", "replicas": 2, "on": True}, ["l", "red", 2, True, "60s"]),
        ({}, ["l", None, None, None, "60s"]),
        ({"colour": {"r": 1}, "replicas": "2", "on": "yes"}, ["l", '{"r":1}', None, None, "60s"]),
        ({"colour": 5, "replicas": 2.0, "on": 1}, ["l", "5", 2, None, "60s"]),
    ],
)
def test_a_row_shows_the_printer_columns(spec: Obj, cells: list[Any]) -> None:
    """A value that is not of the column's type is not shown."""
    (resource,) = build_resources(build_definition())
    assert resource.row({"metadata": {"name": "l", "creationTimestamp": NOW}, "spec": spec}, SECONDS) == cells


@pytest.mark.parametrize(
    ("found", "cell"),
    [(NOW, "60s"), ("soon", "<invalid>"), (5, None), (None, None)],
    ids=["time", "text", "number", "null"],
)
def test_a_date_is_shown_as_an_age(found: Any, cell: str | None) -> None:
    """What is no time is told as invalid, what is no text is not shown."""
    columns = [{"name": "Seen", "type": "date", "jsonPath": ".spec.seen"}]
    (resource,) = build_resources(build_definition(VERSION + "additionalPrinterColumns", columns))
    assert resource.row({"metadata": {"name": "l"}, "spec": {"seen": found}}, SECONDS) == ["l", cell]


def test_a_definition_without_columns_shows_the_age() -> None:
    """Upstream's default."""
    (resource,) = build_resources(build_definition(VERSION + "additionalPrinterColumns"))
    assert [column["name"] for column in resource.columns] == ["Name", "Age"]


def test_a_deprecated_version_warns() -> None:
    """Clients print the warning."""
    (resource,) = build_resources(build_definition(VERSION + "deprecated", True))
    assert resource.warning == "example.com/v1 Lamp is deprecated"


def test_versions_are_preferred_as_kubernetes_orders_them() -> None:
    """Stable before beta before alpha, higher before lower, the rest by name."""
    ordered = ["v10", "v2", "v1", "v11beta2", "v10beta3", "v3alpha1", "foo1", "foo10"]
    assert sorted(sorted(ordered), key=rank_version) == ordered
