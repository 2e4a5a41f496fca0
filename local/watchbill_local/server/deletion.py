"""What a deletion is asked to do, and whether it may.

Owns the DeleteOptions, their preconditions and the grace period of pods. Pure; the deletion itself is in objects.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from watchbill_local.server.admission import Write
from watchbill_local.server.errors import bad_request, conflict
from watchbill_local.server.registry import PODS
from watchbill_local.server.resource import Resource
from watchbill_local.server.values import Obj, dig


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteOptions:
    """How an object is deleted."""

    uid: str | None = None  #: precondition
    version: str | None = None  #: precondition: resource version
    grace_seconds: int | None = None  #: for pods; None means what the pod's spec says
    orphan: bool = False  #: leave the dependants without their owner
    dry_run: bool = False


def decide_grace(resource: Resource, obj: Obj, asked: int | None) -> int:
    """Return for how many seconds a deletion waits for the node: 0 for all but pods that a node may be running."""
    if asked is not None and asked < 0:
        raise bad_request(f"gracePeriodSeconds must not be negative, got {asked}")
    if resource.key != PODS or not dig(obj, "spec", "nodeName"):
        return 0
    if dig(obj, "status", "phase") in ("Succeeded", "Failed"):
        return 0
    return int(dig(obj, "spec", "terminationGracePeriodSeconds", default=30)) if asked is None else asked


def parse_delete_options(body: Any, query: Mapping[str, str]) -> DeleteOptions:
    """Return the DeleteOptions of a request: its body, overridden by its query. Raises a 400."""
    options = body if isinstance(body, dict) else {}
    preconditions = options.get("preconditions") or {}
    policy = query.get("propagationPolicy") or options.get("propagationPolicy")
    if policy not in (None, "", "Background", "Foreground", "Orphan"):
        raise bad_request(f'invalid propagationPolicy "{policy}"')
    grace = query.get("gracePeriodSeconds", options.get("gracePeriodSeconds"))
    try:
        seconds = None if grace is None else int(grace)
    except (TypeError, ValueError):
        raise bad_request(f'invalid gracePeriodSeconds "{grace}"') from None
    return DeleteOptions(
        uid=preconditions.get("uid"),
        version=preconditions.get("resourceVersion"),
        grace_seconds=seconds,
        orphan=policy == "Orphan" or bool(options.get("orphanDependents")),
        dry_run=bool(query.get("dryRun") or options.get("dryRun")),
    )


def check_preconditions(write: Write, metadata: Obj, options: DeleteOptions) -> None:
    """Refuse to delete another object, or another state, than the client meant."""
    if options.uid and options.uid != metadata["uid"]:
        why = f"Precondition failed: UID in precondition: {options.uid}, UID in object meta: {metadata['uid']}"
        raise conflict(write.resource, write.name, why)
    if options.version and options.version != metadata["resourceVersion"]:
        why = (
            f"Precondition failed: ResourceVersion in precondition: {options.version}, "
            f"ResourceVersion in object meta: {metadata['resourceVersion']}"
        )
        raise conflict(write.resource, write.name, why)
