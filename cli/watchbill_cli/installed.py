"""Watchbill as it is installed on a cluster: is it there, is it ready, and who would do the work?

Owns the sentences of `watchbill quickstart` for a cluster that lacks something; each names what mends it. Only asks.
"""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from watchbill_cli.cluster import Cluster
from watchbill_cli.doctor_checks import PROBLEM, check_all
from watchbill_cli.doctor_look import Asker, load_sight
from watchbill_cli.home import Refused, data_file
from watchbill_cli.quickstart import COMMAND
from watchbill_cli.runners import CLAUDE
from watchbill_cli.tables import Progress
from watchbill_cli.waiting import describe, is_ready

OPERATOR = "watchbill-operator"
NAME_LABEL = "app.kubernetes.io/name"
ROLES = ("blue", "green", "red")
POLL_SECONDS = 0.3
READY_SECONDS = 180.0  #: for images that have to be pulled; later the doctor is asked
INSTALL = "`kubectl apply -k manifests/overlays/kind` or another overlay installs it (docs/install.md)"


def find_kubeconfig() -> Path:
    """The one file that `$KUBECONFIG` names.

    Raises Refused where it is not set, names several, or is not there.
    """
    named = os.environ.get("KUBECONFIG", "")
    if not named:
        raise Refused("KUBECONFIG is not set: export KUBECONFIG=~/.kube/config, or whatever file names the cluster")
    path = Path(named)
    if os.pathsep in named and not path.exists():
        raise Refused("KUBECONFIG names several files: `kubectl config view --flatten --raw` makes one of them")
    if not path.is_file():
        raise Refused(f"there is no kubeconfig {path}: set KUBECONFIG to the one of the cluster")
    return path


def check_installed(cluster: Cluster) -> None:
    """Look for the CRDs and the operator.

    Raises Refused with what is missing.
    """
    if not cluster.serves_watchbill():
        raise Refused(f"the cluster does not know Agents and Tasks: {INSTALL}")
    if cluster.deployment(OPERATOR) is None:
        named = "`watchbill quickstart --namespace NAME` names another one"
        raise Refused(f"there is no operator in the namespace {cluster.namespace}: {named}, and {INSTALL}")


def wait_until_operator_ready(cluster: Cluster, progress: Progress, until: float) -> None:
    """Wait until a pod of the operator is ready. Raises Refused with what is wrong where that takes too long."""
    until = min(until, time.monotonic() + READY_SECONDS)
    while True:
        deployment = cluster.deployment(OPERATOR) or {}
        if int((deployment.get("status") or {}).get("readyReplicas") or 0) > 0:
            return
        why = describe_operator(deployment, cluster.pods())
        if time.monotonic() > until:
            raise Refused(f"the operator is not ready: {ask_doctor(cluster) or why}")
        progress.say(f"waiting for the operator: {why}")
        time.sleep(POLL_SECONDS)


def wait_until_staffed(cluster: Cluster, progress: Progress, until: float) -> str:
    """Wait until each role has a replica that takes tasks; return what kind of quickstart these Agents can do.

    Raises Refused where a role has no Agent, or its Agents are not ready in time.
    """
    until = min(until, time.monotonic() + READY_SECONDS)
    while True:
        agents = cluster.agents()
        kind = choose_kind(agents, cluster.namespace)
        lacking = [agent for agent in agents if runs(agent) == kind and not is_staffed(agent)]
        missing = [
            role for role in ROLES if not any(serves(agent, role, kind) and is_staffed(agent) for agent in agents)
        ]
        if not missing:
            return kind
        why = ", ".join(describe(agent) for agent in lacking)
        if time.monotonic() > until:
            raise Refused(f"not all agents are ready: {ask_doctor(cluster) or why}")
        progress.say(f"waiting for agents: {why}")
        time.sleep(POLL_SECONDS)


def ask_doctor(cluster: Cluster) -> str:
    """What `watchbill doctor` finds wrong, a line each; empty: nothing."""
    lines = check_all(load_sight(Asker(cluster.kubeconfig, cluster.namespace), time.time()))
    return "".join(f"\n  {line.check}: {line.message}" for line in lines if line.state == PROBLEM)


def choose_kind(agents: Sequence[Mapping[str, Any]], namespace: str) -> str:
    """Commands, or prompts where only Claude Code is there for a role.

    Raises Refused where neither has all three roles.
    """
    lacking = {
        kind: [role for role in ROLES if not any(serves(agent, role, kind) for agent in agents)]
        for kind in (COMMAND, CLAUDE)
    }
    for kind, roles in lacking.items():
        if not roles:
            return kind
    sample = shlex.quote(str(data_file("samples/agents.yaml")))
    raise Refused(
        f"no Agent of role {lacking[COMMAND][0]} runs commands: `kubectl apply --namespace {namespace} -f {sample}`"
    )


def serves(agent: Mapping[str, Any], role: str, kind: str) -> bool:
    """Whether it is of this role and runs this kind of Tasks."""
    return agent["spec"].get("role") == role and runs(agent) == kind


def runs(agent: Mapping[str, Any]) -> str:
    """Commands, or prompts."""
    return CLAUDE if (agent["spec"].get("runner") or {}).get("claude") is not None else COMMAND


def is_staffed(agent: Mapping[str, Any]) -> bool:
    """Whether all its replicas take tasks, and there is one."""
    return is_ready(agent) and int((agent.get("status") or {}).get("readyReplicas", 0)) > 0


def describe_operator(deployment: Mapping[str, Any], pods: Sequence[Mapping[str, Any]]) -> str:
    """`0/1 ready (why)`: in the words of the container that waits, of the scheduler, or of the Deployment."""
    wanted = int((deployment.get("spec") or {}).get("replicas", 1))
    if not deployment:
        return "its Deployment was deleted"
    if wanted == 0:
        return "0/0 ready (it is scaled to 0)"
    ours = [pod for pod in pods if (pod["metadata"].get("labels") or {}).get(NAME_LABEL) == OPERATOR]
    said = [words for pod in ours if (words := describe_pod(pod))]
    status = deployment.get("status") or {}
    said += [item["message"] for item in status.get("conditions") or () if item["type"] == "ReplicaFailure"]
    return f"0/{wanted} ready" + (f" ({said[0]})" if said else "")


def describe_pod(pod: Mapping[str, Any]) -> str:
    """Why it does not run, in the cluster's words; empty where they say nothing."""
    status = pod.get("status") or {}
    for container in status.get("containerStatuses") or ():
        state = container.get("state") or {}
        ended = (container.get("lastState") or {}).get("terminated") or state.get("terminated") or {}
        if ended.get("message"):
            return str(ended["message"]).strip()
        waiting = state.get("waiting") or {}
        if waiting.get("reason"):
            return " ".join(filter(None, (waiting["reason"], waiting.get("message", "")))).strip()
    unmet = [item for item in status.get("conditions") or () if item["status"] == "False" and item.get("message")]
    return str(unmet[0]["message"]) if unmet else ""
