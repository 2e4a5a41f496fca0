"""The status of an Agent, from the state of the log and its observed pods.

Owns the form of `.status` of Agents and the sentences in it. Pure: what the log knows comes from the log with its
times; what only pods know (an image that cannot be had, no node) comes from them. Invariant: `Ready` is never False
without the best known reason and a sentence that says what to mend.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from watchbill_coordination.core.specs import MAX_REPLICAS, AgentName, parse_agent_spec
from watchbill_coordination.core.state import AgentState, Level, ReplicaPhase, ReplicaState, State
from watchbill_operator import pods
from watchbill_operator.conditions import Finding, build_condition, build_sentence, format_time
from watchbill_operator.observed_pods import PodView
from watchbill_operator.pod_settings import PodSettings
from watchbill_operator.pod_template import check_agent_template
from watchbill_operator.pod_trouble import IMAGE_UNAVAILABLE, STARVED
from watchbill_operator.pods import build_image
from watchbill_operator.task_status import VOLUME_FULL

CLAUDE = "claude"  #: the runner whose agents need a credential
AGENT_STATUS_FIELDS = (
    "replicas",
    "readyReplicas",
    "busyReplicas",
    "selector",
    "level",
    "conditions",
    "observedGeneration",
    "epoch",
    "lastSeq",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSight:
    """All that the status of one Agent is made from."""

    agent: Mapping[str, Any]  #: in its API form
    known: AgentState
    replicas: Sequence[ReplicaState]  #: that the log knows of, of this Agent
    pods: Sequence[PodView]  #: that it owns and that have not ended
    settings: PodSettings
    template_findings: Sequence[Finding]
    findings: Sequence[Finding]  #: of the plan, and refusals of the API server

    @property
    def wanted(self) -> int:
        """Replicas that are to be there."""
        return parse_agent_spec(self.agent["spec"]).wanted

    @property
    def asked(self) -> int:
        """Replicas that were asked for: perhaps more than there may be."""
        return parse_agent_spec(self.agent["spec"]).replicas

    @property
    def generation(self) -> int:
        """Of the spec that the status speaks of."""
        return int(self.agent["metadata"].get("generation", self.known.generation))

    @property
    def ready(self) -> int:
        """Replicas that take tasks."""
        return sum(replica.phase is ReplicaPhase.READY for replica in self.replicas)


@dataclass(frozen=True, slots=True)
class Held:
    """That new work is held for all."""

    message: str
    since: float  #: when this process noticed, in seconds since the Unix epoch


def build_agent_status(
    agent: Mapping[str, Any],
    state: State,
    observed: Iterable[PodView],
    settings: PodSettings,
    findings: Sequence[Finding] = (),
) -> dict[str, Any]:
    """The whole `.status` of that Agent, which the log must know of (KeyError otherwise).

    `settings` are those that its pods are made with, `findings` those of its plan.
    """
    name = AgentName(agent["metadata"]["name"])
    own = [pod for pod in observed if pod.owner_uid == agent["metadata"]["uid"] and not pod.has_ended]
    sight = AgentSight(
        agent=agent,
        known=state.agents[name],
        replicas=[replica for replica in state.replicas.values() if replica.agent == name],
        pods=own,
        settings=settings,
        template_findings=check_agent_template(agent, settings.claim),
        findings=findings,
    )
    return {
        "replicas": sum(not pod.is_deleting for pod in own),
        "readyReplicas": sight.ready,
        "busyReplicas": sum(bool(replica.attempts) for replica in sight.replicas),
        "selector": pods.build_selector(name),
        "level": sight.known.level.value,
        "conditions": _build_conditions(sight),
        "observedGeneration": sight.generation,
        "epoch": sight.known.epoch,
        "lastSeq": sight.known.last_seq,
    }


def add_held(status: dict[str, Any], held: Held) -> dict[str, Any]:
    """The status with the condition VolumeFull, which is there only while it is so."""
    finding = Finding(VOLUME_FULL, build_sentence(held.message))
    generation = status["observedGeneration"]
    condition = build_condition(VOLUME_FULL, True, finding, since=held.since, generation=generation)
    return {**status, "conditions": [*status["conditions"], condition]}


def _build_conditions(sight: AgentSight) -> list[dict[str, Any]]:
    is_ready, why = _explain_readiness(sight)
    declared_at, generation = sight.known.declared_at, sight.generation
    degraded = sight.known.level is not Level.NORMAL
    conditions = [
        build_condition("Ready", is_ready, why, since=_ready_since(sight, is_ready), generation=generation),
        build_condition(
            "TemplateAccepted",
            not sight.template_findings,
            _explain_template(sight),
            since=declared_at,
            generation=generation,
        ),
        build_condition(
            "ReplicasBounded",
            sight.asked > MAX_REPLICAS,
            _explain_bound(sight),
            since=declared_at,
            generation=generation,
        ),
        build_condition(
            "Degraded",
            degraded,
            _explain_level(sight),
            since=sight.known.level_since or declared_at,
            generation=generation,
        ),
    ]
    if parse_agent_spec(sight.agent["spec"]).runner == CLAUDE:
        since = sight.known.parking_changed_at or declared_at
        usable = not sight.known.is_parked
        why = _explain_credential(sight.known)
        conditions.append(build_condition("CredentialUsable", usable, why, since=since, generation=generation))
    return conditions


def _explain_readiness(sight: AgentSight) -> tuple[bool, Finding]:
    """Whether it is ready, and the nearest cause when it is not: refusals first, then pods in trouble, then waiting."""
    ready, wanted = sight.ready, sight.wanted
    bound = f" ({sight.asked} were asked for, see ReplicasBounded)" if sight.asked > MAX_REPLICAS else ""
    count = f"{ready} of {wanted} replicas are ready{bound}"
    if parse_agent_spec(sight.agent["spec"]).suspend:
        return False, Finding("Suspended", f"It is given no new tasks, as spec.suspend asks for; {count}.")
    if brokerless := next((pod for pod in sight.pods if pod.broker_trouble is not None), None):
        return False, _explain_broker(brokerless, count)
    if ready >= wanted:
        return True, Finding("AllReady", f"{count}.{_tell_starved(sight)}" if wanted else "No replicas are wanted.")
    if sight.template_findings:
        return False, Finding("TemplateRefused", f"{count}; its podTemplate is refused, see TemplateAccepted.")
    if sight.findings:
        first = sight.findings[0]
        return False, Finding(first.reason, f"{count}. {first.message}")
    troubled = next((pod for pod in sight.pods if pod.trouble is not None), None)
    if troubled is not None and troubled.trouble is not None:
        told = f"{count}. {troubled.name}: {troubled.trouble.message}"
        return False, Finding(troubled.trouble.reason, f"{told}{_tell_mend(sight, troubled, troubled.trouble)}")
    return False, Finding("Starting", f"{count}; the others are being started or have not registered yet.")


def _tell_starved(sight: AgentSight) -> str:
    """Which of the pods that run had to be started again for want of memory, which the next task may need too."""
    starved = sorted(pod.name for pod in sight.pods if pod.was_starved)
    if not starved:
        return ""
    return f" {starved[0]} had to be started again: {STARVED}; spec.resources of the Agent says how much it may use."


def _explain_broker(pod: PodView, count: str) -> Finding:
    """That a replica's tasks cannot reach their model, and why."""
    trouble = pod.broker_trouble.message if pod.broker_trouble is not None else ""
    return Finding("BrokerNotReady", f"{count}. {pod.name} cannot reach the model without its broker: {trouble}")


