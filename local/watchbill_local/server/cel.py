"""CEL rules of custom resources (`x-kubernetes-validations`).

Owns which rule runs on which value: rules are gathered into a tree that holds only the parts of the schema below which
there are any, programs are compiled once, and a transition rule (one that names `oldSelf`) runs only where the old
value can be correlated: members by name, items of list maps by their keys, never items of other lists. Pure.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import cel

from watchbill_local.server.cel_functions import pick_functions
from watchbill_local.server.errors import Cause
from watchbill_local.server.schema_validate import ROOT
from watchbill_local.server.values import Obj, child_path, format_json

MISSING: Any = object()
"""Stands for `oldSelf` where there is none."""


@dataclass(frozen=True)
class Rule:
    """One compiled rule."""

    source: str
    program: cel.Program
    message: str
    message_program: cel.Program | None
    reason: str
    field_path: str  #: below the value, such as `.name`, or empty
    is_transition: bool  #: names oldSelf: needs an old value
    is_optional: bool  #: optionalOldSelf: runs without one too


@dataclass(frozen=True)
class RuleTree:
    """The rules of one schema node and of what lies below it."""

    rules: tuple[Rule, ...]
    functions: dict[str, Callable[..., Any]]
    members: dict[str, RuleTree] = field(default_factory=dict)
    others: RuleTree | None = None
    items: RuleTree | None = None
    list_keys: tuple[str, ...] = ()
    is_root: bool = False


def compile_rules(schema: Obj, *, is_root: bool = True) -> RuleTree | None:
    """Return the tree of rules of a schema, None when it has none. Raises ValueError for a rule that does not compile."""
    rules = tuple(_compile_rule(raw) for raw in schema.get("x-kubernetes-validations") or ())
    members = {key: _compile_below(below) for key, below in (schema.get("properties") or {}).items()}
    found = {key: tree for key, tree in members.items() if tree}
    others, items = _compile_below(schema.get("additionalProperties")), _compile_below(schema.get("items"))
    if not (rules or found or others or items):
        return None
    functions: dict[str, Callable[..., Any]] = {}
    for rule in rules:
        functions |= pick_functions(rule.program)
        functions |= pick_functions(rule.message_program) if rule.message_program else {}
    is_map = schema.get("x-kubernetes-list-type") == "map"
    keys = tuple(schema.get("x-kubernetes-list-map-keys") or ()) if is_map else ()
    return RuleTree(rules, functions, found, others, items, keys, is_root)


def run_rules(tree: RuleTree, value: Obj, old: Obj | None) -> list[Cause]:
    """Return the causes of all broken rules of an object that replaces `old` (None at create)."""
    return _run(tree, value, MISSING if old is None else old, "")


def _compile_below(schema: Any) -> RuleTree | None:
    return compile_rules(schema, is_root=False) if isinstance(schema, dict) else None


def _compile_rule(raw: Obj) -> Rule:
    program = cel.compile(raw["rule"])
    expression = raw.get("messageExpression")
    return Rule(
        source=raw["rule"],
        program=program,
        message=raw.get("message") or f"failed rule: {raw['rule'].strip()}",
        message_program=cel.compile(expression) if expression else None,
        reason=raw.get("reason") or "FieldValueInvalid",
        field_path=raw.get("fieldPath") or "",
        is_transition="oldSelf" in program.variables(),
        is_optional=bool(raw.get("optionalOldSelf")),
    )


def _run(tree: RuleTree, value: Any, old: Any, path: str) -> list[Cause]:
    causes = _run_here(tree, value, old, path) if tree.rules else []
    if isinstance(value, dict):
        before = old if isinstance(old, dict) else {}
        for key, item in value.items():
            below = tree.members.get(key, tree.others)
            if below:
                causes += _run(below, item, before.get(key, MISSING), child_path(path, key))
    elif isinstance(value, list) and tree.items:
        before = _index_by_keys(old, tree.list_keys)
        for index, item in enumerate(value):
            causes += _run(tree.items, item, before.get(_key_of(item, tree.list_keys), MISSING), f"{path}[{index}]")
    return causes


def _run_here(tree: RuleTree, value: Any, old: Any, path: str) -> list[Cause]:
    context = cel.Context(functions=tree.functions)
    context.add_variable("self", _root_view(value) if tree.is_root else value)
    if old is not MISSING:
        context.add_variable("oldSelf", _root_view(old) if tree.is_root else old)
    causes = []
    for rule in tree.rules:
        if rule.is_transition and old is MISSING:
            continue
        try:
            result = rule.program.execute(context)
        except (ValueError, TypeError, RuntimeError, KeyError) as error:
            text = f"Invalid value: {_show(value)}: rule: {rule.source}: evaluation error: {error}"
            causes.append(Cause("FieldValueInvalid", path or ROOT, text))
            continue
        if result is not True:
            causes.append(_build_cause(rule, context, value, path))
    return causes


def _root_view(value: Obj) -> Obj:
    """Return what a rule at the root may see: of metadata only the names."""
    metadata = value.get("metadata") or {}
    return {**value, "metadata": {key: metadata[key] for key in ("name", "generateName") if key in metadata}}


def _build_cause(rule: Rule, context: cel.Context, value: Any, path: str) -> Cause:
    message = rule.message
    if rule.message_program:
        try:
            message = str(rule.message_program.execute(context)) or message
        except (ValueError, TypeError, RuntimeError, KeyError):
            message = rule.message
    words = {
        "FieldValueForbidden": f"Forbidden: {message}",
        "FieldValueRequired": f"Required value: {message}",
        "FieldValueDuplicate": f"Duplicate value: {_show(value)}",
    }
    shown = "" if isinstance(value, (dict, list)) else f"{_show(value)}: "
    text = words.get(rule.reason, f"Invalid value: {shown}{message}")
    where = path + rule.field_path if path else rule.field_path.removeprefix(".")
    return Cause(rule.reason, where or ROOT, text)


def _show(value: Any) -> str:
    if isinstance(value, dict):
        return '"object"'
    return '"array"' if isinstance(value, list) else format_json(value)


def _key_of(item: Any, keys: tuple[str, ...]) -> str | None:
    return format_json([item.get(key) for key in keys]) if keys and isinstance(item, dict) else None


def _index_by_keys(items: Any, keys: tuple[str, ...]) -> dict[str | None, Any]:
    if not (keys and isinstance(items, list)):
        return {}
    return {_key_of(item, keys): item for item in items}
