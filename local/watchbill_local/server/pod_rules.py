"""Defaults and checks of pods.

Owns what the server fills into a pod beyond the plain defaults of kinds.json, what it refuses, and what of a pod may
change. Fill functions change the object that they are given, which is the caller's own copy; checks only read.
"""

from __future__ import annotations

from watchbill_local.server.errors import Cause, invalid_value, required
from watchbill_local.server.names import check_label
from watchbill_local.server.quantities import parse_quantity
from watchbill_local.server.values import Obj, format_go

_EVICTION_KEYS = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
_EVICTED = {"operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}
_CONTAINER_LISTS = ("initContainers", "containers")
_MUTABLE = ("activeDeadlineSeconds", "tolerations", "schedulingGates")
_RESOURCES = ("cpu", "memory", "ephemeral-storage")
#: The classes of priority that every cluster has; there are no others here.
_PRIORITIES = {"system-cluster-critical": 2_000_000_000, "system-node-critical": 2_000_001_000}
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
        if limits := (container["resources"] or {}).get("limits"):
            container["resources"]["requests"] = {**limits, **(container["resources"].get("requests") or {})}
        for port in (container.get("ports") or []) if spec.get("hostNetwork") else ():
            port.setdefault("hostPort", port.get("containerPort"))
    for volume in [volume for volume in spec.get("volumes") or [] if volume.keys() == {"name"}]:
        volume["emptyDir"] = {}
    spec["priority"] = _PRIORITIES.get(spec.get("priorityClassName"), spec["priority"])
    if spec["terminationGracePeriodSeconds"] < 0:
        spec["terminationGracePeriodSeconds"] = 1
    known = {toleration.get("key") for toleration in spec.get("tolerations") or []}
    for key in [key for key in _EVICTION_KEYS if key not in known]:
        spec.setdefault("tolerations", []).append({"key": key, **_EVICTED})
    if old is None:
        value["status"] = {"phase": "Pending", "qosClass": decide_qos_class(spec)}


def decide_pod_refusal(spec: Obj) -> str | None:
    """Return why a new pod is forbidden, None where it is not: its priority is that of its class."""
    name, priority = spec.get("priorityClassName"), spec["priority"]
    if name and name not in _PRIORITIES:
        return f"no PriorityClass with name {name} was found"
    if not name and priority:
        why = "must not be provided in pod spec; priority admission controller computed 0"
        return f"the integer value of priority ({priority}) {why} from the given PriorityClass name"
    return None


def warn_of_pod(name: str) -> list[str]:
    """Return what a client is told of a new pod: that its name is no name of a host."""
    why = "this is used in the Pod's hostname, which can result in surprising behavior; a DNS label is recommended"
    problems = check_label(name)
    return [f"metadata.name: {why}: {format_go(problems)}"] if problems else []


def decide_qos_class(spec: Obj) -> str:
    """Return BestEffort without requests and limits, Guaranteed when all are equal, else Burstable."""
    resources = [container.get("resources") or {} for _, container in _list_containers(spec)]
    if not any(each.get("requests") or each.get("limits") for each in resources):
        return "BestEffort"
    limits = [each.get("limits") or {} for each in resources]
    is_equal = all(each.get("requests", most) == most for each, most in zip(resources, limits, strict=True))
    return "Guaranteed" if is_equal and all({"cpu", "memory"} <= most.keys() for most in limits) else "Burstable"


def _check_container(path: str, container: Obj, volumes: list[str]) -> list[Cause]:
    """Return what is wrong with one container."""
    causes = []
    taken: set[str] = set()
    for index, mount in enumerate(container.get("volumeMounts") or []):
        field, place = f"{path}.volumeMounts[{index}]", mount.get("mountPath") or ""
        if mount.get("name") not in volumes:
            causes.append(Cause("FieldValueNotFound", f"{field}.name", f'Not found: "{mount.get("name")}"'))
        causes += [] if place else [required(f"{field}.mountPath")]
        causes += [invalid_value(f"{field}.mountPath", place, "must be unique")] if place in taken else []
        taken.add(place)
    for index, port in enumerate(container.get("ports") or []):
        causes += [] if port.get("containerPort") else [required(f"{path}.ports[{index}].containerPort")]
    for index, variable in enumerate(container.get("env") or []):
        field = f"{path}.env[{index}]"
        if variable.get("value") and variable.get("valueFrom"):
            why = "may not be specified when `value` is not empty"
            causes.append(invalid_value(f"{field}.valueFrom", "", why))
    return causes + _check_resources(f"{path}.resources", container.get("resources") or {})


def _check_resources(path: str, resources: Obj) -> list[Cause]:
    """Return what is wrong with requests and limits, whose amounts are quantities by now."""
    causes = []
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    for field, amounts in (("limits", limits), ("requests", requests)):
        for name, amount in amounts.items():
            place = f"{path}.{field}[{name}]"
            if parse_quantity(str(amount)) < 0:
                causes.append(invalid_value(place, str(amount), "must be greater than or equal to 0"))
            if "/" not in name and name not in _RESOURCES and not name.startswith("hugepages-"):
                whys = (
                    "must be a standard resource type or fully qualified",
                    "must be a standard resource for containers",
                )
                causes += [invalid_value(place, name, why) for why in whys]
    for name, amount in requests.items():
        if name in limits and parse_quantity(str(amount)) > parse_quantity(str(limits[name])):
            why = f"must be less than or equal to {name} limit of {limits[name]}"
            causes.append(invalid_value(f"{path}.requests", str(amount), why))
    return causes


def _check_time_limit(spec: Obj, old: Obj | None) -> list[Cause]:
    """Return what is wrong with the time that a pod may take, which an update may only shorten."""
    field, seconds = "spec.activeDeadlineSeconds", spec.get("activeDeadlineSeconds")
    before = (old or {}).get("activeDeadlineSeconds")
    if seconds is not None and not 1 <= seconds < 2**31:
        return [invalid_value(field, seconds, "must be between 1 and 2147483647, inclusive")]
    if before is not None and seconds is None:
        return [invalid_value(field, None, "must not update from a positive integer to nil value")]
    if before is not None and seconds is not None and seconds > before:
        return [invalid_value(field, seconds, "must be less than or equal to previous value")]
    return []


def check_pod(value: Obj, old: Obj | None) -> list[Cause]:
    """Return what is wrong with a pod, or with its change from `old`."""
    spec = value.get("spec") or {}
    causes = [] if spec.get("containers") else [required("spec.containers")]
    volumes = [volume.get("name") for volume in spec.get("volumes") or []]
    causes += _check_time_limit(spec, (old or {}).get("spec"))
    seen: set[str] = set()
    for path, container in _list_containers(spec):
        name = container.get("name") or ""
        causes += _check_container(path, container, volumes)
        if name and name in seen:
            causes.append(Cause("FieldValueDuplicate", f"{path}.name", f'Duplicate value: "{name}"'))
        seen.add(name)
    before = (old or {}).get("spec") or spec
    for field in _CONTAINER_LISTS:
        if len(before.get(field) or []) != len(spec.get(field) or []):
            text = "Forbidden: pod updates may not add or remove containers"
            return [*causes, Cause("FieldValueForbidden", f"spec.{field}", text)]
    if not _is_allowed_update(spec, before):
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
