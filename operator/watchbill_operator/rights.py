"""What the operator may do, as it needs it.

Owns the one table of rights; `manifests/base/rbac.yaml` grants exactly these. Pure: compares the table with rules in
the form that a Role and the answer of a SelfSubjectRulesReview have in common. Never asks and never grants anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

ACCOUNT = "watchbill-operator"  #: ServiceAccount, Role and Lease
TOLD = 3  #: rights that a sentence names; of the others it tells their number

Rule = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Right:
    """One verb on one resource of the operator's namespace."""

    group: str
    resource: str  #: with its subresource: `tasks/status`
    verb: str
    name: str = ""  #: of the only object; empty: all of them

    def __str__(self) -> str:
        """As a person would say it."""
        said = f"`{self.verb} {self.resource}`"
        return f"{said} ({self.group})" if self.group else said


_TABLE: tuple[tuple[str, tuple[str, ...], tuple[str, ...], str], ...] = (
    ("watchbill.dev", ("agents", "tasks"), ("list", "watch"), ""),
    ("watchbill.dev", ("agents/status", "tasks/status"), ("patch",), ""),
    ("watchbill.dev", ("tasks",), ("create", "delete"), ""),
    ("", ("pods",), ("create", "delete", "get", "list", "watch"), ""),
    ("", ("configmaps",), ("list", "watch"), ""),
    ("", ("events",), ("create",), ""),
    ("", ("namespaces",), ("get",), ""),
    ("coordination.k8s.io", ("leases",), ("get", "update"), ACCOUNT),
    ("coordination.k8s.io", ("leases",), ("create",), ""),
)
NEEDED: tuple[Right, ...] = tuple(
    Right(group, resource, verb, name)
    for group, resources, verbs, name in _TABLE
    for resource in resources
    for verb in verbs
)


def find_lacking(rules: Iterable[Any]) -> list[Right]:
    """The needed rights that no rule grants, in the order of the table. Total on whatever JSON the rules are."""
    known = [rule for rule in rules if isinstance(rule, Mapping)]
    return [right for right in NEEDED if not any(is_granted(right, rule) for rule in known)]


def is_granted(right: Right, rule: Rule) -> bool:
    """Whether one rule gives that right."""
    names = rule.get("resourceNames") or ()
    subresource = right.resource.partition("/")[2]
    return (
        _holds(rule.get("apiGroups"), right.group)
        and (
            _holds(rule.get("resources"), right.resource) or f"*/{subresource or '-'}" in (rule.get("resources") or ())
        )
        and _holds(rule.get("verbs"), right.verb)
        and (not names or (bool(right.name) and right.name in names))
    )


def tell_lacking(lacking: Sequence[Right]) -> str:
    """The sentence about rights that are not there, with the fix."""
    named = ", ".join(str(right) for right in lacking[:TOLD])
    more = f" and {len(lacking) - TOLD} more" if len(lacking) > TOLD else ""
    return f"the ServiceAccount {ACCOUNT} lacks {named}{more}: apply again what was installed, whose Role has all"


def _holds(values: Any, wanted: str) -> bool:
    return isinstance(values, list | tuple) and (wanted in values or "*" in values)
