"""Defaults and checks of the built-in kinds.

Owns what the server fills into pods, namespaces, secrets and the like, and the mistakes in them that people meet; far
fewer than upstream refuses, in upstream's words. A fill function changes the object that it is given, which is the
caller's own copy; a check only reads.
"""

from __future__ import annotations

import base64
from typing import Any

from watchbill_local.server.errors import Cause, bad_request
from watchbill_local.server.values import Obj, dig, name_go_type

_EVENT_VIEW = {
    "involvedObject": "regarding",
    "message": "note",
    "reportingComponent": "reportingController",
    "source": "deprecatedSource",
    "firstTimestamp": "deprecatedFirstTimestamp",
    "lastTimestamp": "deprecatedLastTimestamp",
    "count": "deprecatedCount",
}


def fill_namespace(value: Obj, old: Obj | None, now: str) -> None:
    """Give a namespace its finalizer, phase and name label."""
    value.setdefault("spec", {}).setdefault("finalizers", ["kubernetes"])
    value.setdefault("status", {}).setdefault("phase", "Active")
    metadata = value["metadata"]
    metadata["labels"] = {**(metadata.get("labels") or {}), "kubernetes.io/metadata.name": metadata["name"]}


def fill_secret(value: Obj, old: Obj | None, now: str) -> None:
    """Encode `stringData` into `data`."""
    value.setdefault("type", "Opaque")
    plain = value.pop("stringData", None) or {}
    if plain:
        encoded = {key: base64.b64encode(text.encode()).decode() for key, text in plain.items()}
        value["data"] = {**(value.get("data") or {}), **encoded}


def fill_claim(value: Obj, old: Obj | None, now: str) -> None:
    """Give a persistent volume claim its mode and phase."""
    value.setdefault("spec", {}).setdefault("volumeMode", "Filesystem")
    value.setdefault("status", {}).setdefault("phase", "Pending")


def fill_service(value: Obj, old: Obj | None, now: str) -> None:
    """Give a service its defaults; it gets no address, since nothing here would answer on it."""
    spec = value.setdefault("spec", {})
    defaults = {
        "type": "ClusterIP",
        "sessionAffinity": "None",
        "internalTrafficPolicy": "Cluster",
        "ipFamilies": ["IPv4"],
        "ipFamilyPolicy": "SingleStack",
        "clusterIP": "None",
        "clusterIPs": ["None"],
    }
    for key, default in defaults.items():
        spec.setdefault(key, default)
    for port in spec.get("ports") or []:
        port.setdefault("protocol", "TCP")
        port.setdefault("targetPort", port.get("port"))
    value.setdefault("status", {}).setdefault("loadBalancer", {})


def check_string_maps(value: Obj, old: Obj | None) -> list[Cause]:
    """Refuse a config map or secret whose data is not text. Raises a 400, as Go's decoder does."""
    for field in ("data", "binaryData", "stringData"):
        for item in (value.get(field) or {}).values():
            if not isinstance(item, str):
                kind = value.get("kind")
                raise bad_request(
                    f'{kind} in version "v1" cannot be handled as a {kind}: json: cannot unmarshal '
                    f"{name_go_type(item)} into Go struct field {kind}.{field} of type string"
                )
    return []


def check_event(value: Obj, old: Obj | None) -> list[Cause]:
    """Refuse an event that lies in another namespace than the object it is about."""
    about = dig(value, "involvedObject", "namespace", default="")
    if (about or "default") == value["metadata"].get("namespace"):
        return []
    text = f'Invalid value: "{about}": does not match event.namespace'
    return [Cause("FieldValueInvalid", "involvedObject.namespace", text)]


def check_lease(value: Obj, old: Obj | None) -> list[Cause]:
    """Refuse a lease whose numbers make no sense."""
    spec = value.get("spec") or {}
    causes = []
    for field, least, words in (("leaseDurationSeconds", 1, "must be greater than 0"),):
        number = spec.get(field)
        if number is not None and number < least:
            causes.append(Cause("FieldValueInvalid", f"spec.{field}", f"Invalid value: {number}: {words}"))
    transitions = spec.get("leaseTransitions")
    if transitions is not None and transitions < 0:
        text = f"Invalid value: {transitions}: must be greater than or equal to 0"
        causes.append(Cause("FieldValueInvalid", "spec.leaseTransitions", text))
    return causes


def build_new_event(core: Obj) -> Obj:
    """Return an event as events.k8s.io/v1 shows it."""
    renamed: dict[str, Any] = {_EVENT_VIEW.get(key, key): value for key, value in core.items()}
    return {**renamed, "apiVersion": "events.k8s.io/v1"}


def build_core_event(event: Obj) -> Obj:
    """Return an event of events.k8s.io/v1 as it is stored, in the core form."""
    names = {new: core for core, new in _EVENT_VIEW.items()}
    renamed: dict[str, Any] = {names.get(key, key): value for key, value in event.items()}
    return {**renamed, "apiVersion": "v1"}
