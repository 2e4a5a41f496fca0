"""Defaults and checks of pods.

Owns what the server fills into a pod beyond the plain defaults of kinds.json, what it refuses, and what of a pod may
change. Fill functions change the object that they are given, which is the caller's own copy; checks only read.
"""

from __future__ import annotations

from watchbill_local.server.errors import Cause, invalid_value, required, unsupported
from watchbill_local.server.names import check_label
from watchbill_local.server.values import Obj

_EVICTION_KEYS = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
_EVICTED = {"operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}
_CONTAINER_LISTS = ("initContainers", "containers")
_MUTABLE = ("activeDeadlineSeconds", "tolerations", "schedulingGates")
_RESTART_POLICIES = ("Always", "OnFailure", "Never")
_IMMUTABLE = (
    "Forbidden: pod updates may not change fields other than `spec.containers[*].image`,"
    "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing "
    "tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)


def fill_pod(value: Obj, old: Obj | None, now: str) -> None:
    """Fill in what upstream's defaulting and admission would; a new pod is Pending."""
    spec = value["spec"]
    spec.setdefault("serviceAccount", spec["serviceAccountName"])
    for _, container in _list_containers(spec):
        image = str(container.get("image") or "").rsplit("/", 1)[-1]
        is_latest = "@" not in image and (":" not in image or image.endswith(":latest"))
        container.setdefault("imagePullPolicy", "Always" if is_latest else "IfNotPresent")
    if old is not None:
        return
    known = {toleration.get("key") for toleration in spec.get("tolerations") or []}
    for key in [key for key in _EVICTION_KEYS if key not in known]:
        spec.setdefault("tolerations", []).append({"key": key, **_EVICTED})
    value["status"] = {"phase": "Pending", "qosClass": decide_qos_class(spec)}
    if spec.get("nodeName"):
        scheduled = {"type": "PodScheduled", "status": "True", "lastProbeTime": None, "lastTransitionTime": now}
        value["status"]["conditions"] = [scheduled]


def decide_qos_class(spec: Obj) -> str:
    """Return BestEffort without requests and limits, Guaranteed when all are equal, else Burstable."""
    resources = [container.get("resources") or {} for _, container in _list_containers(spec)]
    if not any(each.get("requests") or each.get("limits") for each in resources):
        return "BestEffort"
    limits = [each.get("limits") or {} for each in resources]
    is_equal = all(each.get("requests", most) == most for each, most in zip(resources, limits, strict=True))
    return "Guaranteed" if is_equal and all({"cpu", "memory"} <= most.keys() for most in limits) else "Burstable"


def check_pod(value: Obj, old: Obj | None) -> list[Cause]:
    """Return what is wrong with a pod, or with its change from `old`."""
    spec = value.get("spec") or {}
    causes = [] if spec.get("containers") else [required("spec.containers")]
    volumes = [volume.get("name") for volume in spec.get("volumes") or []]
    for index in [index for index, name in enumerate(volumes) if name in volumes[:index]]:
        cause = Cause("FieldValueDuplicate", f"spec.volumes[{index}].name", f'Duplicate value: "{volumes[index]}"')
        causes.append(cause)
    seen: set[str] = set()
    for path, container in _list_containers(spec):
        name, field = container.get("name") or "", f"{path}.name"
        causes += [invalid_value(field, name, problem) for problem in check_label(name)] if name else [required(field)]
        causes += [Cause("FieldValueDuplicate", field, f'Duplicate value: "{name}"')] if name in seen else []
        causes += [] if container.get("image") else [required(f"{path}.image")]
        seen.add(name)
        for index, mount in enumerate(container.get("volumeMounts") or []):
            if mount.get("name") not in volumes:
                text = f'Not found: "{mount.get("name")}"'
                causes.append(Cause("FieldValueNotFound", f"{path}.volumeMounts[{index}].name", text))
    policy = spec.get("restartPolicy")
    if policy not in _RESTART_POLICIES:
        causes.append(unsupported("spec.restartPolicy", policy, _RESTART_POLICIES))
    if old is not None and not _is_allowed_update(spec, old.get("spec") or {}):
        causes.append(Cause("FieldValueForbidden", "spec", _IMMUTABLE))
    return causes


def _list_containers(spec: Obj) -> list[tuple[str, Obj]]:
    """Return the containers and their paths, those that run first first."""
    lists = [(field, spec.get(field) or []) for field in _CONTAINER_LISTS]
    return [(f"spec.{field}[{index}]", each) for field, items in lists for index, each in enumerate(items)]


def _is_allowed_update(spec: Obj, old: Obj) -> bool:
    """Whether nothing differs but what an update may change; the node is set by a binding alone."""
    fixed, before = (
        [{key: value for key, value in side.items() if key not in (*_MUTABLE, *_CONTAINER_LISTS)}]
        + [{**each, "image": path} for path, each in _list_containers(side)]
        for side in (spec, old)
    )
    return fixed == before
