"""The checks of `watchbill doctor`: each yields what is wrong in one sentence with the fix, from what was read.

Owns their order and their words. Pure. A question that the cluster did not answer is told as not checked, never as a
problem; what the operator says of its Agents is repeated, not judged anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from watchbill_cli import doctor_operator
from watchbill_cli.doctor_claim import explain_claim
from watchbill_cli.doctor_look import OPERATOR, Answer, Sight, find_secrets, select_pods
from watchbill_cli.home import CLAIM
from watchbill_operator.crd_paths import FIX, find_older
from watchbill_operator.rights import ACCOUNT, find_lacking, tell_lacking
from watchbill_operator.start_checks import ENFORCE_LABEL, RESTRICTED, tell_unrestricted

OK, PROBLEM, UNKNOWN = "ok", "problem", "not checked"
AGENT_POD = "watchbill-agent"
APPLY = "kubectl apply -k manifests/overlays/kind, or the overlay that was installed"

Obj = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that was looked at."""

    check: str
    state: str  #: ok, problem, not checked
    message: str


def check_all(sight: Sight) -> list[Line]:
    """All lines, in the order in which one thing rests on another."""
    lines = [Line("api", OK, f"the API server answers, {sight.version}")]
    for name, check in CHECKS.items():
        lines += [Line(name, state, message) for state, message in check(sight)]
    return lines


def _check_crds(sight: Sight) -> Iterator[tuple[str, str]]:
    if sight["crds"].is_absent:
        yield PROBLEM, f"the CRDs are not installed: {FIX}"
    elif not sight["document"].is_there:
        yield _tell_unanswered(sight["document"])
    elif older := find_older(sight["document"].body):
        yield PROBLEM, older
    else:
        yield OK, "Agents and Tasks have every field that this version knows"


def _check_namespace(sight: Sight) -> Iterator[tuple[str, str]]:
    found = sight["namespace"]
    if found.is_absent:
        yield PROBLEM, f"there is no namespace {sight.namespace}: {APPLY}"
        return
    if not found.is_there:
        yield _tell_unanswered(found)
        return
    enforced = (found.body["metadata"].get("labels") or {}).get(ENFORCE_LABEL, "")
    if enforced == RESTRICTED:
        yield OK, f"{sight.namespace} enforces the restricted Pod Security standard"
    elif doctor_operator.find_process(sight):
        yield UNKNOWN, "an operator that runs as a process does not ask for Pod Security"
    else:
        yield PROBLEM, tell_unrestricted(sight.namespace, enforced)


def _check_claim(sight: Sight) -> Iterator[tuple[str, str]]:
    claim, classes = sight["claim"], sight["classes"]
    if doctor_operator.find_process(sight):
        yield UNKNOWN, "an operator that runs as a process has a folder for a volume"
    elif claim.is_absent:
        yield PROBLEM, f"there is no claim {CLAIM}: {APPLY}"
    elif not claim.is_there:
        yield _tell_unanswered(claim)
    else:
        trouble = explain_claim(claim.body, classes.items if classes.is_there else None, sight["events"].items)
        modes = ", ".join((claim.body.get("status") or {}).get("accessModes") or ())
        yield (PROBLEM, trouble) if trouble else (OK, f"{CLAIM} is bound ({modes})")


def _check_rights(sight: Sight) -> Iterator[tuple[str, str]]:
    role, binding = sight["role"], sight["binding"]
    if role.is_absent or binding.is_absent:
        kind = "Role" if role.is_absent else "RoleBinding"
        yield PROBLEM, f"there is no {kind} {ACCOUNT} in {sight.namespace}: {APPLY}"
        return
    if not role.is_there or not binding.is_there:
        yield _tell_unanswered(binding if role.is_there else role)
        return
    subjects = binding.body.get("subjects") or ()
    if not any(each.get("name") == ACCOUNT and each.get("namespace") == sight.namespace for each in subjects):
        yield (
            PROBLEM,
            f"the RoleBinding {ACCOUNT} does not name the ServiceAccount {ACCOUNT} of {sight.namespace}: {APPLY}",
        )
    elif lacking := find_lacking(role.body.get("rules") or ()):
        yield PROBLEM, tell_lacking(lacking)
    else:
        yield OK, f"the Role {ACCOUNT} gives what the operator needs"


def _check_operator(sight: Sight) -> Iterator[tuple[str, str]]:
    troubles = list(doctor_operator.explain_operator(sight))
    yield from ((PROBLEM, trouble) for trouble in troubles)
    if not troubles:
        yield OK, doctor_operator.tell_operator(sight)


