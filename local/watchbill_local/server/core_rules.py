"""Defaults and checks of the smaller built-in kinds: config maps, secrets, services, claims, leases, events, roles.

Owns what the server fills in beyond the plain defaults of kinds.json, and the mistakes of these kinds that it refuses,
in upstream's words. A fill function changes the object that it is given, which is the caller's own copy; a check only
reads.
"""

from __future__ import annotations

import base64

import orjson

from watchbill_local.server.errors import Cause, invalid_value, required, too_long, unsupported
from watchbill_local.server.names import check_data_key, check_qualified_name, check_subdomain
from watchbill_local.server.quantities import parse_quantity
from watchbill_local.server.values import Obj, dig

MAX_DATA_BYTES = 1024 * 1024
_FIXED = "Forbidden: field is immutable when `immutable` is set"
#: The member that a secret of a type must have.
_SECRET_KEYS: dict[str | None, tuple[str, ...]] = {
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    "kubernetes.io/dockercfg": (".dockercfg",),
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
    "kubernetes.io/basic-auth": ("username", "password"),  # one of them is enough
    "kubernetes.io/ssh-auth": ("ssh-privatekey",),
}
_RBAC = "rbac.authorization.k8s.io"
_ACCOUNT = "kubernetes.io/service-account.name"
_NEWER_EVENT = ("reportingComponent", "reportingInstance", "action", "reason")
_ADDRESSES = ("clusterIP", "clusterIPs", "internalTrafficPolicy", "ipFamilies", "ipFamilyPolicy")
_IMMUTABLE_CLAIM = (
    "Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName "
    "for bound claims"
)


def fill_namespace(value: Obj, old: Obj | None, now: str) -> None:
    """Label a namespace with its name."""
    metadata = value["metadata"]
    metadata["labels"] = {**(metadata.get("labels") or {}), "kubernetes.io/metadata.name": metadata.get("name") or ""}


def fill_secret(value: Obj, old: Obj | None, now: str) -> None:
    """Encode `stringData` into `data`."""
    plain = value.pop("stringData", None) or {}
    if plain:
        encoded = {key: base64.b64encode(str(text).encode()).decode() for key, text in plain.items()}
        value["data"] = {**(value.get("data") or {}), **encoded}
    drop_empty(value, old, now)


def fill_service(value: Obj, old: Obj | None, now: str) -> None:
    """Let each port lead to the same one of the pods; no service has an address here, nor what is but another name."""
    spec = value["spec"]
    if spec.get("type") == "ExternalName":
        value["spec"] = {key: each for key, each in spec.items() if key not in _ADDRESSES}
    elif spec.get("ports") or spec.get("clusterIP"):  # else it is refused
        spec.setdefault("clusterIP", "None")
        spec.setdefault("clusterIPs", [spec["clusterIP"]])
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
    causes += _check_secret_type(value) if value.get("kind") == "Secret" else []
    if old and old.get("type") != value.get("type"):
        causes.append(invalid_value("type", value.get("type"), "field is immutable"))
    before = old if old and old.get("immutable") else value
    changed = [
        field for field in ("immutable", "data", "binaryData") if (before.get(field) or {}) != (value.get(field) or {})
    ]
    return causes + [Cause("FieldValueForbidden", field, _FIXED) for field in changed]


def _check_secret_type(value: Obj) -> list[Cause]:
    """Return what a secret lacks of what its type promises."""
    data, kind = value.get("data") or {}, value.get("type")
    keys = _SECRET_KEYS.get(kind, ())
    missing = [key for key in keys if key not in data or (kind == "kubernetes.io/ssh-auth" and not data[key])]
    if kind == "kubernetes.io/basic-auth" and len(missing) < len(keys):
        return []
    if kind == "kubernetes.io/service-account-token" and not dig(value, "metadata", "annotations", _ACCOUNT):
        return [required(f"metadata.annotations[{_ACCOUNT}]")]
    causes = [required(f"data[{key}]") for key in missing]
    if keys and keys[0].startswith(".docker") and not missing:
        text = base64.b64decode(data[keys[0]])
        try:
            orjson.loads(text)
        except orjson.JSONDecodeError:
            sign = text.decode(errors="replace").strip()[:1]
            why = f"invalid character '{sign}' looking for beginning of value"
            causes.append(invalid_value(f"data[{keys[0]}]", "<secret contents redacted>", why))
    return causes


def check_event(value: Obj, old: Obj | None) -> list[Cause]:
    """Refuse an event that does not stand beside its object; what has no namespace is told of in `default`."""
    about, own = dig(value, "involvedObject", "namespace", default=""), value["metadata"].get("namespace")
    is_beside = about == own if about else own == "default"
    why = "does not match event.namespace"
    causes = [] if is_beside else [invalid_value("involvedObject.namespace", about, why)]
    if not value.get("eventTime"):
        return causes
    reporter = value.get("reportingComponent") or ""
    causes += [required(field) for field in _NEWER_EVENT if not value.get(field)]
    return causes + [invalid_value("reportingComponent", reporter, why) for why in check_qualified_name(reporter)]