def _explain_credential(known: AgentState) -> Finding:
    if not known.is_parked:
        return Finding("Usable", "The model takes its requests, as far as is known.")
    until = format_time(known.parked_until)
    told = build_sentence(known.parked_message or "The model refused its requests")
    return Finding(known.parked_reason or "Parked", f"{told} Its tasks wait until {until}.")


def _tell_mend(sight: AgentSight, pod: PodView, trouble: Finding) -> str:
    """What a person can do about an image that cannot be had; the pod that is in the way is named."""
    if trouble.reason != IMAGE_UNAVAILABLE:
        return ""
    asked = build_image(sight.agent, sight.settings)
    if pod.image == asked:
        return " If that name is wrong, change the Agent's image."
    return f" The Agent asks for {asked}: kubectl delete pod {pod.name} has the pod made anew."


def _ready_since(sight: AgentSight, is_ready: bool) -> float:
    """When the newest thing happened that readiness depends on, by the log's and the pods' own times."""
    phases = [replica.changed_at or replica.registered_at for replica in sight.replicas]
    missing = [] if is_ready else [pod.created_at for pod in sight.pods]
    brokers = [pod.broker_since for pod in sight.pods]
    return max([sight.known.declared_at, *phases, *missing, *brokers])


def _explain_template(sight: AgentSight) -> Finding:
    if not sight.template_findings:
        return Finding("Accepted", "Agent pods are made with it.")
    sentences = " ".join(finding.message for finding in sight.template_findings)
    return Finding(sight.template_findings[0].reason, f"No pods are made from it; those that run stay. {sentences}")


def _explain_bound(sight: AgentSight) -> Finding:
    if sight.asked > MAX_REPLICAS:
        text = f"{sight.asked} replicas were asked for; {MAX_REPLICAS} are made, the most that an Agent may have."
        return Finding("TooManyReplicas", text)
    return Finding("WithinBounds", f"An Agent may have up to {MAX_REPLICAS} replicas.")


def _explain_level(sight: AgentSight) -> Finding:
    if sight.known.level is Level.NORMAL:
        return Finding("Normal", sight.known.level_message or "Enough replicas are ready.")
    return Finding(sight.known.level.value, sight.known.level_message or f"The level is {sight.known.level.value}.")
