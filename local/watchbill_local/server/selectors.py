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
from watchbill_local.server.values import Obj, dig, format_json

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
    """Return a predicate over an object's labels: `a=b, c!=d, e in (f,g), h notin (i), j, !k`."""
    if not text or not text.strip():
        return None
    tests: list[tuple[str, _Test]] = []
    position = 0
    while position < len(text):
        match = _TERM.match(text, position)
        if match is None or match.end() == position:
            raise bad_request(f"unable to parse requirement: found {_describe_rest(text[position:])}")
        position = match.end()
        tests.append(_parse_term(match))
    if text.rstrip().endswith(","):
        raise bad_request("found '', expected: identifier after ','")

    return lambda labels: all(test((labels or {}).get(key)) for key, test in tests)


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
        if field not in _COMMON_FIELDS and not resource.field_selectors and not resource.crd:
            known = ", ".join(f'"{each}"' for each in _COMMON_FIELDS)
            raise bad_request(f'"{field}" is not a known field selector: only {known}')
        if field not in _COMMON_FIELDS and field not in resource.field_selectors:
            raise bad_request(f"field label not supported: {field}")
        terms.append((field.split("."), operator != "!=", value))

    return lambda value: all((_as_text(dig(value, *path)) == wanted) is equal for path, equal, wanted in terms)


def _parse_term(match: re.Match[str]) -> tuple[str, _Test]:
    key = match["set_key"] or match["key"] or match["absent"] or match["present"]
    _insist(key, check_qualified_name(key), "<nil>")
    if match["absent"] or match["present"]:
        return key, lambda found: (found is None) is bool(match["absent"])
    if match["op"] in (">", "<"):
        return key, _parse_bound(match["op"], match["value"])
    values = {value.strip() for value in (match["values"] or match["value"] or "").split(",")}
    for value in sorted(values):
        _insist(value, check_label_value(value), f"values[0][{key}]")
    wanted = (match["set_op"] or match["op"]) not in ("notin", "!=")
    return key, lambda found: (found in values) is wanted


def _parse_bound(sign: str, text: str) -> _Test:
    """Return the test of `key > 1` or `key < 1`; a label that is no number passes neither."""
    if re.fullmatch(r"-?\d+", text) is None:
        why = "for 'Gt', 'Lt' operators, the value must be an integer"
        raise bad_request(f'unable to parse requirement: values[0]: Invalid value: "{text}": {why}')

    def test(found: str | None) -> bool:
        is_number = found is not None and re.fullmatch(r"-?\d+", found) is not None
        return is_number and (int(found or 0) > int(text) if sign == ">" else int(found or 0) < int(text))

    return test


def _describe_rest(rest: str) -> str:
    """Return what was found in place of what was expected, in upstream's words."""
    match = re.match(r"\s*[^\s!=<>,()]+\s+([^\s(,]+)", rest)
    if match and match[1] not in ("in", "notin"):
        return f"'{match[1]}', expected: in, notin, =, ==, !=, gt, lt"
    if re.match(r"\s*\S+\s+(not)?in\s*\([^)]*$", rest):
        return "'', expected: ',' or ')'"
    return f"'{rest.strip()}', expected: !, identifier, or 'end of string'"


def _insist(text: str, problems: list[str], where: str) -> None:
    if problems:
        raise bad_request(f'unable to parse requirement: {where}: Invalid value: "{text}": {problems[0]}')


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else format_json(value)
