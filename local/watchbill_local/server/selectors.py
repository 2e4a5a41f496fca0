"""Label and field selectors of lists and watches.

Owns their grammar and meaning. A parsed selector is a predicate; None selects everything, so that callers can skip
the test. Malformed text is a 400 in upstream's words.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from watchbill_local.server.errors import bad_request
from watchbill_local.server.names import check_label_value, check_qualified_name
from watchbill_local.server.resource import Resource
from watchbill_local.server.values import Obj, dig

LabelPredicate = Callable[[Mapping[str, str] | None], bool]
FieldPredicate = Callable[[Obj], bool]
_Test = Callable[[str | None], bool]

_TERM = re.compile(
    r"""\s*(?:
        (?P<set_key>[^\s!=<>,()]+)\s+(?P<set_op>in|notin)\s*\((?P<values>[^)]*)\)
      | (?P<key>[^\s!=<>,()]+)\s*(?P<op>==|=|!=|>|<)\s*(?P<value>[^\s,()=!<>]*)
      | !\s*(?P<absent>[^\s!=<>,()]+)
      | (?P<present>[^\s!=<>,()]+)
    )\s*(?:,|$)""",
    re.VERBOSE,
)
_FIELD_TERM = re.compile(r"\s*([^=!]+?)\s*(==|=|!=)\s*(.*?)\s*")
_COMMON_FIELDS = ("metadata.name", "metadata.namespace")


def parse_label_selector(text: str | None) -> LabelPredicate | None:
    """Return a predicate over an object's labels: `a=b, c!=d, e in (f,g), h notin (i), j, !k, l>3`."""
    if not text or not text.strip():
        return None
    tests: list[tuple[str, _Test]] = []
    position = 0
    while position < len(text):
        match = _TERM.match(text, position)
        if match is None or match.end() == position:
            rest = text[position:].strip()
            raise bad_request(
                f"unable to parse requirement: found '{rest}', expected: !, identifier, or 'end of string'"
            )
        position = match.end()
        tests.append(_parse_term(match))

    def is_selected(labels: Mapping[str, str] | None) -> bool:
        present = labels or {}
        return all(test(present.get(key)) for key, test in tests)

    return is_selected


def parse_field_selector(text: str | None, resource: Resource) -> FieldPredicate | None:
    """Return a predicate over objects: `metadata.name=x,status.phase!=Running`; only fields that the kind offers."""
    if not text:
        return None
    terms: list[tuple[list[str], bool, str]] = []
    for part in text.split(","):
        match = _FIELD_TERM.fullmatch(part)
        if match is None:
            raise bad_request(f"invalid selector: '{text}'; can't understand '{part}'")
        field, operator, value = match.groups()
        if field not in _COMMON_FIELDS and field not in resource.field_selectors:
            raise bad_request(f"field label not supported: {field}")
        terms.append((field.split("."), operator != "!=", value))

    def is_selected(value: Obj) -> bool:
        return all((_as_text(dig(value, *path)) == wanted) is equal for path, equal, wanted in terms)

    return is_selected


def _parse_term(match: re.Match[str]) -> tuple[str, _Test]:
    key = match["set_key"] or match["key"] or match["absent"] or match["present"]
    for problem in check_qualified_name(key):
        raise bad_request(f'unable to parse requirement: <nil>: Invalid value: "{key}": {problem}')
    if match["absent"]:
        return key, lambda found: found is None
    if match["present"]:
        return key, lambda found: found is not None
    if match["set_key"]:
        values = {value.strip() for value in match["values"].split(",")}
        return key, _membership(key, values, wanted=match["set_op"] == "in")
    if match["op"] in "<>":
        return key, _comparison(match["op"], match["value"])
    return key, _membership(key, {match["value"]}, wanted=match["op"] != "!=")


def _membership(key: str, values: set[str], *, wanted: bool) -> _Test:
    for value in sorted(values):
        for problem in check_label_value(value):
            raise bad_request(f'unable to parse requirement: values[0][{key}]: Invalid value: "{value}": {problem}')
    return lambda found: (found in values) is wanted


def _comparison(operator: str, text: str) -> _Test:
    try:
        limit = int(text)
    except ValueError:
        words = "for 'Gt', 'Lt' operators, the value must be an integer"
        raise bad_request(f'unable to parse requirement: values[0]: Invalid value: "{text}": {words}') from None

    def is_beyond(found: str | None) -> bool:
        if found is None or not re.fullmatch(r"[+-]?\d+", found):
            return False
        return int(found) > limit if operator == ">" else int(found) < limit

    return is_beyond


def _as_text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
