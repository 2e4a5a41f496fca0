"""Which pending pods this node takes, where no scheduler does it.

Owns the rule: by the pod's node selector, the node's readiness for new pods, and how many it runs already. Pure.
Resources, affinity and taints are not looked at: there is one node.
"""

from __future__ import annotations

from collections.abc import Mapping

from watchbill_local.node.api import Json

DEFAULT_SCHEDULER = "default-scheduler"
MAX_PODS = 110


def is_waiting(pod: Json) -> bool:
    """Whether `pod` waits for the default scheduler to bind it."""
    spec, meta = pod["spec"], pod["metadata"]
    ours = spec.get("schedulerName", DEFAULT_SCHEDULER) == DEFAULT_SCHEDULER
    return ours and not spec.get("nodeName") and not meta.get("deletionTimestamp") and not spec.get("schedulingGates")


def decide_binding(pod: Json, labels: Mapping[str, str], *, running: int, cordoned: bool) -> str:
    """Why a waiting `pod` cannot run on the node with `labels`, in the scheduler's words; empty if it can."""
    selector: dict[str, str] = pod["spec"].get("nodeSelector") or {}
    if any(labels.get(key) != value for key, value in selector.items()):
        return "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector."
    if cordoned:
        return "0/1 nodes are available: 1 node(s) were unschedulable."
    if running >= MAX_PODS:
        return "0/1 nodes are available: 1 Too many pods."
    return ""
