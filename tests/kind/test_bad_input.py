"""What a real cluster refuses: each refusal is one sentence where a person looks, and what is mended goes on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from support.kind_system import DEPLOYMENT, OPERATOR, KindSystem
from support.local_system import agent
from support.waiting import wait_for

pytestmark = pytest.mark.kind

LABEL = "pod-security.kubernetes.io/enforce"


@contextmanager
def pool(system: KindSystem, name: str, **spec: Any) -> Iterator[str]:
    """An Agent for the time of a test, not waited for."""
    done = system.apply(agent(name, **spec))
    assert done.code == 0, done.err
    try:
        yield name
    finally:
        system.kubectl("delete", "agent", name)


def wait_for_sentence(system: KindSystem, name: str, reason: str) -> str:
    """Wait until the Agent is not ready for that reason; return its sentence."""

    def told() -> dict[str, Any] | None:
        status = (system.get("agent", name) or {}).get("status") or {}
        ready = (each for each in status.get("conditions") or () if each["type"] == "Ready")
        return next((each for each in ready if (each["status"], each["reason"]) == ("False", reason)), None)

    return str((wait_for(told, f"{name} is not ready: {reason}") or {})["message"])


def wait_until_ready(system: KindSystem, name: str) -> None:
    """Wait until the Agent takes tasks."""
    system.kubectl("wait", "--for=condition=Ready", f"agent/{name}", "--timeout=90s")


def test_an_image_that_no_registry_has_is_named(system: KindSystem) -> None:
    """With what to do, and another image mends it."""
    with pool(system, "pictured", image="registry.invalid/agent:1") as name:
        said = wait_for_sentence(system, name, "ImageUnavailable")

        assert said.startswith("0 of 1 replicas are ready. pictured-0: ")
        assert "registry.invalid/agent:1" in said
        assert said.endswith("If that name is wrong, change the Agent's image.")
        system.apply(agent(name, image="watchbill/agent:dev"))
        wait_until_ready(system, name)


def test_a_missing_secret_is_named_and_comes_late_without_harm(system: KindSystem) -> None:
    """The kubelet looks again by itself."""
    with pool(system, "keyed", secretRefs=[{"name": "comes-late"}]) as name:
        said = wait_for_sentence(system, name, "ContainerNotCreated")

        assert 'The container cannot be made: secret "comes-late" not found.' in said
        system.kubectl("create", "secret", "generic", "comes-late", "--from-literal=NAME=value")
        wait_until_ready(system, name)
        system.kubectl("delete", "secret", "comes-late")


def test_a_quota_that_permits_no_pod_is_told_and_lifted_without_harm(system: KindSystem) -> None:
    """The API server's own words say which quota."""
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"}}
    system.apply({**quota, "spec": {"hard": {"pods": "0"}}})
    wait_for(lambda: "hard" in (system.get("quota", "none") or {}).get("status", {}), "the quota is in force")
    with pool(system, "crowded") as name:
        said = wait_for_sentence(system, name, "QuotaExceeded")

        assert "The API server refused the pod crowded-0" in said
        assert "exceeded quota: none" in said
        system.kubectl("delete", "quota", "none")
        wait_until_ready(system, name)


def restart_operator(system: KindSystem) -> None:
    """Let another pod take the operator's place."""
    system.kubectl("delete", "pod", "-l", OPERATOR)


def wait_for_words(system: KindSystem, words: str) -> str:
    """Wait until the operator has said this; return the line."""

    def said() -> str:
        return next((line for line in system.operator_log().splitlines() if words in line), "")

    return wait_for(said, f"the operator says: {words}")


def test_an_operator_that_lacks_a_right_or_a_restricted_namespace_waits_and_says_so(own_system: KindSystem) -> None:
    """Each in one line; it leads as soon as the right is given, and the namespace labelled."""
    system = own_system
    role = (system.get("role", "watchbill-operator") or {})["rules"]
    fewer = [
        rule if rule["resources"] != ["pods"] else {**rule, "verbs": ["create", "get", "list", "watch"]}
        for rule in role
    ]
    assert fewer != role
    patch_role(system, fewer)
    restart_operator(system)

    wait_for_words(system, "lacks `delete pods`: apply again what was installed")
    assert system.try_kubectl("wait", "--for=condition=Ready", "pod", "-l", OPERATOR, "--timeout=1s").code != 0
    patch_role(system, role)
    system.kubectl("rollout", "status", DEPLOYMENT, "--timeout=90s")

    system.kubectl("label", "namespace", system.namespace, f"{LABEL}-", "--overwrite")
    restart_operator(system)
    wait_for_words(system, LABEL)
    system.kubectl("label", "namespace", system.namespace, f"{LABEL}=restricted", "--overwrite")
    system.kubectl("rollout", "status", DEPLOYMENT, "--timeout=90s")


def patch_role(system: KindSystem, rules: list[dict[str, Any]]) -> None:
    """Replace the rules of the operator's Role."""
    system.kubectl("patch", "role", "watchbill-operator", "--type=merge", "-p", json.dumps({"rules": rules}))
