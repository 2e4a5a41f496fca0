"""Whether an operator leads, and what keeps its pods from it.

Owns the sentences about the Deployment, its pods, and an operator that runs as a process outside the cluster. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from watchbill_cli.doctor_claim import find_newest
from watchbill_cli.doctor_look import OPERATOR, Sight, is_ready, select_pods
from watchbill_operator.conditions import parse_time
from watchbill_operator.pod_trouble import ASK_DOCTOR, STILL_CREATING_SECONDS, find_creating_since, find_trouble

Obj = Mapping[str, Any]

STALE_SECONDS = 60.0  #: since a Lease was renewed: nobody leads any more


def find_process(sight: Sight) -> str:
    """The host on which the operator that holds the Lease runs as a process; empty: none does."""
    holder = str((sight["lease"].body.get("spec") or {}).get("holderIdentity") or "")
    return holder.split("/")[1] if holder.startswith("host/") and holder.count("/") > 1 else ""


def is_lease_fresh(sight: Sight) -> bool:
    """Whether it was renewed of late."""
    renewed = parse_time((sight["lease"].body.get("spec") or {}).get("renewTime"))
    return renewed is not None and sight.now - renewed < STALE_SECONDS


def tell_operator(sight: Sight) -> str:
    """What is well about the operator."""
    if host := find_process(sight):
        return f"a process on {host} leads"
    pods = select_pods(sight["pods"], OPERATOR)
    holder = str((sight["lease"].body.get("spec") or {}).get("holderIdentity") or "")
    leader = next((p["metadata"]["name"] for p in pods if holder == f"pod/{p['metadata'].get('uid')}"), "")
    said = f"{sum(is_ready(pod) for pod in pods)} of {len(pods)} pods are ready"
    return f"{said}, {leader} leads" if leader else said


def explain_operator(sight: Sight) -> Iterator[str]:
    """What is wrong with it."""
    deployment = sight["deployment"]
    if not deployment.is_there:
        if find_process(sight):
            if not is_lease_fresh(sight):
                yield "the operator does not renew its Lease any more: watchbill start"
        else:
            yield f"there is no operator: kubectl apply -k manifests/overlays/kind, or {_tell_namespace(sight)}"
        return
    if (deployment.body.get("spec") or {}).get("replicas") == 0:
        yield f"the operator is scaled to 0: kubectl scale -n {sight.namespace} deployment/{OPERATOR} --replicas=1"
        return
    pods = select_pods(sight["pods"], OPERATOR)
    if not pods:
        yield f"the operator has no pod: {_explain_no_pod(deployment.body)}"
    staying = [pod for pod in pods if not pod["metadata"].get("deletionTimestamp")]
    troubles = {pod["metadata"]["name"]: explain_pod(sight, pod, "operator") for pod in staying}
    yield from (f"{name}: {trouble}" for name, trouble in troubles.items() if trouble)
    if pods and not any(troubles.values()) and not any(is_ready(pod) for pod in pods):
        yield f"none of its {len(pods)} pods is ready yet, and none says what it waits for"
    elif pods and all(is_ready(pod) for pod in pods) and not is_lease_fresh(sight):
        yield f"nobody leads, though the pods are ready: kubectl logs -n {sight.namespace} deployment/{OPERATOR}"


def explain_pod(sight: Sight, pod: Obj, container: str) -> str:
    """Why a pod does not run or is not ready; empty: it is, or has only begun to start."""
    name, status = str(pod["metadata"]["name"]), pod.get("status") or {}
    told: Obj = next((each for each in status.get("containerStatuses") or () if each.get("name") == container), {})
    if trouble := find_trouble(status, told, container):
        words = sight.log(name) if trouble.reason == "CrashLooping" else ""
        message = trouble.message.replace(ASK_DOCTOR, "See the claim above.")
        return f"{message} Its last words: {words}" if words else message
    age = sight.now - (parse_time(pod["metadata"].get("creationTimestamp")) or sight.now)
    creating = find_creating_since(status, told)
    is_late = creating is not None and sight.now - creating > STILL_CREATING_SECONDS
    newest = find_newest(sight["events"].items, "Pod", name)
    if is_late or (newest and newest.get("type") == "Warning" and status.get("phase") == "Pending"):
        return str((newest or {}).get("message") or "its container is being made for long, and nobody says why")
    if status.get("phase") == "Pending":
        is_bound = (sight["claim"].body.get("status") or {}).get("phase") == "Bound"
        said = "no node has taken it yet" if is_bound else "it waits for its claim, see above"
        return said if age > STILL_CREATING_SECONDS or not is_bound else ""
    if is_ready(pod) or status.get("phase") == "Succeeded":
        return ""
    return sight.readiness(name) or sight.log(name) or "it is not ready, and says nothing"


def _explain_no_pod(deployment: Obj) -> str:
    for condition in (deployment.get("status") or {}).get("conditions") or ():
        if condition.get("type") == "ReplicaFailure" and condition.get("status") == "True":
            return str(condition.get("message"))
    return "its controller has made none yet"


def _tell_namespace(sight: Sight) -> str:
    return f"--namespace names another one than {sight.namespace}"
