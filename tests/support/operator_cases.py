"""Agents, pods and logs as the operator's pure parts take them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from support.deciding import Ledger
from watchbill_operator.observed_pods import PodView, parse_pod
from watchbill_operator.planning import Surroundings
from watchbill_operator.pod_settings import PodSettings
from watchbill_operator.pods import build_pod, replica_name

SETTINGS = PodSettings(namespace="crew", image="watchbill/agent:dev")
CREATED = "2026-01-01T00:00:00Z"


def an_agent(name: str = "blue", *, uid: str = "", generation: int = 1, **spec: Any) -> dict[str, Any]:
    """An Agent in its API form, by default one blue replica."""
    return {
        "apiVersion": "watchbill.dev/v1alpha1",
        "kind": "Agent",
        "metadata": {"name": name, "uid": uid or f"uid-of-{name}", "generation": generation},
        "spec": {"role": "blue", "replicas": 1, **spec},
    }


def a_pod_object(
    agent: Mapping[str, Any],
    ordinal: int = 0,
    *,
    uid: str = "",
    status: Mapping[str, Any] | None = None,
    **metadata: Any,
) -> dict[str, Any]:
    """The pod of a replica as the API server would tell of it."""
    pod = build_pod(agent, ordinal, SETTINGS)
    name = pod["metadata"]["name"]
    pod["metadata"] |= {"uid": uid or f"pod-of-{name}", "creationTimestamp": CREATED, **metadata}
    pod["status"] = {"phase": "Running", **(status or {})}
    return pod


def a_pod(agent: Mapping[str, Any], ordinal: int = 0, **more: Any) -> PodView:
    """The same, read."""
    return parse_pod(a_pod_object(agent, ordinal, **more))


def surroundings(ledger: Ledger, pods: Iterable[PodView] = (), **more: Any) -> Surroundings:
    """What a plan looks at."""
    return Surroundings(state=ledger.state, pods={pod.name: pod for pod in pods}, settings=SETTINGS, **more)


def container_status(**state: Any) -> dict[str, Any]:
    """The status of a pod whose agent container has this state."""
    return {"phase": "Running", "containerStatuses": [{"name": "agent", "image": "nowhere/agent:1", **state}]}


def name_of(agent: Mapping[str, Any], ordinal: int) -> str:
    """Name of a replica."""
    return replica_name(agent["metadata"]["name"], ordinal)
