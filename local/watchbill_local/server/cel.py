"""CEL rules of custom resources (`x-kubernetes-validations`).

Owns which rule runs on which value: rules are gathered into a tree that holds only the parts of the schema below which
there are any, programs are compiled once, and a transition rule (one that names `oldSelf`) runs only where the old
value can be correlated: members by name, items of list maps by their keys, never items of other lists. Other rules
are skipped on parts that an update leaves as they were (ratcheting). messageExpression is taken and not looked at.

Owns too the functions that Kubernetes adds to CEL, as far as rules of ordinary CRDs use them: strings, lists,
quantities. Receiver style `x.f(y)` and call style `f(x, y)` are the same call. Pure.
"""

from __future__ import annotations

import contextlib
import re
import sys
import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from watchbill_local.server.errors import ROOT, Cause
from watchbill_local.server.quantities import is_quantity, parse_quantity
from watchbill_local.server.schema_validate import MISSING, correlate_items
from watchbill_local.server.values import Obj, child_path, format_json

# The engine's package imports its own command line, and with it a terminal toolkit that takes longer to load than all
# of this server (measured: 0.2 s of 0.56 s of CPU); an empty module in its place keeps it out.
sys.modules.setdefault("cel.cli", types.ModuleType("cel.cli"))
import cel  # noqa: E402 - after its command line is kept out
from cel import stdlib  # noqa: E402 - likewise

#: What the engine raises for a rule that cannot be evaluated on a value.
_EVALUATION_ERRORS = (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError)

_FUNCTIONS: dict[str, Callable[..., Any]] = {
    **dict(stdlib.STDLIB_FUNCTIONS),
    "quantity": parse_quantity,
    "isQuantity": is_quantity,
    "isGreaterThan": lambda left, right: left > right,
    "isLessThan": lambda left, right: left < right,
    "compareTo": lambda left, right: int(left > right) - int(left < right),
    "find": lambda text, pattern: next((match[0] for match in re.finditer(pattern, text)), ""),
    "findAll": lambda text, pattern: [match[0] for match in re.finditer(pattern, text)],
}


@dataclass(frozen=True)
class Rule:
    """One compiled rule."""

    raw: Obj
    source: str  #: the message, else the expression: what upstream names the rule by
    program: cel.Program
    is_transition: bool  #: names oldSelf: needs an old value
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
    named = {name for program in programs for name in program.functions() if name in _FUNCTIONS}
    return RuleTree(schema, rules, {name: _FUNCTIONS[name] for name in named}, members, others, items, is_root)


def compile_rule(raw: Obj) -> Rule:
    """Return one rule. Raises ValueError, with the parser's report, if it does not compile."""
    if raw.get("optionalOldSelf"):
        raise ValueError("optionalOldSelf is not supported by this server")
    program, source = cel.compile(raw["rule"]), (raw.get("message") or raw["rule"]).strip()
    saying = cel.compile(raw["messageExpression"]) if raw.get("messageExpression") else None
    return Rule(raw, source, program, "oldSelf" in program.variables(), saying)


def run_rules(tree: RuleTree, value: Obj, old: Obj | None) -> list[Cause]:
    """Return the causes of all broken rules of an object that replaces `old` (None at create)."""
    return _run(tree, value, MISSING if old is None else old, "")


def _run(tree: RuleTree, value: Any, old: Any, path: str, *, is_kept: bool = False) -> list[Cause]:
    """Run the rules of a value and of all below it; `is_kept`: an unchanged part holds it, if it has no old value."""
    if value is None:
        return []
    is_kept = is_kept if old is MISSING else value == old
    has_old = old is not MISSING and old is not None
    rules = [rule for rule in tree.rules if (has_old if rule.is_transition else not is_kept)]
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
    view = _view_root if tree.is_root else lambda each: each
    context = cel.Context(functions=tree.functions)  # filling it costs ten times as much as running a rule
    context.add_variable("self", view(value))
    if any(rule.is_transition for rule in rules):
        context.add_variable("oldSelf", view(old))
    causes = []
    for rule in rules:
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
