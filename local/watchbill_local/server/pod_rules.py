"""Defaults and checks of pods.

Owns what the server fills into a pod, what it refuses, and what of a pod may change. Fill functions change the object
that they are given, which is the caller's own copy; checks only read.
"""

from __future__ import annotations

from typing import Any

from watchbill_local.server.errors import Cause, duplicate, forbidden_value, invalid_value, required, unsupported
from watchbill_local.server.names import check_label
from watchbill_local.server.values import Obj

_EVICTED = {"operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}
_CONTAINER_LISTS = ("containers", "initContainers")
_MUTABLE = ("activeDeadlineSeconds", "tolerations", "nodeName", "schedulingGates")
_RESTART_POLICIES = ("Always", "OnFailure", "Never")
_IMMUTABLE = (
    "pod updates may not change fields other than `spec.containers[*].image`,"
    "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing "
    "tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)


def fill_pod(value: Obj, old: Obj | None, now: str) -> None:
    """Fill in what upstream's defaulting and admission would beyond kinds.json; a new pod is Pending."""
    spec = value["spec"]
    spec.setdefault("serviceAccount", spec["serviceAccountName"])
    for container in _list_containers(spec):
        _fill_container(container)
    if old is None:
        _fill_admission(spec)
        value["status"] = {"phase": "Pending", "qosClass": decide_qos_class(spec)}
        if spec.get("nodeName"):
            scheduled = {"type": "PodScheduled", "status": "True", "lastProbeTime": None, "lastTransitionTime": now}
            value["status"]["conditions"] = [scheduled]


def decide_qos_class(spec: Obj) -> str:
    """Return BestEffort without requests and limits, Guaranteed when all are equal, else Burstable."""
    resources = [container.get("resources") or {} for container in _list_containers(spec)]
    if not any(each.get("requests") or each.get("limits") for each in resources):
        return "BestEffort"
    for each in resources:
        limits = each.get("limits") or {}
        if not {"cpu", "memory"} <= limits.keys() or each.get("requests", limits) != limits:
            return "Burstable"
    return "Guaranteed"


def check_pod(value: Obj, old: Obj | None) -> list[Cause]:
    """Return what is wrong with a pod, or with its change from `old`."""
    spec = value.get("spec") or {}
    causes = [] if spec.get("containers") else [required("spec.containers")]
    seen: set[str] = set()
    for field in reversed(_CONTAINER_LISTS):
        for index, container in enumerate(spec.get(field) or []):
            path = f"spec.{field}[{index}]"
            causes += _check_container(container, path, seen) + _check_mounts(container, path, spec)
    policy = spec.get("restartPolicy")
    if policy not in _RESTART_POLICIES:
        causes.append(unsupported("spec.restartPolicy", policy, _RESTART_POLICIES))
    if old is not None and not _is_allowed_update(spec, old.get("spec") or {}):
        causes.append(forbidden_value("spec", _IMMUTABLE))
    return causes


def _list_containers(spec: Obj) -> list[Obj]:
    return [container for field in _CONTAINER_LISTS for container in spec.get(field) or []]


def _fill_container(container: Obj) -> None:
    image = str(container.get("image") or "").rsplit("/", 1)[-1]
    is_latest = "@" not in image and (":" not in image or image.endswith(":latest"))
    container.setdefault("imagePullPolicy", "Always" if is_latest else "IfNotPresent")
    container.setdefault("resources", {})
    container.setdefault("terminationMessagePath", "/dev/termination-log")
    container.setdefault("terminationMessagePolicy", "File")
    for port in container.get("ports") or []:
        port.setdefault("protocol", "TCP")


def _fill_admission(spec: Obj) -> None:
    """Fill in what upstream's admission plug-ins add at create: priority and the two eviction tolerations."""
    spec.setdefault("priority", 0)
    spec.setdefault("preemptionPolicy", "PreemptLowerPriority")
    known = {toleration.get("key") for toleration in spec.get("tolerations") or []}
    for key in ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"):
        if key not in known:
            spec.setdefault("tolerations", []).append({"key": key, **_EVICTED})


def _check_container(container: Obj, path: str, seen: set[str]) -> list[Cause]:
    """Return what is wrong with a container; `seen` gathers the names of those before it."""
    name, field = container.get("name") or "", f"{path}.name"
    causes = [invalid_value(field, name, problem) for problem in check_label(name)] if name else [required(field)]
    causes += [duplicate(field, name)] if name in seen else []
    seen.add(name)
    return causes if container.get("image") else [*causes, required(f"{path}.image")]


def _check_mounts(container: Obj, path: str, spec: Obj) -> list[Cause]:
    volumes = {volume.get("name") for volume in spec.get("volumes") or []}
    named = [(index, mount.get("name")) for index, mount in enumerate(container.get("volumeMounts") or [])]
    return [
        Cause("FieldValueNotFound", f"{path}.volumeMounts[{index}].name", f'Not found: "{name}"')
        for index, name in named
        if name not in volumes
    ]


def _is_allowed_update(spec: Obj, old: Obj) -> bool:
    if old.get("nodeName") not in (None, "", spec.get("nodeName")):
        return False
    return bool(_fixed_part(spec) == _fixed_part(old))


def _fixed_part(spec: Obj) -> Any:
    """Return a copy of the spec without what an update may change."""
    fixed = {key: value for key, value in spec.items() if key not in _MUTABLE}
    for field in _CONTAINER_LISTS:
        fixed[field] = [{k: v for k, v in each.items() if k != "image"} for each in spec.get(field) or []]
    return fixed
