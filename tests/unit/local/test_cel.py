"""CEL rules of custom resources: which rule runs on what, and how its failure reads."""

from __future__ import annotations

from typing import Any

import pytest

from watchbill_local.server.cel import compile_rules, run_rules
from watchbill_local.server.errors import Cause

Obj = dict[str, Any]
INVALID = "FieldValueInvalid"


def run(schema: Obj, value: Any, old: Any = None) -> list[Cause]:
    """Run the rules of a schema that stands at `spec`."""
    tree = compile_rules({"type": "object", "properties": {"spec": schema}})
    assert tree is not None
    return run_rules(tree, {"spec": value}, None if old is None else {"spec": old})


def with_rule(rule: str, kind: str = "object", **others: Any) -> Obj:
    """Return a schema of type `kind` with one rule."""
    return {"type": kind, "x-kubernetes-validations": [{"rule": rule, **others}]}


@pytest.mark.parametrize(
    ("schema", "value", "cause"),
    [
        (with_rule("self.x > 1"), {"x": 1}, Cause(INVALID, "spec", "Invalid value: failed rule: self.x > 1")),
        (with_rule("self.x > 1", message="too small"), {"x": 1}, Cause(INVALID, "spec", "Invalid value: too small")),
        (
            with_rule("self.x > 1", message="small", fieldPath=".x"),
            {"x": 1},
            Cause(INVALID, "spec.x", "Invalid value: small"),
        ),
        (with_rule("self > 1", kind="integer", message="small"), 1, Cause(INVALID, "spec", "Invalid value: 1: small")),
        (
            with_rule("self.x > 1", message="no", reason="FieldValueForbidden"),
            {"x": 1},
            Cause("FieldValueForbidden", "spec", "Forbidden: no"),
        ),
        (
            with_rule("has(self.x)", message="give x", reason="FieldValueRequired"),
            {},
            Cause("FieldValueRequired", "spec", "Required value: give x"),
        ),
        (
            with_rule("self.x > 1"),
            {},
            Cause(INVALID, "spec", 'Invalid value: "object": no such key: x evaluating rule: self.x > 1'),
        ),
        (
            with_rule("self.x / 0 == 1", message="m"),
            {"x": 1},
            Cause(INVALID, "spec", 'Invalid value: "object": division by zero evaluating rule: m'),
        ),
    ],
)
def test_a_broken_rule_reads_as_upstream_writes_it(schema: Obj, value: Any, cause: Cause) -> None:
    """Message, reason and fieldPath shape the cause; objects are not shown."""
    assert run(schema, value) == [cause]


@pytest.mark.parametrize(
    ("rule", "value"),
    [
        ("!has(self.a) || self.a.all(x, x.startsWith('b'))", {}),
        ("self.a.all(x, x.matches('^b$'))", {"a": ["b"]}),
        ("self.a == self.b", {"a": {"c": [1, None]}, "b": {"c": [1, None]}}),
        ("self.a.exists_one(x, x.n == 1)", {"a": [{"n": 1}, {"n": 2}]}),
        ("size(self.a) <= 2 && 'k' in self.a", {"a": {"k": "v"}}),
        ("self.a.split(',').size() == 2 && self.a.lowerAscii() == 'a,b'", {"a": "A,B"}),
        ("quantity(self.a).isGreaterThan(quantity('1Gi'))", {"a": "1500Mi"}),
        ("isQuantity(self.a) && !isQuantity('1.2.3')", {"a": "100m"}),
        ("self.a.sum() == 3 && self.a.max() == 2", {"a": [1, 2]}),
        ("self.a.find('[0-9]+') == '12'", {"a": "ab12cd"}),
        ("duration(self.a) < duration('1h')", {"a": "5m"}),
        ("timestamp(self.a) < timestamp('2030-01-01T00:00:00Z')", {"a": "2026-01-01T00:00:00Z"}),
        ("type(self.a) == string ? self.a == '50%' : self.a > 3", {"a": "50%"}),
        ("self.b || true", {}),
    ],
)
def test_a_rule_in_the_style_of_kubernetes_holds(rule: str, value: Any) -> None:
    """The functions that Kubernetes adds to CEL are there."""
    assert run(with_rule(rule), value) == []


def test_a_transition_rule_does_not_run_at_create() -> None:
    """There is nothing to compare with."""
    assert run(with_rule("self.x == oldSelf.x"), {"x": 1}) == []


def test_a_transition_rule_runs_on_an_update() -> None:
    """Immutability is the usual one."""
    schema = with_rule("self.x == oldSelf.x", message="x is immutable")
    assert run(schema, {"x": 1}, {"x": 1}) == []
    assert run(schema, {"x": 2}, {"x": 1}) == [Cause(INVALID, "spec", "Invalid value: x is immutable")]


def test_a_transition_rule_needs_the_old_value_of_its_own_place() -> None:
    """A member that is new has no old value, so its rule waits for the next update."""
    schema = {"type": "object", "properties": {"x": with_rule("self == oldSelf", kind="integer")}}
    assert run(schema, {"x": 1}, {"y": 1}) == []


def test_items_of_a_list_map_have_the_old_value_of_their_key() -> None:
    """The order of the items does not matter; items of a plain list have no old value at all."""
    items = {**with_rule("self.n >= oldSelf.n", message="n shrinks"), "properties": {"name": {}, "n": {}}}
    keyed = {"type": "array", "items": items, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}
    old = [{"name": "a", "n": 1}, {"name": "b", "n": 5}]
    new = [{"name": "b", "n": 4}, {"name": "a", "n": 1}]
    assert [cause.field for cause in run(keyed, new, old)] == ["spec[0]"]
    assert run({"type": "array", "items": items}, new, old) == []


def test_a_rule_is_skipped_where_an_update_changes_nothing() -> None:
    """A stricter rule does not lock objects that were stored before it."""
    schema = {"type": "object", "properties": {"x": with_rule("self.n > 1"), "y": {"type": "integer"}}}
    assert run(schema, {"x": {"n": 1}, "y": 2}, {"x": {"n": 1}, "y": 1}) == []
    assert [cause.field for cause in run(schema, {"x": {"n": 0}, "y": 1}, {"x": {"n": 1}, "y": 1})] == ["spec.x"]


def test_members_of_a_map_are_shown_with_their_key_in_brackets() -> None:
    """Go's path of a map entry."""
    schema = {"type": "object", "additionalProperties": with_rule("self > 1", kind="integer", message="m")}
    assert [cause.field for cause in run(schema, {"a.b": 1})] == ["spec[a.b]"]


def test_a_null_is_not_given_to_rules() -> None:
    """Rules of a nullable field see values only."""
    assert run(with_rule("self > 1", kind="integer", nullable=True), None) == []


def test_a_rule_at_the_root_sees_only_the_names_of_the_metadata() -> None:
    """Labels and the rest of metadata are hidden from rules."""
    tree = compile_rules({**with_rule("self.metadata.name == 'a' && !has(self.metadata.labels)")})
    assert tree is not None
    assert run_rules(tree, {"metadata": {"name": "a", "labels": {"x": "y"}}}, None) == []


def test_a_schema_without_rules_has_no_tree() -> None:
    """No rule costs nothing."""
    assert compile_rules({"type": "object", "properties": {"a": {"type": "string"}}}) is None


def test_a_rule_that_does_not_parse_is_found_at_installation() -> None:
    """The parser's own report, with its place."""
    with pytest.raises(ValueError, match="ERROR: <input>:1:10: Syntax error"):
        compile_rules({"type": "object", "x-kubernetes-validations": [{"rule": "self.x =="}]})
