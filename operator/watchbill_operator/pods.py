"""The pod of one replica, built from its Agent.

Owns the shape of agent pods: names, labels, mounts, environment and the restricted security context. Pure: the same
Agent, ordinal and settings give the same pod. Invariant: a pod mounts its own inbox (read-only), outbox, work and
state, and the shared context (read-only), and nothing else of the coordination volume (its broker, where it has one,
mounts grants and ledger); a podTemplate is laid over it only after `pod_template.check_agent_template` found nothing in
it, and the caller answers for that.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from watchbill_coordination.core.specs import (
    MODEL_BY_ROLE,
    AgentName,
    ReplicaName,
    parse_agent_spec,
    parse_replica_name,
)
from watchbill_operator import claude_pod
from watchbill_operator.pod_settings import COORDINATION_VOLUME, MOUNT_ROOT, RESTRICTED_CONTAINER, PodSettings
from watchbill_operator.pod_users import build_user_id
from watchbill_operator.strategic_merge import build_merged

AGENT_LABEL = "watchbill.dev/agent"
REPLICA_LABEL = "watchbill.dev/replica"
TEMPLATE_LABEL = "watchbill.dev/template"
NAME_LABEL = "app.kubernetes.io/name"
MANAGED_BY_LABEL = "app.kubernetes.io/managed-by"

CONTAINER = "agent"
GRACE_AFTER_DRAIN_SECONDS = 5  #: to stop what is left and say `released`


def replica_name(agent: str, ordinal: int) -> ReplicaName:
    """Name of a replica: of its pod, its workspace and its entry in the log."""
    return ReplicaName(f"{agent}-{ordinal}")


def parse_ordinal(agent: str, name: str) -> int | None:
    """The ordinal in a replica's name, or None where it is not one of that Agent."""
    parsed = parse_replica_name(name)
    return parsed[1] if parsed is not None and parsed[0] == agent else None


def build_selector(agent: str) -> str:
    """Label selector of an Agent's pods, as the scale subresource wants it."""
    return f"{AGENT_LABEL}={agent}"


def build_pod(agent: Mapping[str, Any], ordinal: int, settings: PodSettings) -> dict[str, Any]:
    """The whole pod of that replica, with the Agent's podTemplate laid over it and its template's hash as a label."""
    pod = _build_merged_pod(agent, ordinal, settings)
    pod["metadata"]["labels"][TEMPLATE_LABEL] = build_template_hash(agent, settings)
    return pod


def find_image(pod: Mapping[str, Any]) -> str:
    """The image that a pod asks for its agent container; empty where there is none."""
    for container in (pod.get("spec") or {}).get("containers") or ():
        if container.get("name") == CONTAINER:
            return str(container.get("image") or "")
    return ""


def build_image(agent: Mapping[str, Any], settings: PodSettings) -> str:
    """The image that the Agent's pods are made with today."""
    return find_image(_build_merged_pod(agent, 0, settings))


def build_template_hash(agent: Mapping[str, Any], settings: PodSettings) -> str:
    """Ten hex digits over all that decides a pod but its ordinal: two pods with another hash are unlike each other."""
    pod = _build_merged_pod(agent, 0, settings)
    decisive = {"labels": pod["metadata"]["labels"], "annotations": pod["metadata"]["annotations"], "spec": pod["spec"]}
    text = json.dumps(decisive, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def _build_merged_pod(agent: Mapping[str, Any], ordinal: int, settings: PodSettings) -> dict[str, Any]:
    pod = _build_plain_pod(agent, ordinal, settings)
    template = agent["spec"].get("podTemplate") or {}
    pod = build_merged(pod, {part: template[part] for part in ("metadata", "spec") if part in template})
    for container in [*pod["spec"]["containers"], *pod["spec"].get("initContainers", ())]:
        container["securityContext"] = build_merged(RESTRICTED_CONTAINER, container.get("securityContext") or {})
    return pod


def _build_plain_pod(agent: Mapping[str, Any], ordinal: int, settings: PodSettings) -> dict[str, Any]:
    name, claude = agent["metadata"]["name"], claude_pod.parse_claude_runner(agent["spec"])
    drain_seconds = parse_agent_spec(agent["spec"]).drain_seconds
    brokers = claude_pod.build_brokers(agent, ordinal, claude, settings) if claude else []
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": replica_name(name, ordinal),
            "namespace": settings.namespace,
            "labels": {
                NAME_LABEL: "watchbill-agent",
                MANAGED_BY_LABEL: "watchbill",
                AGENT_LABEL: name,
                REPLICA_LABEL: str(ordinal),
                **(claude_pod.build_labels(claude) if claude else {}),
            },
            "annotations": {"kubectl.kubernetes.io/default-container": CONTAINER},
            "ownerReferences": [_build_owner(agent)],
        },
        "spec": {
            "restartPolicy": "Always",
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": int(drain_seconds) + GRACE_AFTER_DRAIN_SECONDS,
            "securityContext": _build_security(build_user_id(settings.namespace, name, ordinal)),
            "containers": [_build_container(agent, ordinal, settings), *brokers],
            "volumes": [
                {"name": COORDINATION_VOLUME, "persistentVolumeClaim": {"claimName": settings.claim}},
                {"name": "tmp", "emptyDir": {}},
                *(claude_pod.build_volumes(claude) if claude else ()),
            ],
        },
    }


