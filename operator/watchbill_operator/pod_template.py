"""What a podTemplate may say.

Owns the limits of the user's say over agent pods: `check_pod_template` names everything that would weaken the isolation
of agents, clash with what the operator builds, or is not understood. Invariant: what it lets through, laid over a built
pod, leaves the coordination volume's mounts, the reserved environment, names, ownership and the restricted security
context as they were. It lists what is allowed, so that a field which Kubernetes invents tomorrow is refused until
somebody has thought about it. Pure and total: any JSON value gives findings, never an exception.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from typing import Any

from watchbill_operator import pods
from watchbill_operator.claude_pod import find_broker_secret
from watchbill_operator.conditions import Finding
from watchbill_operator.pod_settings import COORDINATION_CLAIM, COORDINATION_VOLUME, MOUNT_ROOT
from watchbill_operator.pod_template_broker import check_broker
from watchbill_operator.pod_template_shape import check_shape, list_containers
from watchbill_operator.security_context import check_container_security, check_pod_security

MAX_FINDINGS = 16
POD_FIELDS = frozenset(
    """
    affinity containers dnsConfig dnsPolicy hostAliases imagePullSecrets initContainers nodeSelector overhead
    preemptionPolicy priorityClassName resources runtimeClassName schedulerName securityContext tolerations
    topologySpreadConstraints volumes
    """.split()  # noqa: SIM905  # a table of words
)
CONTAINER_FIELDS = frozenset(
    """
    args command env envFrom image imagePullPolicy lifecycle livenessProbe name ports readinessProbe resources
    restartPolicy securityContext startupProbe terminationMessagePath terminationMessagePolicy volumeMounts workingDir
    """.split()  # noqa: SIM905  # a table of words
)
VOLUME_SOURCES = frozenset(
    {"configMap", "downwardAPI", "emptyDir", "ephemeral", "image", "persistentVolumeClaim", "projected", "secret"}
)
RESERVED_LABELS = frozenset({pods.NAME_LABEL, pods.MANAGED_BY_LABEL})
RESERVED_DOMAIN = "watchbill.dev"
UNSAFE_ANNOTATIONS = ("container.apparmor.security.beta.kubernetes.io/", "seccomp.security.alpha.kubernetes.io/")


def check_agent_template(agent: Mapping[str, Any], claim: str = COORDINATION_CLAIM) -> list[Finding]:
    """The same of an Agent in its API form, whose broker has rules of its own."""
    return check_pod_template(agent["spec"].get("podTemplate"), claim, find_broker_secret(agent["spec"]))


def check_pod_template(template: Any, claim: str = COORDINATION_CLAIM, secret: str = "") -> list[Finding]:
    """All that speaks against this podTemplate, at most `MAX_FINDINGS`; empty: it may be laid over the pod.

    `claim` is the name of the coordination volume's PersistentVolumeClaim, `secret` that of the Secret which a broker
    keeps; empty: there is no broker.
    """
    if template is None:
        return []
    shape = check_shape(template)
    if shape is not None:
        return [shape]
    findings = [*_check_members(template, claim)]
    findings += check_broker(template.get("spec", {}), secret) if secret else ()
    return findings[:MAX_FINDINGS]


def _check_members(template: Mapping[str, Any], claim: str) -> Iterator[Finding]:
    for part in template:
        if part not in ("metadata", "spec"):
            yield Finding("FieldNotAllowed", f"podTemplate.{part} is not supported; it holds metadata and spec.")
    yield from _check_metadata(template.get("metadata", {}))
    spec = template.get("spec", {})
    yield from _check_pod_spec(spec)
    for volume in spec.get("volumes", ()):
        yield from _check_volume(volume, claim)
    init_names = {item["name"] for item in spec.get("initContainers", ())}
    if pods.CONTAINER in init_names:
        yield Finding("NameReserved", f"The init container name {pods.CONTAINER} is that of the agent's container.")
    for path, container in list_containers(spec):
        yield from _check_container(path, container)


def _check_metadata(metadata: Mapping[str, Any]) -> Iterator[Finding]:
    for field, values in metadata.items():
        if field not in ("labels", "annotations"):
            yield Finding(
                "NameReserved",
                f"podTemplate.metadata.{field} is the operator's; only labels and annotations can be given.",
            )
        elif not isinstance(values, Mapping) or not all(isinstance(value, str) for value in values.values()):
            yield Finding("Malformed", f"podTemplate.metadata.{field} is not a map of strings.")
        else:
            yield from _check_label_names(field, values)


def _check_label_names(field: str, values: Mapping[str, Any]) -> Iterator[Finding]:
    for name in values:
        domain = name.partition("/")[0] if "/" in name else ""
        reserved = domain == RESERVED_DOMAIN or domain.endswith("." + RESERVED_DOMAIN)
        if reserved or (field == "labels" and name in RESERVED_LABELS):
            yield Finding(
                "LabelReserved", f"podTemplate.metadata.{field} has {name}, by which the operator knows its pods."
            )
        elif field == "annotations" and name.startswith(UNSAFE_ANNOTATIONS):
            yield Finding(
                "SecurityWeakened", f"podTemplate.metadata.annotations has {name}, which changes the pod's confinement."
            )


def _check_pod_spec(spec: Mapping[str, Any]) -> Iterator[Finding]:
    special = {
        "serviceAccountName": ("ServiceAccountNotAllowed", "agents get no service account"),
        "serviceAccount": ("ServiceAccountNotAllowed", "agents get no service account"),
        "automountServiceAccountToken": ("ServiceAccountNotAllowed", "agents get no service account token"),
        "hostNetwork": ("HostAccessNotAllowed", "agents do not share the node's network"),
        "hostPID": ("HostAccessNotAllowed", "agents do not see the node's processes"),
        "hostIPC": ("HostAccessNotAllowed", "agents do not share the node's memory"),
        "shareProcessNamespace": ("HostAccessNotAllowed", "containers do not see each other's processes"),
        "restartPolicy": ("FieldNotAllowed", "agents are always started again"),
        "terminationGracePeriodSeconds": ("FieldNotAllowed", "it follows from the Agent's drainSeconds"),
    }
    for field in spec:
        if field in special:
            reason, why = special[field]
            yield Finding(reason, f"podTemplate.spec.{field} is not allowed: {why}.")
        elif field not in POD_FIELDS:
            yield Finding("FieldNotAllowed", f"podTemplate.spec.{field} is not supported.")
    yield from check_pod_security("podTemplate.spec.securityContext", spec.get("securityContext", {}))


def _check_volume(volume: Mapping[str, Any], claim: str) -> Iterator[Finding]:
    path = f"podTemplate.spec.volumes[{volume['name']}]"
    sources = [name for name in volume if name != "name"]
    if volume["name"] == COORDINATION_VOLUME:
        yield Finding("VolumeReserved", f"{path} has the name of the coordination volume.")
    for source in sources:
        if source == "hostPath":
            yield Finding("HostAccessNotAllowed", f"{path} is a hostPath: agents do not see the node's files.")
        elif source not in VOLUME_SOURCES:
            yield Finding("VolumeNotAllowed", f"{path} is of the kind {source}, which is not supported; use a claim.")
        elif not isinstance(volume[source], Mapping):
            yield Finding("Malformed", f"{path}.{source} is not an object.")
    if len(sources) != 1:
        yield Finding("Malformed", f"{path} needs exactly one source, and has {len(sources)}.")
    yield from _check_source(path, volume, claim)


def _check_source(path: str, volume: Mapping[str, Any], claim: str) -> Iterator[Finding]:
    pvc, projected = volume.get("persistentVolumeClaim"), volume.get("projected")
    if isinstance(pvc, Mapping) and pvc.get("claimName") == claim:
        yield Finding(
            "CoordinationClaimNotAllowed", f"{path} is the coordination volume; agents see their own part of it only."
        )
    sources = projected.get("sources", []) if isinstance(projected, Mapping) else []
    for source in sources if isinstance(sources, list) else [sources]:
        allowed = isinstance(source, Mapping) and set(source) <= {"configMap", "secret", "downwardAPI"}
        if not allowed:
            yield Finding(
                "ServiceAccountNotAllowed", f"{path} may project configMap, secret and downwardAPI only, and no token."
            )


def _check_container(path: str, container: Mapping[str, Any]) -> Iterator[Finding]:
    for field in container:
        if field not in CONTAINER_FIELDS:
            yield Finding("FieldNotAllowed", f"{path}.{field} is not supported.")
    for variable in container.get("env", ()):
        if str(variable["name"]).startswith("WATCHBILL_"):
            yield Finding(
                "EnvironmentReserved",
                f"{path}.env has {variable['name']}; names that begin with WATCHBILL_ are reserved.",
            )
    for port in container.get("ports", ()):
        if port.get("hostPort") or port.get("hostIP"):
            yield Finding("HostAccessNotAllowed", f"{path}.ports asks for a port of the node.")
    for mount in container.get("volumeMounts", ()):
        yield from _check_mount(path, mount)
    for hook in ("livenessProbe", "readinessProbe", "startupProbe", "lifecycle"):
        if _names_a_host(container.get(hook)):
            yield Finding(
                "HostAccessNotAllowed", f"{path}.{hook} names a host; probes and hooks reach the pod itself only."
            )
    yield from check_container_security(f"{path}.securityContext", container.get("securityContext", {}))


def _check_mount(path: str, mount: Mapping[str, Any]) -> Iterator[Finding]:
    where = mount["mountPath"]
    if mount.get("name") == COORDINATION_VOLUME:
        yield Finding("CoordinationClaimNotAllowed", f"{path} mounts the coordination volume once more, at {where}.")
    if not isinstance(where, str) or not where.startswith("/") or is_reserved_path(where):
        yield Finding("MountReserved", f"{path} mounts at {where}; {MOUNT_ROOT} and what lies above it are reserved.")
    if mount.get("mountPropagation", "None") == "Bidirectional":
        yield Finding("HostAccessNotAllowed", f"{path} mounts {where} so that the node would see it (Bidirectional).")


def is_reserved_path(path: str) -> bool:
    """Whether a mount there would cover, or lie among, the agent's own mounts."""
    plain = "/" + posixpath.normpath(path).lstrip("/")
    return plain == "/" or plain == MOUNT_ROOT or plain.startswith(MOUNT_ROOT + "/")


def _names_a_host(value: Any) -> bool:
    """Whether a `host` member occurs anywhere in a probe or hook (its depth was bounded before)."""
    if isinstance(value, Mapping):
        return "host" in value or any(_names_a_host(member) for member in value.values())
    return isinstance(value, list) and any(_names_a_host(item) for item in value)
