"""What a CEL rule sees of a value, and rules that need more than the engine has."""

from __future__ import annotations

from typing import Any

import pytest

from watchbill_local.server.cel import compile_rule, compile_rules, run_rules
from watchbill_local.server.cel_values import escape_name

Obj = dict[str, Any]

_TEXT: Obj = {"type": "string"}
_SCHEMA: Obj = {
    "type": "object",
    "properties": {
        "date": {"type": "string", "format": "date"},
        "time": {"type": "string", "format": "date-time"},
        "wait": {"type": "string", "format": "duration"},
        "raw": {"type": "string", "format": "byte"},
        "text": _TEXT,
        "none": {"type": "string", "nullable": True},
        "a-b": _TEXT,
        "in": _TEXT,
        "half": {"type": "number"},
        "items": {"type": "array", "items": {"type": "integer"}},
        "names": {"type": "array", "items": _TEXT, "x-kubernetes-list-type": "set"},
        "map": {"type": "object", "additionalProperties": {"type": "integer"}},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        "keyed": {
            "type": "array",
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["k"],
            "items": {"type": "object", "properties": {"k": _TEXT, "v": _TEXT}},
        },
    },
}
_VALUE: Obj = {
    "date": "2020-01-01",
    "time": "2020-01-01T00:00:00Z",
    "wait": "1m30s",
    "raw": "YWJj",
    "text": "É!",
    "none": None,
    "a-b": "x",
    "in": "y",
    "half": 5,
    "items": [1, 2],
    "map": {"a": 1},
}


def holds(rule: str, value: Obj, old: Obj | None = None, **others: Any) -> bool:
    """Return whether a value keeps to a rule at `spec`."""
    spec = {**_SCHEMA, "x-kubernetes-validations": [{"rule": rule, **others}]}
    tree = compile_rules({"type": "object", "properties": {"spec": spec}})
    assert tree is not None
    return run_rules(tree, {"spec": value}, None if old is None else {"spec": old}) == []


@pytest.mark.parametrize(
    "rule",
    [
        "self.date < timestamp('2020-01-02T00:00:00Z')",
        "self.time.getFullYear() == 2020",
        "self.time.getHours('America/New_York') == 19",
        "self.time - timestamp('2019-12-31T00:00:00Z') == duration('24h')",
        "self.wait.getSeconds() == 90 && self.wait > duration('1m')",
        "self.raw == b'abc' && size(self.raw) == 3",
        "size(self.text) == 2 && self.text.size() == 2",
        "!has(self.none)",
        "self.a__dash__b == 'x' && has(self.a__dash__b)",
        "self.__in__ == 'y'",
        "self.half / 2.0 == 2.5",
        "self.?text.orValue('') == 'É!' && !self.?keyed.hasValue()",
        "self.items[?1].orValue(0) == 2 && !self.items[?5].hasValue()",
        "self.?map.a.orValue(0) == 1",
        "self.?text.optMap(x, x + '?').orValue('') == 'É!?'",
        "self.map.all(k, v, k == 'a' && v > 0)",
        "self.items.exists(i, v, i == 1 && v == 2)",
        "self.items.all(i, v, self.items.exists(j, w, i == j && v == w))",
        "self.items.transformList(i, v, v * 2) == [2, 4]",
        "self.map.transformMap(k, v, v + 1) == {'a': 2}",
        "self.items.isSorted() && self.items.sum() == 3",
        "url('http://h:1/p?q=1').getHost() == 'h:1' && !isURL('no url')",
        "sets.contains(self.items, [1])",
        "'%s-%d'.format([self.text, 4]) == 'É!-4'",
        "quantity('1').add(quantity('500m')).asApproximateFloat() == 1.5",
        "cidr('10.0.0.0/8').containsIP(ip('10.1.2.3')) && ip('::1').family() == 6",
        "semver('1.0.0-rc.2').isLessThan(semver('1.0.0')) && !isSemver('1.0')",
        "format.dns1123Label().validate('A').hasValue()",
        "'self.nope(1)' != r'\\d(' // self.nope(",
    ],
)
def test_a_rule_that_upstream_takes_holds_here_too(rule: str) -> None:
    """Formats are types of CEL, members have names of CEL, and functions of Kubernetes are there."""
    compile_rule({"rule": rule}, _SCHEMA)

    assert holds(rule, _VALUE)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"names": ["a", "b"]}, {"names": ["b", "a"]}),
        ({"keyed": [{"k": "a", "v": "1"}, {"k": "b"}]}, {"keyed": [{"k": "b"}, {"k": "a", "v": "1"}]}),
    ],
)
def test_sets_and_list_maps_are_equal_in_any_order(old: Obj, new: Obj) -> None:
    """So an immutable one can be written in another order."""
    assert holds("self == oldSelf", new, old)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"names": ["a", "b"]}, {"names": ["b", "c"]}),
        ({"names": ["a", "b"]}, {"names": ["b"]}),
        ({"keyed": [{"k": "a", "v": "1"}, {"k": "b"}]}, {"keyed": [{"k": "b"}, {"k": "a", "v": "2"}]}),
        ({"items": [1, 2]}, {"items": [2, 1]}),
    ],
)
def test_other_lists_differ(old: Obj, new: Obj) -> None:
    """By their items, and where they are of no such type by their order."""
    assert not holds("self == oldSelf", new, old)


def test_an_old_value_may_be_absent() -> None:
    """A rule with optionalOldSelf runs at create too."""
    rule = "oldSelf.hasValue() ? oldSelf.value().text == self.text : self.text == 'first'"

    assert holds(rule, {"text": "first"}, optionalOldSelf=True)
    assert not holds(rule, {"text": "second"}, optionalOldSelf=True)
    assert not holds(rule, {"text": "second"}, {"text": "first"}, optionalOldSelf=True)


@pytest.mark.parametrize(
    ("rule", "where"),
    [
        ("self.nope > 1", "1:5: undefined field 'nope'"),
        ("has(self.nope)", "1:4: undefined field 'nope'"),
        ("self.items == [1] &&\n self.map.a == self.nope", "2:20: undefined field 'nope'"),
        ("self.?nope.hasValue()", "1:5: undefined field 'nope'"),
        ("has(self.free.x)", "1:4: undefined field 'x'"),
        ("odd(self.text)", "1:4: undeclared reference to 'odd' (in container '')"),
        ("self.text.odd()", "1:14: undeclared reference to 'odd' (in container '')"),
        ("(self.text == 'a'", "Syntax error: missing ')'"),
    ],
)
def test_what_a_rule_cannot_name_is_found_at_installation(rule: str, where: str) -> None:
    """In the words of cel-go, and where it points to."""
    with pytest.raises(ValueError, match="ERROR: <input>:") as refusal:
        compile_rule({"rule": rule}, _SCHEMA)

    assert where in str(refusal.value)


@pytest.mark.parametrize(
    ("name", "escaped"),
    [("a-b", "a__dash__b"), ("a.b/c", "a__dot__b__slash__c"), ("a__b", "a__underscores__b"), ("in", "__in__")],
)
def test_names_of_members_are_escaped(name: str, escaped: str) -> None:
    """As upstream does it."""
    assert escape_name(name) == escaped