def _build_owner(agent: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": agent.get("apiVersion", "watchbill.dev/v1alpha1"),
        "kind": "Agent",
        "name": agent["metadata"]["name"],
        "uid": agent["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def _build_security(uid: int) -> dict[str, Any]:
    return {
        "runAsNonRoot": True,
        "runAsUser": uid,
        "runAsGroup": uid,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def _build_container(agent: Mapping[str, Any], ordinal: int, settings: PodSettings) -> dict[str, Any]:
    spec, claude = agent["spec"], claude_pod.parse_claude_runner(agent["spec"])
    replica = replica_name(agent["metadata"]["name"], ordinal)
    mounts = [*_build_mounts(replica), *(claude_pod.build_agent_mounts(claude) if claude else ())]
    sources = [{"secretRef": {"name": ref["name"]}} for ref in spec.get("secretRefs") or ()]
    sources += claude_pod.build_agent_sources(claude) if claude else []
    container: dict[str, Any] = {
        "name": CONTAINER,
        "image": spec.get("image") or settings.image,
        "command": list(settings.command),
        "env": _build_env(agent, ordinal, settings),
        "volumeMounts": [*mounts, {"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108 - inside the pod
        "securityContext": dict(RESTRICTED_CONTAINER),
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    if sources:
        container["envFrom"] = sources
    if spec.get("resources"):
        container["resources"] = spec["resources"]
    return container


def _build_mounts(replica: str) -> list[dict[str, Any]]:
    """The replica's own folders and the shared context: all that it may see of the volume."""
    own = f"agent-workspaces/{replica}"
    mounts = [("inbox", f"{own}/inbox", True), ("outbox", f"{own}/outbox", False), ("work", f"{own}/work", False)]
    mounts += [("state", f"{own}/state", False), ("shared-context", "shared-context", True)]
    return [
        {"name": COORDINATION_VOLUME, "mountPath": f"{MOUNT_ROOT}/{folder}", "subPath": path, "readOnly": read_only}
        for folder, path, read_only in mounts
    ]


def _build_env(agent: Mapping[str, Any], ordinal: int, settings: PodSettings) -> list[dict[str, Any]]:
    """HOME and TMPDIR (the root file system is read-only), the user's own, then the reserved ones."""
    spec, name = agent["spec"], AgentName(agent["metadata"]["name"])
    parsed = parse_agent_spec(spec)
    reserved = {
        "WATCHBILL_AGENT": name,
        "WATCHBILL_REPLICA": replica_name(name, ordinal),
        "WATCHBILL_ROLE": parsed.role,
        "WATCHBILL_MODEL": spec.get("model") or MODEL_BY_ROLE.get(parsed.role, ""),
        "WATCHBILL_TASK_TYPES": ",".join(parsed.task_types),
        "WATCHBILL_SLOTS": str(parsed.tasks_per_replica),
        "WATCHBILL_INBOX": f"{MOUNT_ROOT}/inbox",
        "WATCHBILL_OUTBOX": f"{MOUNT_ROOT}/outbox",
        "WATCHBILL_WORK": f"{MOUNT_ROOT}/work",
        "WATCHBILL_STATE": f"{MOUNT_ROOT}/state",
        "WATCHBILL_CONTEXT": f"{MOUNT_ROOT}/shared-context",
        "WATCHBILL_COMMAND": _build_command_json(spec),
        "WATCHBILL_LOG_LEVEL": settings.log_level,
    }
    reserved |= {} if settings.local_volume else {"WATCHBILL_NOTIFY": "poll"}
    claude = claude_pod.parse_claude_runner(spec)
    reserved |= claude_pod.build_agent_variables(spec, claude, settings) if claude else {}
    chosen = {"HOME": "/tmp", "TMPDIR": "/tmp"}  # noqa: S108 - an emptyDir of the pod's own
    chosen |= {item["name"]: item.get("value", "") for item in spec.get("env") or ()}
    env: list[dict[str, Any]] = [
        {"name": key, "value": value} for key, value in chosen.items() if not key.startswith("WATCHBILL_")
    ]
    env += [{"name": key, "value": value.replace("$", "$$")} for key, value in reserved.items()]
    env.append({"name": "WATCHBILL_POD_UID", "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}})
    return env


def _build_command_json(spec: Mapping[str, Any]) -> str:
    command = (spec.get("runner") or {}).get("command") or {}
    return json.dumps(command, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