def check_role(value: Obj, old: Obj | None) -> list[Cause]:
    """Refuse a rule that allows nothing, or that speaks of both resources and paths."""
    causes = []
    for index, rule in enumerate(value.get("rules") or []):
        field, paths = f"rules[{index}]", rule.get("nonResourceURLs")
        if paths and value.get("kind") == "Role":
            why = "namespaced rules cannot apply to non-resource URLs"
            causes.append(invalid_value(f"{field}.nonResourceURLs", paths, why))
        elif paths and (rule.get("apiGroups") or rule.get("resources")):
            why = "rules cannot apply to both regular resources and non-resource URLs"
            causes.append(invalid_value(f"{field}.nonResourceURLs", paths, why))
        for key, word in () if paths else (("apiGroups", "api group"), ("resources", "resource")):
            if not rule.get(key):
                causes.append(required(f"{field}.{key}", f"resource rules must supply at least one {word}"))
    return causes


def check_role_binding(value: Obj, old: Obj | None) -> list[Cause]:
    """Refuse to bind odd subjects, or to another role than at first."""
    role, causes = value.get("roleRef") or {}, []
    for index, subject in enumerate(value.get("subjects") or []):
        name, group = subject.get("name"), subject.get("apiGroup")
        is_account = subject.get("kind") == "ServiceAccount"
        whys = check_subdomain(name) if name and is_account else []
        causes += [invalid_value(f"subjects[{index}].name", name, why) for why in whys]
        if group and (is_account or group != _RBAC):
            causes.append(unsupported(f"subjects[{index}].apiGroup", group, ("",) if is_account else (_RBAC,)))
    if old is None or old.get("roleRef") == role:
        return causes
    shown = {f"{key[0].upper()}{key[1:]}" if key != "apiGroup" else "APIGroup": text for key, text in role.items()}
    return [*causes, invalid_value("roleRef", shown, "cannot change roleRef")]


def check_service(value: Obj, old: Obj | None) -> list[Cause]:
    """Refuse a service with an address and no port, or with a port that is none."""
    spec = value["spec"]
    ports = spec.get("ports") or []
    if spec.get("type") == "ExternalName":
        return [] if spec.get("externalName") else [required("spec.externalName")]
    causes = [] if ports or spec.get("clusterIP") == "None" else [required("spec.ports")]
    nameless = [index for index, port in enumerate(ports) if len(ports) > 1 and not port.get("name")]
    return causes + [required(f"spec.ports[{index}].name") for index in nameless]


def check_claim(value: Obj, old: Obj | None) -> list[Cause]:
    """Refuse a claim that does not say what it asks for."""
    spec = value["spec"]
    modes, size = spec.get("accessModes") or [], dig(spec, "resources", "requests", "storage")
    causes = []
    if "ReadWriteOncePod" in modes and len(modes) > 1:
        text = "Forbidden: may not use ReadWriteOncePod with other access modes"
        causes.append(Cause("FieldValueForbidden", "spec.accessModes", text))
    if size is None:
        causes.append(required("spec.resources[storage]"))
    elif parse_quantity(size) <= 0:
        causes.append(invalid_value("spec.resources[storage]", size, "must be greater than zero"))
    return causes + (_check_claim_update(value, old) if old else [])


def _check_claim_update(value: Obj, old: Obj) -> list[Cause]:
    """Return what is wrong with the change of a claim: it is given a volume once, and grows when it is bound."""
    spec, before, is_bound = value["spec"], dict(old["spec"]), dig(value, "status", "phase") == "Bound"
    for key in ("volumeName", "storageClassName"):
        if not before.get(key) and spec.get(key):
            before[key] = spec[key]
    if is_bound:
        before["resources"] = spec.get("resources")
        before["volumeAttributesClassName"] = spec.get("volumeAttributesClassName")
    if any(spec.get(key) != before.get(key) for key in spec.keys() | before.keys()):
        return [Cause("FieldValueForbidden", "spec", _IMMUTABLE_CLAIM)]
    sizes = [dig(each, "spec", "resources", "requests", "storage", default="0") for each in (value, old)]
    least = dig(value, "status", "capacity", "storage", default="0")
    if is_bound and parse_quantity(sizes[0]) < min(parse_quantity(sizes[1]), parse_quantity(least)):
        text = "Forbidden: field can not be less than status.capacity"
        return [Cause("FieldValueForbidden", "spec.resources.requests.storage", text)]
    return []
