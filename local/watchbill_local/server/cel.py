"""CEL rules of custom resources (`x-kubernetes-validations`).

Owns which rule runs on which value: rules are gathered into a tree that holds only the parts of the schema below which
there are any, programs are compiled once, and a transition rule (one that names `oldSelf`) runs only where the old
value can be correlated: members by name, items of list maps by their keys, never items of other lists. Other rules
are skipped on parts that an update leaves as they were (ratcheting). Pure.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from watchbill_local.server.causes import ROOT
from watchbill_local.server.cel_engine import cel
from watchbill_local.server.cel_functions import pick_functions
from watchbill_local.server.errors import Cause
from watchbill_local.server.schema_validate import MISSING, correlate_items
from watchbill_local.server.values import Obj, child_path, format_json

MAX_MESSAGE_BYTES = 5 * 1024
"""A longer message of a messageExpression is not used."""

_EVALUATION_ERRORS = (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError)
"""What the engine raises for a rule that cannot be evaluated on a value."""


@dataclass(frozen=True)
class Rule:
    """One compiled rule."""

    source: str  #: the message, else the expression: what upstream names the rule by
    program: cel.Program
    message: str
    message_program: cel.Program | None
    reason: str
    field_path: str  #: below the value, such as `.name`, or empty
    is_transition: bool  #: names oldSelf: needs an old value
    is_optional: bool  #: optionalOldSelf: oldSelf is an optional, and the rule runs without an old value too


@dataclass(frozen=True)
class RuleTree:
    """The rules of one schema node and of what lies below it."""

    schema: Obj
    rules: tuple[Rule, ...]
    functions: dict[str, Callable[..., Any]]
    members: dict[str, RuleTree]
    others: RuleTree | None
    items: RuleTree | None
    is_root: bool


def compile_rules(schema: Obj, *, is_root: bool = True) -> RuleTree | None:
    """Return the tree of rules of a schema, None when it has none. Raises ValueError if one does not compile."""
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
    return RuleTree(schema, rules, functions, found, others, items, is_root)


def run_rules(tree: RuleTree, value: Obj, old: Obj | None) -> list[Cause]:
    """Return the causes of all broken rules of an object that replaces `old` (None at create)."""
    return _run(tree, value, MISSING if old is None else old, "")


def _compile_below(schema: Any) -> RuleTree | None:
    return compile_rules(schema, is_root=False) if isinstance(schema, dict) else None


def _compile_rule(raw: Obj) -> Rule:
    program = cel.compile(raw["rule"])
    expression, message = raw.get("messageExpression"), (raw.get("message") or "").strip()
    source = message or raw["rule"].strip()
    return Rule(
        source=source,
        program=program,
        message=message or f"failed rule: {source}",
        message_program=cel.compile(expression) if expression else None,
        reason=raw.get("reason") or "FieldValueInvalid",
        field_path=raw.get("fieldPath") or "",
        is_transition="oldSelf" in program.variables(),
        is_optional=bool(raw.get("optionalOldSelf")),
    )


def _run(tree: RuleTree, value: Any, old: Any, path: str, *, is_kept: bool = False) -> list[Cause]:
    """Run the rules of a value and of all below it; `is_kept`: an unchanged part holds it, if it has no old value."""
    if value is None:
        return []
    if old is not MISSING:
        is_kept = value == old
    rules = [rule for rule in tree.rules if _applies(rule, old, is_kept=is_kept)]
    causes = _run_here(tree, rules, value, old, path) if rules else []
    if isinstance(value, dict):
        before = old if isinstance(old, dict) else {}
        for key, item in value.items():
            below = tree.members.get(key, tree.others)
            if below:
                here = child_path(path, key) if key in tree.members else f"{path}[{key}]"
                causes += _run(below, item, before.get(key, MISSING), here, is_kept=is_kept)
    elif isinstance(value, list) and tree.items:
        old_of = correlate_items(old, tree.schema)
        for index, item in enumerate(value):
            causes += _run(tree.items, item, old_of(item), f"{path}[{index}]", is_kept=is_kept)
    return causes


def _applies(rule: Rule, old: Any, *, is_kept: bool) -> bool:
    """A transition rule runs where there is an old value; any other only where the update changed something."""
    if rule.is_transition:
        return rule.is_optional or (old is not MISSING and old is not None)
    return not is_kept


def _run_here(tree: RuleTree, rules: list[Rule], value: Any, old: Any, path: str) -> list[Cause]:
    contexts: dict[bool, cel.Context] = {}
    causes = []
    for rule in rules:
        if rule.is_optional not in contexts:
            sort = [each for each in rules if each.is_optional == rule.is_optional]
            contexts[rule.is_optional] = _build_context(tree, sort, value, old)
        context = contexts[rule.is_optional]
        try:
            holds = rule.program.execute(context) is True
        except _EVALUATION_ERRORS as error:
            text = f'Invalid value: "{tree.schema.get("type", "")}": {_describe(error, rule)}'
            causes.append(Cause("FieldValueInvalid", path or ROOT, text))
            continue
        if not holds:
            causes.append(_build_cause(rule, context, value, path))
    return causes


def _build_context(tree: RuleTree, rules: list[Rule], value: Any, old: Any) -> cel.Context:
    """Return what rules of one sort can name; filling it costs ten times as much as running a rule."""
    context = cel.Context(functions=tree.functions)
    context.add_variable("self", _root_view(value) if tree.is_root else value)
    if any(rule.is_transition for rule in rules):
        before = _root_view(old) if tree.is_root and old is not MISSING else old
        if rules[0].is_optional:
            before = cel.OptionalValue.none() if old is MISSING else cel.OptionalValue.of(before)
        context.add_variable("oldSelf", before)
    return context


def _root_view(value: Obj) -> Obj:
    """Return what a rule at the root may see: of metadata only the names."""
    metadata = value.get("metadata") or {}
    return {**value, "metadata": {key: metadata[key] for key in ("name", "generateName") if key in metadata}}


def _describe(error: Exception, rule: Rule) -> str:
    """Return why a rule could not be evaluated, as cel-go would say it."""
    if isinstance(error, TypeError):
        words = "call arguments did not match a supported operator, function or macro signature for rule"
        return f"'no such overload': {words}: {rule.source}"
    words = str(error)
    if isinstance(error, KeyError):
        words = f"no such key: {error.args[0] if error.args else ''}"
    elif isinstance(error, ZeroDivisionError):
        words = "division by zero"
    return f"{words} evaluating rule: {rule.source}"


def _build_cause(rule: Rule, context: cel.Context, value: Any, path: str) -> Cause:
    message = _evaluate_message(rule, context) or rule.message
    shown = "" if isinstance(value, (dict, list)) else f": {format_json(value)}"
    words = {
        "FieldValueForbidden": f"Forbidden: {message}",
        "FieldValueRequired": f"Required value: {message}",
        "FieldValueDuplicate": f"Duplicate value{shown}",
    }
    text = words.get(rule.reason, f"Invalid value{shown}: {message}")
    where = path + rule.field_path if path else rule.field_path.removeprefix(".")
    return Cause(rule.reason, where or ROOT, text)


def _evaluate_message(rule: Rule, context: cel.Context) -> str | None:
    """Return the text of messageExpression; None where there is none or it gives no text of one line."""
    if rule.message_program is None:
        return None
    try:
        text = rule.message_program.execute(context)
    except _EVALUATION_ERRORS:
        return None
    if not isinstance(text, str) or "\n" in text.strip() or len(text.encode()) > MAX_MESSAGE_BYTES:
        return None
    return text.strip()
