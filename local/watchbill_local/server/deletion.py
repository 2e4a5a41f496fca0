"""How an object is deleted: the options of a request, and what follows from them for the object.

Owns DeleteOptions with the checks that upstream makes, the finalizers by which an object waits for the collector under
a policy (garbage.py does what they ask for), and the grace period of pods. Pure; objects.py stores what is decided.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from watchbill_local.server.errors import Cause, Named, Undecodable, bad_request, invalid, invalid_value, unsupported
from watchbill_local.server.registry import PODS
from watchbill_local.server.resource import Resource
from watchbill_local.server.typed_fields import decode_fields
from watchbill_local.server.values import Obj, dig, name_go_type

FOREGROUND, ORPHAN = "foregroundDeletion", "orphan"

#: The finalizer by which an object waits for what a policy asks of the collector.
_FINALIZERS: dict[str, str | None] = {"Foreground": FOREGROUND, "Background": None, "Orphan": ORPHAN}
_DELETE_OPTIONS = Named(group="meta.k8s.io", version="v1", plural="", kind="DeleteOptions")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteOptions:
    """How an object is deleted, and what becomes of its dependants."""

    policy: str | None = None  #: Background, Foreground or Orphan; None: as its finalizers say, else Background
    uid: str | None = None  #: precondition
    version: str | None = None  #: precondition: resource version
    grace_seconds: int | None = None  #: for pods; None means what the pod's spec says
    dry_run: bool = False


def parse_delete_options(body: Any, query: Mapping[str, str]) -> DeleteOptions:
    """Return the DeleteOptions of a request: its body, or its query where it has none. Raises a 400 or 422."""
    if body is not None and not isinstance(body, dict):
        raise bad_request(f"couldn't get version/kind; json: cannot unmarshal {name_go_type(body)} into Go value")
    options: Obj = body or _parse_query(query)
    if options.get("kind", "DeleteOptions") != "DeleteOptions":
        why = f'no kind "{options["kind"]}" is registered for version "{options.get("apiVersion", "")}"'
        raise bad_request(f'{why} in scheme "pkg/runtime/scheme.go:111"')
    try:
        decode_fields(_DELETE_OPTIONS, options)
    except Undecodable as error:
        raise bad_request(error.why) from None
    if causes := _check_options(options):
        raise invalid(_DELETE_OPTIONS, "", causes)
    policy, grace = options.get("propagationPolicy") or None, options.get("gracePeriodSeconds")
    if "orphanDependents" in options:
        policy = "Orphan" if options["orphanDependents"] else "Background"
    return DeleteOptions(
        policy=policy,
        uid=dig(options, "preconditions", "uid"),
        version=dig(options, "preconditions", "resourceVersion"),
        grace_seconds=1 if grace is not None and grace < 0 else grace,
        dry_run=bool(options.get("dryRun")),
    )


def _parse_query(query: Mapping[str, str]) -> Obj:
    """Return the options that a query holds, as a body would hold them. Raises a 400."""
    options: Obj = {key: query[key] for key in ("propagationPolicy", "gracePeriodSeconds") if query.get(key)}
    if "dryRun" in query:
        options["dryRun"] = [query["dryRun"]]
    if "orphanDependents" in query:
        options["orphanDependents"] = query["orphanDependents"].lower() in ("true", "1")
    try:
        return {key: int(text) if key == "gracePeriodSeconds" else text for key, text in options.items()}
    except ValueError as error:
        text = query["gracePeriodSeconds"]
        raise bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax') from error


def _check_options(options: Obj) -> list[Cause]:
    policy, dry = options.get("propagationPolicy"), options.get("dryRun") or []
    causes = [unsupported("dryRun", dry, ("All",))] if any(each != "All" for each in dry) else []
    if policy and "orphanDependents" in options:
        why = "orphanDependents and deletionPropagation cannot be both set"
        causes.append(invalid_value("propagationPolicy", policy, why))
    elif policy and policy not in _FINALIZERS:
        causes.append(unsupported("propagationPolicy", policy, (*_FINALIZERS, "nil")))
    return causes


def decide_finalizers(present: Sequence[str], policy: str | None) -> list[str]:
    """Return the finalizers of an object that is deleted under a policy, which takes the place of an earlier one."""
    kept = [each for each in present if policy is None or each not in _FINALIZERS.values()]
    added = _FINALIZERS.get(policy or "")
    return [*kept, added] if added else kept


def decide_grace(resource: Resource, obj: Obj, asked: int | None) -> int:
    """Return for how many seconds a deletion waits for the node: 0 for all but pods that a node may be running."""
    is_over = dig(obj, "status", "phase") in ("Succeeded", "Failed")
    if resource.key != PODS or not dig(obj, "spec", "nodeName") or is_over:
        return 0
    return int(dig(obj, "spec", "terminationGracePeriodSeconds", default=30)) if asked is None else asked


def set_or_drop(metadata: Obj, key: str, values: list[Any]) -> None:
    """Set a list of metadata, which is not there when it is empty."""
    metadata.pop(key, None)
    if values:
        metadata[key] = values
