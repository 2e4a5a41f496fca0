"""What `watchbill lint` can say of Kubernetes' own kinds.

Owns no rule: the tables of the small API server do, for the kinds that it serves; of kinds that bring pods, the pod is
checked as one. What is left unsaid is told by `find_unchecked`, so that nobody takes silence for consent. Needs the
extra `local`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from watchbill_cli.manifests import Finding, Manifest
from watchbill_local.server.errors import Undecodable
from watchbill_local.server.kinds import build_kinds
from watchbill_local.server.metadata import check_metadata
from watchbill_local.server.openapi import prune_unknown
from watchbill_local.server.resource import Resource
from watchbill_local.server.typed_fields import decode_fields
from watchbill_local.server.values import copy_value

NOW = "2026-01-01T00:00:00Z"
#: By apiVersion, all kinds there are; each with the place of its pod, if it brings one.
KINDS: Mapping[str, Mapping[str, str]] = {
    "v1": dict.fromkeys(
        """
        Binding ComponentStatus ConfigMap Endpoints Event LimitRange Namespace Node PersistentVolume
        PersistentVolumeClaim Pod PodTemplate ReplicationController ResourceQuota Secret Service ServiceAccount
        """.split(),  # noqa: SIM905  # a table of words
        "",
    ),
    "apps/v1": {"ControllerRevision": ""}
    | dict.fromkeys(("DaemonSet", "Deployment", "ReplicaSet", "StatefulSet"), "spec.template"),
    "batch/v1": {"Job": "spec.template", "CronJob": "spec.jobTemplate.spec.template"},
    "networking.k8s.io/v1": dict.fromkeys(("Ingress", "IngressClass", "IPAddress", "NetworkPolicy", "ServiceCIDR"), ""),
    "policy/v1": {"PodDisruptionBudget": "", "Eviction": ""},
    "autoscaling/v2": {"HorizontalPodAutoscaler": ""},
    "rbac.authorization.k8s.io/v1": dict.fromkeys(("Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"), ""),
    "apiextensions.k8s.io/v1": {"CustomResourceDefinition": ""},
}


def find_unchecked(value: Mapping[str, Any]) -> str:
    """The kind, where nothing but the head of such an object is checked; what else is left out, in brackets."""
    version, kind = str(value.get("apiVersion", "")), str(value.get("kind", ""))
    if (version, kind) in _resources() or (version in KINDS and kind not in KINDS[version]):
        return ""  # checked, or there is no such kind
    return f"{kind} (but for its pod)" if KINDS.get(version, {}).get(kind) else kind


def lint_builtin(manifest: Manifest) -> Iterator[Finding]:
    """Yield what is wrong with an object of a kind that is not Watchbill's."""
    value = manifest.value
    version, kind = str(value["apiVersion"]), str(value["kind"])
    if version in KINDS and kind not in KINDS[version]:
        known = ", ".join(sorted(other for other, kinds in KINDS.items() if kind in kinds))
        yield manifest.finding(
            "kind", f"there is no {kind} of {version}{f'; there is one of {known}' if known else ''}"
        )
        return
    resource = _resources().get((version, kind))
    if resource is not None:
        yield from _lint(manifest, resource, value, "")
    elif place := KINDS.get(version, {}).get(kind, ""):
        template: Any = value
        for step in place.split("."):
            template = template.get(step) if isinstance(template, dict) else None
        if not isinstance(template, dict):
            yield manifest.finding(place, "a pod's template is wanted")
            return
        pod = {"metadata": {"name": "pod"}, **template, "apiVersion": "v1", "kind": "Pod"}
        pod["metadata"] = {**(pod["metadata"] if isinstance(pod["metadata"], dict) else {}), "name": "pod"}
        yield from _lint(manifest, _resources()["v1", "Pod"], pod, f"{place}.")


def _lint(manifest: Manifest, resource: Resource, value: dict[str, Any], before: str) -> Iterator[Finding]:
    """Yield what the small API server would refuse; fields stand below `before`."""
    value = copy_value(value)
    try:
        decode_fields(resource, value)
    except Undecodable as error:
        yield manifest.finding(before.rstrip("."), error.why)
        return
    for unknown in prune_unknown(resource, value):
        yield manifest.finding(before + unknown, "unknown field")
    if resource.fill:
        resource.fill(value, None, NOW)
    causes = check_metadata(resource, value["metadata"])
    causes += resource.check(value, None) if resource.check else []
    for cause in causes:
        yield manifest.finding(before + cause.field, cause.message)


@cache
def _resources() -> Mapping[tuple[str, str], Resource]:
    """What the small API server serves, by apiVersion and kind."""
    return {(f"{r.group}/{r.version}" if r.group else r.version, r.kind): r for r in build_kinds()}
