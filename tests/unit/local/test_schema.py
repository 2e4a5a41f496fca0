"""Structural schemas: what is pruned, filled in and refused, in the words of the real server."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchbill_local.server.errors import Cause
from watchbill_local.server.schema import Schema
from watchbill_local.server.values import copy_value

Obj = dict[str, Any]


def build_schema(spec: Obj, **others: Obj) -> Schema:
    """Return the schema of a kind whose spec has the schema `spec`."""
    return Schema({"type": "object", "properties": {"spec": spec, **others}})


def build_field_schema(field: Obj) -> Schema:
    """Return the schema of a kind with the one field spec.x."""
    return build_schema({"type": "object", "properties": {"x": field}})


def find_causes(field: Obj, value: Any) -> list[Cause]:
    """Return what is wrong with `value` as spec.x."""
    return build_field_schema(field).check({"spec": {"x": value}}, None)


TEXT = "FieldValueInvalid"
TYPE = "FieldValueTypeInvalid"


@pytest.mark.parametrize(
    ("field", "value", "reason", "message"),
    [
        ({"type": "string"}, 5, TYPE, 'Invalid value: "integer": spec.x in body must be of type string: "integer"'),
        ({"type": "integer"}, "a", TYPE, 'Invalid value: "string": spec.x in body must be of type integer: "string"'),
        ({"type": "integer"}, 1.5, TYPE, 'Invalid value: "number": spec.x in body must be of type integer: "number"'),
        (
            {"type": "integer"},
            True,
            TYPE,
            'Invalid value: "boolean": spec.x in body must be of type integer: "boolean"',
        ),
        ({"type": "array"}, {}, TYPE, 'Invalid value: "object": spec.x in body must be of type array: "object"'),
        ({"type": "object"}, [], TYPE, 'Invalid value: "array": spec.x in body must be of type object: "array"'),
        ({"type": "string"}, None, TYPE, 'Invalid value: "null": spec.x in body must be of type string: "null"'),
        (
            {"type": "integer", "format": "int32"},
            1.5,
            TYPE,
            'Invalid value: "double": spec.x in body must be of type int32: "double"',
        ),
        (
            {"x-kubernetes-int-or-string": True},
            1.5,
            TYPE,
            'Invalid value: "number": spec.x in body must be of type integer,string: "number"',
        ),
        (
            {"type": "integer", "minimum": 0},
            -1,
            TEXT,
            "Invalid value: -1: spec.x in body should be greater than or equal to 0",
        ),
        (
            {"type": "integer", "maximum": 3},
            4,
            TEXT,
            "Invalid value: 4: spec.x in body should be less than or equal to 3",
        ),
        (
            {"type": "integer", "minimum": 0, "exclusiveMinimum": True},
            0,
            TEXT,
            "Invalid value: 0: spec.x in body should be greater than 0",
        ),
        (
            {"type": "integer", "maximum": 3, "exclusiveMaximum": True},
            3,
            TEXT,
            "Invalid value: 3: spec.x in body should be less than 3",
        ),
        ({"type": "integer", "multipleOf": 5}, 7, TEXT, "Invalid value: 7: spec.x in body should be a multiple of 5"),
        ({"type": "string", "pattern": "^a+$"}, "b", TEXT, "Invalid value: \"b\": spec.x in body should match '^a+$'"),
        (
            {"type": "string", "pattern": "^a+$"},
            "a\n",
            TEXT,
            "Invalid value: \"a\\n\": spec.x in body should match '^a+$'",
        ),
        (
            {"type": "string", "minLength": 1},
            "",
            TEXT,
            'Invalid value: "": spec.x in body should be at least 1 chars long',
        ),
        ({"type": "string", "maxLength": 2}, "abc", "FieldValueTooLong", "Too long: may not be more than 2 bytes"),
        ({"type": "string", "maxLength": 1}, "abc", "FieldValueTooLong", "Too long: may not be more than 1 byte"),
        (
            {"type": "string", "enum": ["a", "b"]},
            "c",
            "FieldValueNotSupported",
            'Unsupported value: "c": supported values: "a", "b"',
        ),
        (
            {"type": "integer", "enum": [1, 2]},
            3,
            "FieldValueNotSupported",
            'Unsupported value: 3: supported values: "1", "2"',
        ),
        (
            {"type": "string", "format": "date-time"},
            "soon",
            TYPE,
            'Invalid value: "soon": spec.x in body must be of type date-time: "soon"',
        ),
        (
            {"type": "array", "items": {"type": "string"}, "maxItems": 1},
            ["a", "b"],
            "FieldValueTooMany",
            "Too many: 2: must have at most 1 item",
        ),
        (
            {"type": "array", "items": {"type": "string"}, "minItems": 2},
            ["a"],
            TEXT,
            "Invalid value: 1: spec.x in body should have at least 2 items",
        ),
        (
            {"type": "object", "additionalProperties": {"type": "string"}, "maxProperties": 1},
            {"a": "1", "b": "2"},
            "FieldValueTooMany",
            "Too many: 2: must have at most 1 item",
        ),
        (
            {"type": "object", "additionalProperties": {"type": "string"}, "minProperties": 1},
            {},
            TEXT,
            "Invalid value: 0: spec.x in body should have at least 1 properties",
        ),
    ],
)
def test_a_wrong_value_is_told_in_upstreams_words(field: Obj, value: Any, reason: str, message: str) -> None:
    """Reason, path and sentence are those of kube-apiserver 1.36."""
    assert Cause(reason, "spec.x", message) in find_causes(field, value)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ({"type": "integer"}, 2.0),
        ({"type": "number"}, 2),
        ({"type": "string", "nullable": True}, None),
        ({"x-kubernetes-int-or-string": True}, "50%"),
        ({"x-kubernetes-int-or-string": True}, 3),
        ({"type": "string", "format": "no-such-format"}, "anything"),
        ({"type": "string", "maxLength": 2}, "äö"),
        ({"type": "string", "pattern": "b"}, "abc"),
        ({"type": "number", "multipleOf": 0.5}, 1.5),
        ({"x-kubernetes-preserve-unknown-fields": True}, [1, {"a": None}]),
    ],
)
def test_a_sound_value_passes(field: Obj, value: Any) -> None:
    """Whole floats are integers, lengths count characters, unknown formats say nothing."""
    assert find_causes(field, value) == []


@pytest.mark.parametrize(
    ("name", "is_host"),
    [("localhost", True), ("a-b.example.org", True), ("münchen.de", True), ("a_b.com", False), ("1.2.3.4", False)],
)
def test_a_host_name_is_what_the_real_server_takes_for_one(name: str, is_host: bool) -> None:
    """Asked of kube-apiserver 1.36."""
    causes = find_causes({"type": "string", "format": "hostname"}, name)
    assert [cause.field for cause in causes] == ([] if is_host else ["spec.x"])


def test_an_integer_beyond_its_format_is_refused_without_a_place() -> None:
    """Upstream tells the path in the text alone."""
    expected = 'Invalid value: "": Checked value must be of type integer with format int32 in spec.x'
    assert find_causes({"type": "integer", "format": "int32"}, 2**31) == [Cause(TEXT, "<nil>", expected)]


def test_a_missing_member_is_told_at_its_own_path() -> None:
    """The path of a required member includes it."""
    schema = build_schema({"type": "object", "required": ["x"], "properties": {"x": {"type": "string"}}})
    assert schema.check({"spec": {}}, None) == [Cause("FieldValueRequired", "spec.x", "Required value")]


@pytest.mark.parametrize(
    ("listed", "field", "message"),
    [
        ({"x-kubernetes-list-type": "set", "items": {"type": "string"}}, "spec.x[1]", 'Duplicate value: "a"'),
        (
            {
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["name"],
                "items": {"type": "object", "properties": {"name": {"type": "string"}, "n": {"type": "integer"}}},
            },
            "spec.x[1]",
            'Duplicate value: {"name":"a"}',
        ),
    ],
)
def test_a_list_without_duplicates_names_the_second_of_two(listed: Obj, field: str, message: str) -> None:
    """Sets compare whole items, list maps their keys; a third copy is not told again."""
    items: list[Any] = (
        ["a"] * 3 if listed["x-kubernetes-list-type"] == "set" else [{"name": "a", "n": n} for n in range(3)]
    )
    assert find_causes({"type": "array", **listed}, items) == [Cause("FieldValueDuplicate", field, message)]


@pytest.mark.parametrize(
    ("combination", "value", "words"),
    [
        ({"anyOf": [{"minimum": 5}, {"maximum": 1}]}, 3, '"spec.x" must validate at least one schema (anyOf)'),
        (
            {"oneOf": [{"minimum": 5}, {"maximum": 1}]},
            3,
            '"spec.x" must validate one and only one schema (oneOf). Found none valid',
        ),
        (
            {"oneOf": [{"minimum": 1}, {"maximum": 5}]},
            3,
            '"spec.x" must validate one and only one schema (oneOf). Found 2 valid alternatives',
        ),
        ({"not": {"minimum": 1}}, 3, '"spec.x" must not validate the schema (not)'),
        ({"allOf": [{"maximum": 1}]}, 3, '"spec.x" must validate all the schemas (allOf). None validated'),
    ],
)
def test_a_failing_combination_is_told_in_upstreams_words(combination: Obj, value: Any, words: str) -> None:
    """The path stands in the text, not in the field."""
    assert Cause(TEXT, "<nil>", f'Invalid value: "": {words}') in find_causes({"type": "integer", **combination}, value)


def test_unknown_members_are_removed_and_named() -> None:
    """The paths are those of `unknown field "..."`; maps, kept parts and type metadata stay."""
    schema = build_schema(
        {
            "type": "object",
            "properties": {
                "items": {"type": "array", "items": {"type": "object", "properties": {"name": {"type": "string"}}}},
                "labels": {"type": "object", "additionalProperties": {"type": "string"}},
                "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
            },
        }
    )
    value: Obj = {
        "apiVersion": "g/v1",
        "kind": "K",
        "metadata": {"name": "a", "nickname": "b"},
        "extra": 1,
        "spec": {"foo": 1, "items": [{"name": "a"}, {"nmae": "b"}], "labels": {"any": "x"}, "free": {"any": [1]}},
    }
    assert schema.normalise(value) == ["metadata.nickname", "extra", "spec.foo", "spec.items[1].nmae"]
    assert value == {
        "apiVersion": "g/v1",
        "kind": "K",
        "metadata": {"name": "a"},
        "spec": {"items": [{"name": "a"}, {}], "labels": {"any": "x"}, "free": {"any": [1]}},
    }


def test_a_preserved_part_is_still_pruned_where_it_names_members() -> None:
    """Preserving unknown members does not spread into a member that has a schema of its own."""
    inner = {"type": "object", "properties": {"a": {"type": "string"}}}
    schema = build_schema(
        {"type": "object", "x-kubernetes-preserve-unknown-fields": True, "properties": {"named": inner}}
    )
    value: Obj = {"spec": {"other": 1, "named": {"a": "x", "b": 1}}}
    assert schema.normalise(value) == ["spec.named.b"]
    assert value == {"spec": {"other": 1, "named": {"a": "x"}}}


@pytest.mark.parametrize(
    ("field", "given", "expected"),
    [
        ({"type": "integer", "default": 3}, {}, {"x": 3}),
        ({"type": "integer", "default": 3}, {"x": 4}, {"x": 4}),
        ({"type": "integer", "default": 3}, {"x": None}, {"x": 3}),
        ({"type": "integer", "default": 3, "nullable": True}, {"x": None}, {"x": None}),
        ({"type": "integer"}, {"x": None}, {}),
        (
            {"type": "object", "default": {}, "properties": {"y": {"type": "string", "default": "z"}}},
            {},
            {"x": {"y": "z"}},
        ),
        ({"type": "object", "properties": {"y": {"type": "string", "default": "z"}}}, {}, {}),
    ],
)
def test_defaults_and_nulls_end_as_upstream_has_them(field: Obj, given: Obj, expected: Obj) -> None:
    """Null is absence unless the field is nullable; a default is filled in below what exists."""
    value = {"spec": dict(given)}
    build_field_schema(field).normalise(value)
    assert value == {"spec": expected}


def test_a_default_status_is_filled_into_a_new_object() -> None:
    """The status of a CRD may have a default, which stands although no user can write it."""
    status = {"type": "object", "properties": {"phase": {"type": "string"}}, "default": {"phase": "Pending"}}
    value: Obj = {"spec": {}}
    build_schema({"type": "object"}, status=status).normalise(value)
    assert value["status"] == {"phase": "Pending"}


def test_a_default_is_never_shared_between_objects() -> None:
    """Changing one object must not change the schema."""
    schema = build_field_schema({"type": "array", "items": {"type": "string"}, "default": ["a"]})
    first: Obj = {"spec": {}}
    second: Obj = {"spec": {}}
    schema.normalise(first)
    first["spec"]["x"].append("b")
    schema.normalise(second)
    assert second["spec"]["x"] == ["a"]


def test_what_an_update_leaves_as_it_was_is_not_refused() -> None:
    """An object stored under a milder schema can still be changed elsewhere (ratcheting)."""
    schema = build_schema(
        {
            "type": "object",
            "properties": {"x": {"type": "string", "maxLength": 1}, "y": {"type": "integer", "minimum": 0}},
        }
    )
    old = {"spec": {"x": "long", "y": 1}}
    assert schema.check({"spec": {"x": "long", "y": 2}}, old) == []
    assert [cause.field for cause in schema.check({"spec": {"x": "longer", "y": 1}}, old)] == ["spec.x"]


def test_items_of_a_list_map_are_correlated_by_their_keys() -> None:
    """A wrong item that only moved is not refused; in a plain list it is."""
    items = {"type": "object", "properties": {"name": {"type": "string"}, "n": {"type": "integer", "maximum": 1}}}
    keyed = {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"], "items": items}
    old = {"spec": {"x": [{"name": "bad", "n": 5}]}}
    new = {"spec": {"x": [{"name": "new", "n": 0}, {"name": "bad", "n": 5}]}}
    assert build_field_schema(keyed).check(new, old) == []
    assert [cause.field for cause in build_field_schema({"type": "array", "items": items}).check(new, old)] == [
        "spec.x[1].n"
    ]


def test_rules_are_not_run_on_an_object_of_the_wrong_shape() -> None:
    """The one cause that says so is upstream's."""
    spec = {
        "type": "object",
        "properties": {"x": {"type": "integer"}},
        "x-kubernetes-validations": [{"rule": "self.x > 0"}],
    }
    causes = build_schema(spec).check({"spec": {"x": "a"}}, None)
    assert causes[1:] == [
        Cause(
            TEXT,
            "<nil>",
            "Invalid value: null: some validation rules were not checked because the object was invalid; correct the "
            "existing errors to complete validation",
        )
    ]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=5),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=3), below, max_size=3),
    max_leaves=12,
)


@given(value=JSON)
def test_normalising_twice_changes_nothing_more(value: Any) -> None:
    """What was read back from the store is not changed again."""
    field = {
        "type": "object",
        "properties": {"a": {"type": "string", "default": "b"}, "": {"type": "array", "items": {"type": "object"}}},
        "default": {},
    }
    schema = build_field_schema(field)
    once: Obj = {"spec": {"x": value}}
    schema.normalise(once)
    twice = copy_value(once)
    assert schema.normalise(twice) == []
    assert twice == once


@given(value=JSON)
def test_checking_never_fails_and_never_changes_the_value(value: Any) -> None:
    """Any JSON gets an answer, and stored objects stay as they are."""
    field = {"type": "object", "required": ["a"], "properties": {"a": {"type": "array", "items": {"type": "integer"}}}}
    before = copy_value(value)
    build_field_schema(field).check({"spec": {"x": value}}, {"spec": {"x": before}})
    assert value == before
