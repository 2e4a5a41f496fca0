"""CEL rules of custom resources (`x-kubernetes-validations`).

Owns which rule runs on which value: rules are gathered into a tree that holds only the parts of the schema below which
there are any, programs are compiled once, and a transition rule (one that names `oldSelf`) runs only where the old
value can be correlated: members by name, items of list maps by their keys, never items of other lists. Other rules
are skipped on parts that an update leaves as they were (ratcheting).

What a rule sees of a value is in cel_values.py, what becomes of its text in cel_source.py, the functions that
Kubernetes adds to CEL are in cel_functions.py. Pure.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from watchbill_local.server.cel_functions import FUNCTIONS, cel
from watchbill_local.server.cel_source import Translator
from watchbill_local.server.cel_values import view_value
from watchbill_local.server.errors import ROOT, Cause
from watchbill_local.server.schema_validate import MISSING, correlate_items
from watchbill_local.server.values import Obj, child_path, format_json

#: What the engine raises for a rule that cannot be evaluated on a value.
_EVALUATION_ERRORS = (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError)

#: The functions that are added to the engine's, by their names in rules.
_ADDED = frozenset(name.removeprefix("_").replace("__", ".") for name in FUNCTIONS)


@dataclass(frozen=True)
class Rule:
    """One compiled rule."""

    raw: Obj
    source: str  #: the message, else the expression: what upstream names the rule by
    program: cel.Program
    is_transition: bool  #: names oldSelf: needs an old value
    is_optional: bool  #: sees the old value as one that may be absent, and so needs none
    saying: cel.Program | None  #: makes the message


@dataclass(frozen=True)
class RuleTree:
    """The rules of one schema node and of what lies below it."""

    schema: Obj
    rules: list[Rule]
    functions: dict[str, Callable[..., Any]]  #: those that the rules name: a context of all costs more than most rules
    members: dict[str, RuleTree]
    others: RuleTree | None
    items: RuleTree | None
    is_root: bool


def compile_rules(schema: Any, *, is_root: bool = True) -> RuleTree | None:
    """Return the tree of rules of a schema, None when it has none. Raises ValueError if one does not compile."""
    if not isinstance(schema, dict):
        return None
    rules = [compile_rule(raw) for raw in schema.get("x-kubernetes-validations") or ()]
    below = (schema.get("properties") or {}).items()
    members = {key: tree for key, raw in below if (tree := compile_rules(raw, is_root=False))}
    others, items = (compile_rules(schema.get(name), is_root=False) for name in ("additionalProperties", "items"))
    if not (rules or members or others or items):
        return None
    programs = [each for rule in rules for each in (rule.program, rule.saying) if each]
    named = {name for program in programs for name in program.functions() if name in FUNCTIONS}
    return RuleTree(schema, rules, {name: FUNCTIONS[name] for name in named}, members, others, items, is_root)


def compile_rule(raw: Obj, schema: Obj | None = None, *, is_root: bool = False) -> Rule:
    """Return one rule; members of self are checked against a `schema`. Raises ValueError if it does not compile."""
    program, source = _compile(raw["rule"], schema, is_root), (raw.get("message") or raw["rule"]).strip()
    saying = _compile(raw["messageExpression"], schema, is_root) if raw.get("messageExpression") else None
    is_optional, is_transition = bool(raw.get("optionalOldSelf")), "oldSelf" in program.variables()
    return Rule(raw, source, program, is_transition, is_optional, saying)


def _compile(text: str, schema: Obj | None, is_root: bool) -> cel.Program:
    try:
        return cel.compile(Translator(text, _ADDED, schema, is_root).translate())
    except ValueError:
        if ".?" not in text and "[?" not in text:
            cel.compile(text)  # the parser's report comes first, and is about the text as it was written
        raise


def run_rules(tree: RuleTree, value: Obj, old: Obj | None) -> list[Cause]:
    """Return the causes of all broken rules of an object that replaces `old` (None at create)."""
    return _run(tree, value, MISSING if old is None else old, "")


def _run(tree: RuleTree, value: Any, old: Any, path: str, *, is_kept: bool = False) -> list[Cause]:
    """Run the rules of a value and of all below it; `is_kept`: an unchanged part holds it, if it has no old value."""
    if value is None:
        return []
    is_kept = is_kept if old is MISSING else value == old
    has_old = old is not MISSING and old is not None
    rules = [rule for rule in tree.rules if (has_old or rule.is_optional if rule.is_transition else not is_kept)]
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


def _run_here(tree: RuleTree, rules: list[Rule], value: Any, old: Any, path: str) -> list[Cause]:
    has_old = old is not MISSING and old is not None
    if tree.is_root:
        value, old = _view_root(value), _view_root(old) if has_old else old
    context = cel.Context(functions=tree.functions)  # filling it costs ten times as much as running a rule
    shown = view_value(value, tree.schema, old)
    context.add_variable("self", shown)
    before = shown if value == old else view_value(old, tree.schema) if has_old else None
    optional, causes, given = cel.OptionalValue, [], None
    for rule in rules:
        if rule.is_transition and rule.is_optional is not given:  # setting one costs as much as running a rule
            given, absent_or = rule.is_optional, optional.of(before) if has_old else optional.none()
            context.add_variable("oldSelf", absent_or if given else before)
        try:
            holds = rule.program.execute(context) is True
        except _EVALUATION_ERRORS as error:
            text = f'Invalid value: "{tree.schema.get("type", "")}": {_describe(error, rule)}'
            causes.append(Cause("FieldValueInvalid", path or ROOT, text))
        else:
            causes += [] if holds else [_build_cause(rule, _say(rule, context), value, path)]
    return causes


def _view_root(value: Obj) -> Obj:
    """Return what a rule at the root may see: of metadata only the names."""
    metadata = value.get("metadata") or {}
    return {**value, "metadata": {key: metadata[key] for key in ("name", "generateName") if key in metadata}}


def _describe(error: Exception, rule: Rule) -> str:
    """Return why a rule could not be evaluated, as cel-go would say it."""
    if isinstance(error, TypeError):
        words = "call arguments did not match a supported operator, function or macro signature for rule"
        return f"'no such overload': {words}: {rule.source}"
    found = {ZeroDivisionError: "division by zero", KeyError: f"no such key: {''.join(map(str, error.args[:1]))}"}
    return f"{found.get(type(error), str(error))} evaluating rule: {rule.source}"


def _say(rule: Rule, context: cel.Context) -> str:
    """Return the message of a broken rule: what its expression makes, else its text, else the rule."""
    with contextlib.suppress(*_EVALUATION_ERRORS):
        said = rule.saying.execute(context) if rule.saying else None
        if isinstance(said, str) and said.strip() and "\n" not in said:
            return said.strip()
    return rule.source if rule.raw.get("message") else f"failed rule: {rule.source}"


def _build_cause(rule: Rule, message: str, value: Any, path: str) -> Cause:
    reason = rule.raw.get("reason") or "FieldValueInvalid"
    where = (path + (rule.raw.get("fieldPath") or "")).removeprefix("" if path else ".") or ROOT
    shown = "" if isinstance(value, (dict, list)) else f": {format_json(value)}"
    texts = {"FieldValueForbidden": f"Forbidden: {message}", "FieldValueRequired": f"Required value: {message}"}
    plain = f"Duplicate value{shown}" if reason == "FieldValueDuplicate" else f"Invalid value{shown}: {message}"
    return Cause(reason, where, texts.get(reason, plain))
