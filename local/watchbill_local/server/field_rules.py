"""Rules of single fields of built-in kinds: a value of a list, a number within bounds, a name, a member that must be.

Owns the rules that need nothing but the field, and upstream's words for what breaks them. Which field has which rules
is the table field_rules.json: by kind, a path (`[*]`: each item, `a|b`: each of these members) with rules, each a name
and its arguments. Rules that compare fields stand in pod_rules.py and core_rules.py. Pure; types are checked before
(typed_fields.py), and a value of another type than the rule's passes.

A path is looked up only as far as the object goes: a rule is about what is there, but for `required` and
`exactly one of`, which ask for a member where its parent is there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from watchbill_local.server.errors import Cause, invalid_value, required, unsupported
from watchbill_local.server.names import check_label, check_qualified_name, check_subdomain
from watchbill_local.server.quantities import parse_quantity
from watchbill_local.server.values import Obj, child_path, load_table

#: (path, value or None where it is absent, arguments) -> what is wrong.
Rule = Callable[[str, Any, list[Any]], list[Cause]]

_TABLE: dict[str, dict[str, list[list[Any]]]] = load_table("field_rules.json")
_PATHS = {path: [part.split("|") for part in path.split(".")] for kind in _TABLE.values() for path in kind}

_NO_KEY = 'operator must be Exists when `key` is empty, which means "match all values and all keys"'


def check_fields(kind: str, value: Obj) -> list[Cause]:
    """Return what the rules of a kind's fields say of an object."""
    causes: list[Cause] = []
    for path, rules in _TABLE.get(kind, {}).items():
        for place, found in _walk(value, _PATHS[path], ""):
            causes += [cause for rule, *arguments in rules for cause in _RULES[rule](place, found, arguments)]
    return causes


def _walk(value: Any, parts: list[list[str]], path: str) -> Iterator[tuple[str, Any]]:
    """Yield the places that a path leads to, with what is there; the last member may be absent."""
    if not isinstance(value, dict):
        return
    *names, last = parts[0]
    is_list, last = last.endswith("[*]"), last.removesuffix("[*]")
    for name in (*names, last):
        place, found = child_path(path, name), value.get(name)
        items = [(f"{place}[{index}]", item) for index, item in enumerate(found or [])] if is_list else [(place, found)]
        for item in items:
            if len(parts) == 1:
                yield item
            else:
                yield from _walk(item[1], parts[1:], item[0])


def _is_one_of(path: str, value: Any, allowed: list[Any]) -> list[Cause]:
    return [] if value in (None, *allowed) else [unsupported(path, value, allowed)]


def _is_there(path: str, value: Any, arguments: list[Any]) -> list[Cause]:
    return [] if value else [required(path, *arguments)]


def _is_unique(path: str, items: Any, arguments: list[Any]) -> list[Cause]:
    """Return the items of a list whose member, which may be absent, an earlier one has too."""
    (key,) = arguments
    names = [item.get(key) for item in items or ()]
    twice = [(index, name) for index, name in enumerate(names) if name and name in names[:index]]
    return [Cause("FieldValueDuplicate", f"{path}[{at}].{key}", f'Duplicate value: "{name}"') for at, name in twice]


def _bound(words: str, is_kept: Callable[..., bool]) -> Rule:
    """Return the rule that a number keeps its bounds."""
    return lambda path, value, bounds: (
        [invalid_value(path, value, words.format(*bounds))]
        if isinstance(value, int) and not is_kept(value, *bounds)
        else []
    )


def _has_no_form(path: str, value: Any, arguments: list[Any]) -> list[Cause]:
    """Return what is wrong with a text: each form that it has is followed by what is said of it."""
    found = [
        why.format(value)
        for form, why in zip(arguments[::2], arguments[1::2], strict=True)
        if value and re.search(form, value)
    ]
    return [invalid_value(path, value, why) for why in found]


def _is_single(path: str, value: Any, arguments: list[Any]) -> list[Cause]:
    """Return what is wrong with an object that must have one member of several; without a name: at least one."""
    name, *members = arguments
    found = [member for member in members if (value or {}).get(member) is not None]
    if value is None or (name == "volume" and not found):
        return []
    if not name:
        shown = ", ".join(f"`{member}`" for member in members[:-1]) + f" or `{members[-1]}`"
        return [] if found else [invalid_value(path, "", f"must specify one of: {shown}")]
    if not found:
        return [required(path, f"must specify a {name} type")]
    why = f"Forbidden: may not specify more than 1 {name} type"
    return [Cause("FieldValueForbidden", f"{path}.{member}", why) for member in found[1:]]


def _is_size(path: str, value: Any, arguments: list[Any]) -> list[Cause]:
    text = "Forbidden: SizeLimit field must be a valid resource quantity"
    return [Cause("FieldValueForbidden", path, text)] if value and parse_quantity(value) < 0 else []


def _is_toleration(path: str, value: Obj, arguments: list[Any]) -> list[Cause]:
    operator, effect = value.get("operator") or "Equal", value.get("effect") or ""
    causes = []
    if not value.get("key") and operator != "Exists":
        causes.append(invalid_value(f"{path}.operator", operator, _NO_KEY))
    if value.get("tolerationSeconds") is not None and effect != "NoExecute":
        why = "effect must be 'NoExecute' when `tolerationSeconds` is set"
        causes.append(invalid_value(f"{path}.effect", effect, why))
    if operator == "Exists" and value.get("value"):
        why = "value must be empty when `operator` is 'Exists'"
        causes.append(invalid_value(f"{path}.operator", value["value"], why))
    return causes


def _named(check: Callable[[str], list[str]]) -> Rule:
    """Return the rule that a text has a syntax; an empty one passes."""
    return lambda path, value, _: [invalid_value(path, value, why) for why in (check(value) if value else ())]


_RULES: dict[str, Rule] = {
    "above": _bound("must be greater than {}", lambda value, least: value > least),
    "at least": _bound("must be greater than or equal to {}", lambda value, least: value >= least),
    "between": _bound("must be between {} and {}, inclusive", lambda value, least, most: least <= value <= most),
    "each of": lambda path, value, allowed: [
        unsupported(path, each, allowed) for each in value or () if each not in allowed
    ],
    "exactly one of": lambda path, value, allowed: _is_one_of(path, value or "", allowed),
    "forms": _has_no_form,
    "label": _named(check_label),
    "one of": _is_one_of,
    "qualified keys": lambda path, value, _: [
        invalid_value(path, key, why) for key in value or () for why in check_qualified_name(key)
    ],
    "required": _is_there,
    "single": _is_single,
    "size": _is_size,
    "subdomain": _named(check_subdomain),
    "toleration": _is_toleration,
    "unique": _is_unique,
}
