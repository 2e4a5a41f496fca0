"""Why a volume claim has no volume, in one sentence with the fix.

Owns the reading of claims, storage classes and the Events of provisioners. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from watchbill_cli.home import CLAIM

Obj = Mapping[str, Any]

DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"
MADE_ANEW = f"a claim cannot be changed: kubectl delete pvc {CLAIM}, and apply it anew"
ONE_NODE = "another storage class, or ReadWriteOnce with one replica of the operator as in manifests/overlays/kind"


def explain_claim(claim: Obj, classes: Sequence[Obj] | None, events: Iterable[Obj]) -> str:
    """What is wrong with the claim; empty: it is bound. `classes` None: they could not be read."""
    phase = (claim.get("status") or {}).get("phase", "Pending")
    name = claim["metadata"]["name"]
    if phase == "Bound":
        return ""
    if phase == "Lost":
        return f"the volume of the claim {name} is gone: restore it, or delete the claim and apply it anew"
    wanted = (claim.get("spec") or {}).get("storageClassName")
    if classes is not None and (trouble := _explain_class(wanted, classes)):
        return f"the claim {name} has no volume: {trouble}"
    newest = find_newest(events, "PersistentVolumeClaim", name)
    said = str((newest or {}).get("message") or "")
    if "only support" in said.lower() or "access mode" in said.lower():
        modes = ", ".join((claim.get("spec") or {}).get("accessModes") or ())
        return f"the claim {name} has no volume, for it asks for {modes}: {said}; it takes {ONE_NODE}; {MADE_ANEW}"
    if newest and newest.get("reason") == "WaitForFirstConsumer":
        return f"the claim {name} has no volume yet: its class makes one for the first pod that mounts it"
    return f"the claim {name} has no volume: {said or 'nobody says why; kubectl describe pvc ' + name}"


def find_newest(events: Iterable[Obj], kind: str, name: str) -> Obj | None:
    """The newest Event about an object, a warning before any other; None: there is none."""
    own = [each for each in events if _is_about(each, kind, name)]
    warnings = [each for each in own if each.get("type") == "Warning"]
    return max(warnings or own, key=_time_of, default=None)


def _is_about(event: Obj, kind: str, name: str) -> bool:
    about = event.get("involvedObject") or {}
    return about.get("kind") == kind and about.get("name") == name


def _explain_class(wanted: str | None, classes: Sequence[Obj]) -> str:
    """What is wrong with the class that it names, or with there being none."""
    names = sorted(str(each["metadata"]["name"]) for each in classes)
    there = f"there are {', '.join(names)}" if names else "the cluster has none"
    if wanted:
        return "" if wanted in names else f"there is no storage class {wanted}, {there}; {MADE_ANEW}"
    defaults = [each for each in classes if (each["metadata"].get("annotations") or {}).get(DEFAULT_CLASS) == "true"]
    return "" if defaults else f"it names no storage class and the cluster has no default one, {there}; {MADE_ANEW}"


def _time_of(event: Obj) -> str:
    metadata = event.get("metadata") or {}
    times = (event.get("lastTimestamp"), event.get("eventTime"), metadata.get("creationTimestamp"))
    return str(next((time for time in times if time), ""))
