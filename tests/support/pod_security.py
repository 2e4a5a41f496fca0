"""The Pod Security Standard `restricted` (with `baseline`, which it includes), as its text has it.

Owns `find_violations`: every rule of the standard as one that is checked here, written from the published text and not
from the operator's code, so that the two can disagree. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Obj = Mapping[str, Any]

VOLUMES = {
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "image",
    "persistentVolumeClaim",
    "projected",
    "secret",
}
SYSCTLS = {
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
}
SELINUX = {None, "", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"}
PROFILES = {"RuntimeDefault", "Localhost"}
KINDS = ("containers", "initContainers", "ephemeralContainers")


def find_violations(metadata: Obj, spec: Obj) -> list[str]:
    """What of a pod the standard forbids, as paths with a word."""
    return [*_find_in_pod(metadata, spec), *(found for c in list_containers(spec) for found in _find_in_container(*c))]


def list_containers(spec: Obj) -> list[tuple[str, Obj, Obj]]:
    """All containers of a pod: path, container, security context of the pod."""
    security = spec.get("securityContext") or {}
    return [(f"{kind}[{item['name']}]", item, security) for kind in KINDS for item in spec.get(kind) or ()]


def _find_in_pod(metadata: Obj, spec: Obj) -> Iterator[str]:
    security = spec.get("securityContext") or {}
    for field in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(field):
            yield f"{field} is true"
    for volume in spec.get("volumes") or ():
        for source in volume.keys() - {"name"} - VOLUMES:
            yield f"volumes[{volume['name']}] is a {source}"
    for sysctl in security.get("sysctls") or ():
        if sysctl["name"] not in SYSCTLS:
            yield f"sysctl {sysctl['name']}"
    for name, value in (metadata.get("annotations") or {}).items():
        is_confined = value == "runtime/default" or value.startswith("localhost/")
        if name.startswith("container.apparmor.security.beta.kubernetes.io/") and not is_confined:
            yield f"annotation {name}"
    yield from _find_in_both("pod", security)


def _find_in_container(path: str, container: Obj, pod: Obj) -> Iterator[str]:
    own = container.get("securityContext") or {}
    capabilities = own.get("capabilities") or {}
    if own.get("privileged"):
        yield f"{path} is privileged"
    if own.get("allowPrivilegeEscalation") is not False:
        yield f"{path}: allowPrivilegeEscalation is not false"
    if "ALL" not in (capabilities.get("drop") or ()):
        yield f"{path} does not drop ALL"
    if set(capabilities.get("add") or ()) - {"NET_BIND_SERVICE"}:
        yield f"{path} adds capabilities"
    if not own.get("runAsNonRoot", pod.get("runAsNonRoot")):
        yield f"{path}: runAsNonRoot is not true"
    if (own.get("seccompProfile") or pod.get("seccompProfile") or {}).get("type") not in PROFILES:
        yield f"{path} has no seccomp profile"
    if own.get("procMount", "Default") != "Default":
        yield f"{path}: procMount"
    if any(port.get("hostPort") for port in container.get("ports") or ()):
        yield f"{path} has a hostPort"
    yield from (f"{path}: {handler} names a host" for handler in _list_handlers_with_hosts(container))
    yield from _find_in_both(path, own)


def _list_handlers_with_hosts(container: Obj) -> Iterator[str]:
    lifecycle = container.get("lifecycle") or {}
    handlers = {name: container.get(name) for name in ("livenessProbe", "readinessProbe", "startupProbe")}
    handlers |= {name: lifecycle.get(name) for name in ("postStart", "preStop")}
    for name, handler in handlers.items():
        if any((handler or {}).get(way, {}).get("host") for way in ("httpGet", "tcpSocket")):
            yield name


def _find_in_both(path: str, security: Obj) -> Iterator[str]:
    """What is forbidden in the security context of pods and containers alike."""
    selinux = security.get("seLinuxOptions") or {}
    if selinux.get("type") not in SELINUX or selinux.get("user") or selinux.get("role"):
        yield f"{path}: seLinuxOptions"
    if security.get("runAsUser") == 0:
        yield f"{path}: runAsUser is 0"
    if security.get("runAsNonRoot") is False:
        yield f"{path}: runAsNonRoot is false"
    if (security.get("seccompProfile") or {}).get("type", "RuntimeDefault") not in PROFILES:
        yield f"{path}: seccomp is unconfined"
    if (security.get("appArmorProfile") or {}).get("type", "RuntimeDefault") not in PROFILES:
        yield f"{path}: AppArmor is unconfined"
    if (security.get("windowsOptions") or {}).get("hostProcess"):
        yield f"{path}: hostProcess"
