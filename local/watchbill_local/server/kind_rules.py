"""Defaults and checks of the built-in kinds but pods.

Owns what the server fills into namespaces, secrets and services beyond the plain defaults of kinds.json, and the
mistakes that people meet; far fewer than upstream refuses, in upstream's words. A fill function changes the object that
it is given, which is the caller's own copy; a check only reads.
"""

from __future__ import annotations

import base64
from typing import Any

from watchbill_local.server.errors import Cause, invalid_value, required
from watchbill_local.server.names import check_data_key
from watchbill_local.server.values import Obj, dig

MAX_DATA_BYTES = 1024 * 1024
_RENAMED = """
involvedObject=regarding message=note reportingComponent=reportingController source=deprecatedSource
firstTimestamp=deprecatedFirstTimestamp lastTimestamp=deprecatedLastTimestamp count=deprecatedCount
"""
_NEW_EVENT_NAMES = {core: new for core, _, new in (pair.partition("=") for pair in _RENAMED.split())}
_CORE_EVENT_NAMES = {new: core for core, new in _NEW_EVENT_NAMES.items()}


def fill_namespace(value: Obj, old: Obj | None, now: str) -> None:
    """Label a namespace with its name."""
    metadata = value["metadata"]
    metadata["labels"] = {**(metadata.get("labels") or {}), "kubernetes.io/metadata.name": metadata["name"]}


def fill_secret(value: Obj, old: Obj | None, now: str) -> None:
    """Encode `stringData` into `data`."""
    plain = value.pop("stringData", None) or {}
    if plain:
        encoded = {key: base64.b64encode(str(text).encode()).decode() for key, text in plain.items()}
        value["data"] = {**(value.get("data") or {}), **encoded}


def fill_service(value: Obj, old: Obj | None, now: str) -> None:
    """Complete the ports of a service; it gets no address, since nothing here would answer on it."""
    for port in value["spec"].get("ports") or []:
        port.setdefault("protocol", "TCP")
        port.setdefault("targetPort", port.get("port"))


def check_data(value: Obj, old: Obj | None) -> list[Cause]:
    """Refuse keys of a config map or secret that cannot be file names, and data beyond 1 MiB."""
    fields = [(field, value.get(field) or {}) for field in ("data", "binaryData")]
    causes = [
        invalid_value(f"{field}[{key}]", key, problem)
        for field, members in fields
        for key in members
        for problem in check_data_key(key)
    ]
    total = sum(len(text.encode()) for _, members in fields for text in members.values())
    if total > MAX_DATA_BYTES:
        text = f"Too long: may not be more than {MAX_DATA_BYTES} bytes"
        causes.append(Cause("FieldValueTooLong", "data" if value.get("kind") == "Secret" else "", text))
    return causes


def check_claim(value: Obj, old: Obj | None) -> list[Cause]:
    """Refuse a persistent volume claim that does not say how it is used and how much it wants."""
    spec = value["spec"]
    causes = [] if spec.get("accessModes") else [required("spec.accessModes", "at least 1 access mode is required")]
    return causes if dig(spec, "resources", "requests", "storage") else [*causes, required("spec.resources[storage]")]


def check_event(value: Obj, old: Obj | None) -> list[Cause]:
    """Refuse an event that lies in another namespace than the object it is about."""
    about = dig(value, "involvedObject", "namespace", default="")
    if (about or "default") == value["metadata"].get("namespace"):
        return []
    return [invalid_value("involvedObject.namespace", about, "does not match event.namespace")]


def check_lease(value: Obj, old: Obj | None) -> list[Cause]:
    """Refuse a lease whose numbers make no sense."""
    rules = (
        ("leaseDurationSeconds", 1, "must be greater than 0"),
        ("leaseTransitions", 0, "must be greater than or equal to 0"),
    )
    found = [(field, dig(value, "spec", field), least, words) for field, least, words in rules]
    return [
        invalid_value(f"spec.{field}", number, words)
        for field, number, least, words in found
        if isinstance(number, int) and number < least
    ]


def build_new_event(core: Obj) -> Obj:
    """Return a stored event as events.k8s.io/v1 shows it."""
    renamed: dict[str, Any] = {_NEW_EVENT_NAMES.get(key, key): value for key, value in core.items()}
    return {**renamed, "apiVersion": "events.k8s.io/v1"}


def build_core_event(event: Obj) -> Obj:
    """Return an event of events.k8s.io/v1 as it is stored, in the core form."""
    renamed: dict[str, Any] = {_CORE_EVENT_NAMES.get(key, key): value for key, value in event.items()}
    return {**renamed, "apiVersion": "v1"}
