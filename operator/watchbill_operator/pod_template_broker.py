"""What a podTemplate may not say of the broker.

Owns the rules that hold only where a broker keeps the credential: its container's and volumes' names, and the Secret.
Pure and total on whatever shape `pod_template_shape` let through. Invariant: what it lets through, laid over a built
pod, leaves the broker's container and volumes as they were, and shows the credential's Secret to no other container.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from watchbill_operator.claude_pod import BROKER, BROKER_VOLUMES
from watchbill_operator.conditions import Finding
from watchbill_operator.pod_template_shape import list_containers

SECRET_MEMBERS = ("secretRef", "secretKeyRef", "secret")  #: that refer to one, in environments and volumes
SECRET_NAMES = ("name", "secretName")  #: how these name it


def check_broker(spec: Mapping[str, Any], secret: str) -> Iterator[Finding]:
    """What in `podTemplate.spec` touches the broker or the Secret that it keeps."""
    for path, container in list_containers(spec):
        if container["name"] == BROKER:
            yield Finding("NameReserved", f"{path} has the name of the broker's container, which keeps the credential.")
        for mount in container.get("volumeMounts", ()):
            if mount.get("name") in BROKER_VOLUMES:
                where = f"{path} mounts {mount['name']} at {mount['mountPath']}"
                yield Finding("VolumeReserved", f"{where}: that volume is the broker's.")
    for volume in spec.get("volumes", ()):
        if volume["name"] in BROKER_VOLUMES:
            yield Finding(
                "VolumeReserved", f"podTemplate.spec.volumes[{volume['name']}] has the name of one of the broker's."
            )
    for field in ("containers", "initContainers", "volumes"):
        for item in spec.get(field, ()):
            if _names_secret(item, secret):
                path = f"podTemplate.spec.{field}[{item['name']}]"
                yield Finding(
                    "CredentialNotAllowed",
                    f"{path} names the Secret {secret}, which is the broker's alone: an agent that can read the key "
                    "can give it away.",
                )


def _names_secret(value: Any, secret: str) -> bool:
    """Whether a reference to that Secret occurs anywhere in it (its depth was bounded before)."""
    if isinstance(value, list):
        return any(_names_secret(item, secret) for item in value)
    if not isinstance(value, Mapping):
        return False
    references = [value[member] for member in SECRET_MEMBERS if isinstance(value.get(member), Mapping)]
    if any(reference.get(name) == secret for reference in references for name in SECRET_NAMES):
        return True
    return any(_names_secret(member, secret) for member in value.values())
