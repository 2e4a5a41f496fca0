"""Security contexts that a podTemplate may ask for: those that are at least as strict as the operator's own.

Owns the table of allowed members and values, for pods and for containers. Pure. What is not in the table is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from watchbill_operator.conditions import Finding


def _is_true(value: Any) -> bool:
    return value is True


def _is_false(value: Any) -> bool:
    return value is False


def _is_confined(profile: Any) -> bool:
    return (
        isinstance(profile, Mapping)
        and profile.get("type") in ("RuntimeDefault", "Localhost")
        and profile.keys() <= {"type", "localhostProfile"}
    )


def _drops_all(capabilities: Any) -> bool:
    return bool(capabilities in ({"drop": ["ALL"]}, {"drop": ["ALL"], "add": []}))


def _is_default(value: Any) -> bool:
    return bool(value == "Default")


ALLOWED_IN_POD: Mapping[str, Callable[[Any], bool]] = {
    "runAsNonRoot": _is_true,
    "seccompProfile": _is_confined,
    "appArmorProfile": _is_confined,
}
ALLOWED_IN_CONTAINER: Mapping[str, Callable[[Any], bool]] = {
    **ALLOWED_IN_POD,
    "allowPrivilegeEscalation": _is_false,
    "privileged": _is_false,
    "readOnlyRootFilesystem": _is_true,
    "capabilities": _drops_all,
    "procMount": _is_default,
}


def check_pod_security(path: str, context: Mapping[str, Any]) -> Iterator[Finding]:
    """What in a pod's securityContext is weaker than the operator's, or not understood."""
    yield from _check(path, context, ALLOWED_IN_POD)


def check_container_security(path: str, context: Mapping[str, Any]) -> Iterator[Finding]:
    """What in a container's securityContext is weaker than the operator's, or not understood."""
    yield from _check(path, context, ALLOWED_IN_CONTAINER)


def _check(path: str, context: Mapping[str, Any], allowed: Mapping[str, Callable[[Any], bool]]) -> Iterator[Finding]:
    for field, value in context.items():
        if field not in allowed:
            yield Finding("SecurityWeakened", f"{path}.{field} is not allowed: the operator sets it for every agent.")
        elif not allowed[field](value):
            yield Finding("SecurityWeakened", f"{path}.{field} is weaker than what agents run with.")
