"""Defaults and checks of the smaller built-in kinds: config maps, secrets, services, claims, leases, events, roles.

Owns what the server fills in beyond the plain defaults of kinds.json, and the mistakes of these kinds that it refuses,
in upstream's words. A fill function changes the object that it is given, which is the caller's own copy; a check only
reads.
"""

from __future__ import annotations

import base64

from watchbill_local.server.errors import Cause, invalid_value, required, too_long
from watchbill_local.server.names import check_data_key
from watchbill_local.server.values import Obj, dig

MAX_DATA_BYTES = 1024 * 1024
_FIXED = "Forbidden: field is immutable when `immutable` is set"
#: The member that a secret of a type must have.
_SECRET_KEYS = {"kubernetes.io/dockerconfigjson": ".dockerconfigjson", "kubernetes.io/dockercfg": ".dockercfg"}


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
    drop_empty(value, old, now)


def fill_service(value: Obj, old: Obj | None, now: str) -> None:
    """Let each port lead to the same one of the pods."""
    for port in value["spec"].get("ports") or []:
        port.setdefault("targetPort", port.get("port"))


def drop_empty(value: Obj, old: Obj | None, now: str) -> None:
    """Drop maps of data that hold nothing, as Go leaves them out."""
    for field in ("data", "binaryData"):
        if not value.get(field, True):
            del value[field]


def check_data(value: Obj, old: Obj | None) -> list[Cause]:
    """Refuse keys that cannot be file names, data beyond 1 MiB, counted decoded, and changes of what is immutable."""
    encoded = "data" if value.get("kind") == "Secret" else "binaryData"
    members = [(field, key, text) for field in ("data", "binaryData") for key, text in (value.get(field) or {}).items()]
    causes = [invalid_value(f"{field}[{key}]", key, why) for field, key, _ in members for why in check_data_key(key)]
    twice = [key for key in value.get("data") or {} if key in (value.get("binaryData") or {})]
    causes += [invalid_value(f"data[{key}]", key, "duplicate of key present in binaryData") for key in twice]
    sizes = (len(text.rstrip("=")) * 3 // 4 if field == encoded else len(text.encode()) for field, _, text in members)
    if sum(sizes) > MAX_DATA_BYTES:
        cause = too_long("data", MAX_DATA_BYTES)
        causes.append(cause if value.get("kind") == "Secret" else cause._replace(field="[]"))
    kind, needed = value.get("type"), _SECRET_KEYS.get(value.get("type") or "")
    if needed and needed not in (value.get("data") or {}):
        causes.append(required(f"data[{needed}]"))
    if old and old.get("type") != kind:
        causes.append(invalid_value("type", kind, "field is immutable"))
    before = old if old and old.get("immutable") else value
    changed = [
        field for field in ("immutable", "data", "binaryData") if (before.get(field) or {}) != (value.get(field) or {})
    ]
    return causes + [Cause("FieldValueForbidden", field, _FIXED) for field in changed]


def check_lease(value: Obj, old: Obj | None) -> list[Cause]:
    """Refuse a lease that is over as soon as it is taken."""
    seconds = dig(value, "spec", "leaseDurationSeconds", default=1)
    return [invalid_value("spec.leaseDurationSeconds", seconds, "must be greater than 0")] if seconds <= 0 else []


def check_event(value: Obj, old: Obj | None) -> list[Cause]:
    """Refuse an event that does not stand beside its object; what has no namespace is told of in `default`."""
    about, own = dig(value, "involvedObject", "namespace", default=""), value["metadata"].get("namespace")
    is_beside = about == own if about else own == "default"
    return [] if is_beside else [invalid_value("involvedObject.namespace", about, "does not match event.namespace")]


def check_role(value: Obj, old: Obj | None) -> list[Cause]:
    """Refuse a rule that allows nothing."""
    why = "verbs must contain at least one value"
    rules = enumerate(value.get("rules") or [])
    return [required(f"rules[{index}].verbs", why) for index, rule in rules if not rule.get("verbs")]


def check_role_binding(value: Obj, old: Obj | None) -> list[Cause]:
    """Refuse to bind to another role than at first."""
    role = value.get("roleRef") or {}
    if old is None or old.get("roleRef") == role:
        return []
    shown = {f"{key[0].upper()}{key[1:]}" if key != "apiGroup" else "APIGroup": text for key, text in role.items()}
    return [invalid_value("roleRef", shown, "cannot change roleRef")]


def check_service(value: Obj, old: Obj | None) -> list[Cause]:
    """Refuse a service with an address and no port, or with a port that is none."""
    spec = value["spec"]
    why = "must be between 1 and 65535, inclusive"
    ports = [(f"spec.ports[{index}].port", port.get("port") or 0) for index, port in enumerate(spec.get("ports") or [])]
    causes = [] if ports or spec.get("clusterIP") == "None" else [required("spec.ports")]
    return causes + [invalid_value(field, port, why) for field, port in ports if not 1 <= port <= 65535]


def check_claim(value: Obj, old: Obj | None) -> list[Cause]:
    """Refuse a claim that does not say what it asks for."""
    spec = value["spec"]
    causes = [] if spec.get("accessModes") else [required("spec.accessModes", "at least 1 access mode is required")]
    is_sized = dig(spec, "resources", "requests", "storage") is not None
    return causes if is_sized else [*causes, required("spec.resources[storage]")]