def _check_secrets(sight: Sight) -> Iterator[tuple[str, str]]:
    for secret, agent in sorted(find_secrets(sight["agents"].items).items()):
        answer = sight[f"secret {secret}"]
        if answer.is_absent:
            yield (
                PROBLEM,
                f"there is no Secret {secret}, which the Agent {agent} names: see manifests/samples/credentials.yaml",
            )
        elif not answer.is_there:
            yield _tell_unanswered(answer)
        elif not answer.body.get("data"):
            yield PROBLEM, f"the Secret {secret}, which the Agent {agent} names, has no key: see docs/claude-agents.md"
        else:
            yield OK, f"the Secret {secret} is there"


def _check_quotas(sight: Sight) -> Iterator[tuple[str, str]]:
    quotas = sight["quotas"]
    if not quotas.is_there:
        yield _tell_unanswered(quotas)
        return
    missing = _count_missing(sight)
    for quota in quotas.items:
        name, status = quota["metadata"]["name"], quota.get("status") or {}
        hard = status.get("hard") or (quota.get("spec") or {}).get("hard") or {}
        used = status.get("used") or {}
        spent = [key for key in sorted(hard) if _is_spent(key, hard[key], used.get(key, "0"), missing)]
        if missing and spent:
            told = ", ".join(f"{key} {used.get(key, '0')} of {hard[key]}" for key in spent)
            yield (
                PROBLEM,
                f"the ResourceQuota {name} leaves no room for {missing} pods that are wanted ({told}): raise it",
            )
        else:
            yield OK, f"the ResourceQuota {name} leaves room"


def _check_agents(sight: Sight) -> Iterator[tuple[str, str]]:
    agents = sight["agents"]
    if not agents.is_there:
        yield _tell_unanswered(agents)
        return
    if not agents.items:
        yield OK, "there are no Agents: kubectl apply -f manifests/samples/agents.yaml makes three"
    for agent in agents.items:
        yield _tell_agent(agent)


def _check_pods(sight: Sight) -> Iterator[tuple[str, str]]:
    told = " ".join(message for _, message in _check_agents(sight))
    for pod in select_pods(sight["pods"], AGENT_POD):
        name = str(pod["metadata"]["name"])
        trouble = doctor_operator.explain_pod(sight, pod, "agent")
        if trouble and name not in told and trouble.rstrip(".") not in told:
            told += trouble
            yield PROBLEM, f"{name}: {trouble}"


CHECKS: Mapping[str, Callable[[Sight], Iterator[tuple[str, str]]]] = {
    "crds": _check_crds,
    "namespace": _check_namespace,
    "claim": _check_claim,
    "rights": _check_rights,
    "operator": _check_operator,
    "secrets": _check_secrets,
    "quotas": _check_quotas,
    "agents": _check_agents,
    "pods": _check_pods,
}


def _tell_agent(agent: Obj) -> tuple[str, str]:
    name = agent["metadata"]["name"]
    conditions = {each.get("type"): each for each in (agent.get("status") or {}).get("conditions") or ()}
    ready = conditions.get("Ready")
    if ready is None:
        return PROBLEM, f"the Agent {name} has no status: no operator has seen it yet"
    if full := conditions.get("VolumeFull"):
        return PROBLEM, f"the Agent {name}: {full.get('message')}"
    parked = conditions.get("CredentialUsable") or {}
    if parked.get("status") == "False":
        return PROBLEM, f"the Agent {name}: {parked.get('message')}"
    is_well = ready.get("status") == "True" or ready.get("reason") == "Suspended"
    return OK if is_well else PROBLEM, f"the Agent {name}: {ready.get('message')}"


def _count_missing(sight: Sight) -> int:
    """Pods that are wanted and not there."""
    wanted = int((sight["deployment"].body.get("spec") or {}).get("replicas") or 0)
    for agent in sight["agents"].items:
        wanted += int((agent.get("spec") or {}).get("replicas", 1))
    there = len(select_pods(sight["pods"], OPERATOR)) + len(select_pods(sight["pods"], AGENT_POD))
    return max(0, wanted - there)


def _is_spent(key: str, hard: Any, used: Any, missing: int) -> bool:
    """Whether a quota stands in the way of that many more pods, as far as plain numbers tell."""
    if key in ("pods", "count/pods") and str(hard).isdecimal() and str(used).isdecimal():
        return int(hard) - int(used) < missing
    return key.startswith(("requests.", "limits.", "cpu", "memory")) and str(hard) == str(used)


def _tell_unanswered(answer: Answer) -> tuple[str, str]:
    if answer.is_absent:
        return UNKNOWN, "this API server does not serve that kind"
    return UNKNOWN, f"the API server did not say ({answer.code}): {answer.text}"
