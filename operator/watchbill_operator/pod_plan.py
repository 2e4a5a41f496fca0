"""A plan for the pods of one Agent, as a value.

Owns the actions that a plan can hold and how plans are put together. Carrying one out is the fleet's work: commands
first, then deletions by name and uid, then new pods.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from watchbill_coordination.core.commands import Command
from watchbill_operator.conditions import Finding


@dataclass(frozen=True, slots=True)
class CreatePod:
    """Make the workspace of that replica, then its pod."""

    ordinal: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DeletePod:
    """Delete the pod of that name and uid, and no other. `grace_seconds` None: the pod's own grace period."""

    name: str
    uid: str
    reason: str
    grace_seconds: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All that is to be done now. Commands are decided and committed before anything else is acted on."""

    creates: tuple[CreatePod, ...] = ()
    deletes: tuple[DeletePod, ...] = ()
    commands: tuple[Command, ...] = ()
    findings: tuple[Finding, ...] = ()  #: what the Agent's status should tell
    next_due: float | None = None  #: when to plan again, even if nothing is observed

    @property
    def is_empty(self) -> bool:
        """Whether nothing is to be done."""
        return not (self.creates or self.deletes or self.commands)


def merge_plans(plans: Iterable[Plan]) -> Plan:
    """All that the plans say, as one; due when the first of them is."""
    parts = list(plans)
    return Plan(
        creates=tuple(item for part in parts for item in part.creates),
        deletes=tuple(item for part in parts for item in part.deletes),
        commands=tuple(item for part in parts for item in part.commands),
        findings=tuple(item for part in parts for item in part.findings),
        next_due=min((part.next_due for part in parts if part.next_due is not None), default=None),
    )
